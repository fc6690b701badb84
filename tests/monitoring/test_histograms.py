"""Histograms lose no row, whatever a column holds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.histograms import CATEGORIES, categorical_histogram, is_discrete, numeric_histogram

numbers = st.lists(st.floats(width=32) | st.none() | st.sampled_from([np.inf, -np.inf]), min_size=1, max_size=60)


@given(values=numbers, days=st.data())
def test_every_row_is_counted_once_on_its_day(values: list[float | None], days: st.DataObject) -> None:
    where = np.array(days.draw(st.lists(st.integers(0, 3), min_size=len(values), max_size=len(values))))
    histogram = numeric_histogram(pd.Series(values, dtype="float64"), where, 4)
    assert histogram.counts.sum(axis=1).tolist() == np.bincount(where, minlength=4).tolist()


@given(values=numbers)
def test_what_is_not_a_finite_number_lands_in_the_last_bin(values: list[float | None]) -> None:
    histogram = numeric_histogram(pd.Series(values, dtype="float64"), np.zeros(len(values), dtype=int), 1)
    unknown = sum(value is None or not np.isfinite(value) for value in values)
    assert histogram.counts[0, -1] == unknown


@given(values=numbers)
def test_bin_values_ascend(values: list[float | None]) -> None:
    histogram = numeric_histogram(pd.Series(values, dtype="float64"), np.zeros(len(values), dtype=int), 1)
    assert histogram.values is not None
    assert (np.diff(histogram.values) > 0).all()


def test_one_absurd_value_moves_nothing() -> None:
    values = np.random.default_rng(0).normal(100.0, 10.0, 5000)
    plain = numeric_histogram(pd.Series(values), np.zeros(5000, dtype=int), 1)
    odd = numeric_histogram(pd.Series([1e12, *values[1:]]), np.zeros(5000, dtype=int), 1)
    assert plain.values is not None
    assert odd.values is not None
    assert odd.values.max() == pytest.approx(plain.values.max(), rel=0.05)


def test_rare_and_missing_categories_have_a_bin_each() -> None:
    names = [f"c{n:02d}" for n in range(CATEGORIES) for _ in range(3)] + ["rare", "rarer"] + [None] * 4
    histogram = categorical_histogram(pd.Series(names), np.zeros(len(names), dtype=int), 1)
    assert histogram.counts.shape == (1, CATEGORIES + 2)
    assert histogram.counts[0, -2:].tolist() == [2, 4]


def test_the_bins_of_categories_do_not_depend_on_the_order_of_rows() -> None:
    names = pd.Series(["b", "a", "c", "a", "b", "c", None])
    days = np.array([0, 0, 0, 1, 1, 1, 1])
    there = categorical_histogram(names, days, 2)
    back = categorical_histogram(names[::-1], days[::-1], 2)
    assert there.counts.tolist() == back.counts.tolist()


def test_truth_values_and_category_dtypes_are_categories() -> None:
    days = np.zeros(4, dtype=int)
    for column in (pd.Series([True, False, None, True], dtype="boolean"), pd.Series([1, 2, 1, 1], dtype="category")):
        assert categorical_histogram(column, days, 1).counts.sum() == 4


def test_a_number_with_a_handful_of_values_is_discrete() -> None:
    assert is_discrete(pd.Series([0, 1, 2] * 50))
    assert not is_discrete(pd.Series(range(50)))
