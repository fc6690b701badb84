"""The bid service: requests in, ranked bids out, each decision logged so that it can be explained."""
