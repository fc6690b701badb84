"""The pages of the plugin "Bid models": what the ledger knows, for people (HTML) and programs (JSON). Read-only."""
