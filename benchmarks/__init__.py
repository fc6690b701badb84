"""Figures, a file each: `python -m benchmarks.NAME --json` prints one line; `python -m benchmarks` runs them all."""
