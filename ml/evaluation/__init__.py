"""How well models did: metrics, paired tests, held-out rows, plots, the run log, and the walk through time."""
