"""From expected value to a bid: value tables, the bid policy, and publication per partner."""
