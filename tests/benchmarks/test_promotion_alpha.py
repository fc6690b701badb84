"""The simulated year of looks, in small."""

from __future__ import annotations

import argparse

from benchmarks.promotion_alpha import measure


def test_years_of_candidates_that_are_no_better_hardly_ever_promote_and_much_better_ones_do() -> None:
    figures = measure(argparse.Namespace(years=40, powers=10, rows=150, seed=3))
    by_chance = figures["A/A: years with a promotion"]
    assert by_chance.ours <= 0.05 < 0.5 < (by_chance.peer or 0.0)
    assert figures["5% better, 600 a day: in within 4 weeks"].ours >= 0.9
