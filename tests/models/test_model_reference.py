"""Reference statistics add up and say what was missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.models.reference import MAX_CATEGORIES, category_statistics, number_statistics


def test_shares_are_of_the_rows_that_are_there() -> None:
    found = number_statistics(np.concatenate([np.arange(90.0), np.full(10, np.nan)]))
    assert found["null_share"] == 0.1
    assert sum(found["shares"]) == pytest.approx(1.0)
    assert len(found["shares"]) == len(found["edges"]) + 1
    assert found["mean"] == pytest.approx(44.5)


def test_what_is_not_finite_counts_as_missing() -> None:
    assert number_statistics(np.array([1.0, np.inf, -np.inf, np.nan]))["null_share"] == 0.75


@pytest.mark.parametrize("values", [np.empty(0), np.full(5, np.nan)])
def test_nothing_has_no_distribution(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    found = number_statistics(values)
    assert (found["null_share"], found["edges"], found["mean"]) == (1.0, [], None)


def test_a_constant_has_all_its_rows_somewhere() -> None:
    assert sum(number_statistics(np.full(20, 3.0))["shares"]) == 1.0


def test_categories_keep_the_most_frequent() -> None:
    values = pd.Series([f"c{n}" for n in range(80)] + ["often"] * 20 + [None] * 100)
    found = category_statistics(values)
    assert found["null_share"] == 0.5
    assert next(iter(found["shares"])) == "often"
    assert len(found["shares"]) == MAX_CATEGORIES
