"""Auction replay on logs: what a bidding policy would have won, and paid, under a budget."""
