"""Words that every room shares: units, days, the clock, errors, settings, verdicts, digests."""
