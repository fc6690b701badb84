"""Distances equal the ones that Evidently is built on, and do not grow with the number of rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from monitoring.distances import distance
from monitoring.histograms import DailyHistogram, categorical_histogram, numeric_histogram


def sides(current: object, reference: object) -> tuple[pd.Series, np.ndarray]:
    """Both sides as one column: day 0 is the reference, day 1 the current side."""
    both = pd.concat([pd.Series(reference), pd.Series(current)], ignore_index=True)
    return both, np.repeat([0, 1], [len(pd.Series(reference)), len(pd.Series(current))])


def between(histogram: DailyHistogram) -> float:
    return float(distance(histogram, histogram.counts[1], histogram.counts[0]))


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.3, 1.0), (0.0, 1.5), (1.0, 0.5)])
def test_the_wasserstein_distance_of_bins_is_close_to_the_exact_one(shift: float, scale: float) -> None:
    rng = np.random.default_rng(3)
    reference, current = rng.gamma(2.0, 1.0, 4000), shift + scale * rng.gamma(2.0, 1.0, 3000)
    column, days = sides(current, reference)
    exact = wasserstein_distance(reference, current) / reference.std()
    assert between(numeric_histogram(column, days, 2)) == pytest.approx(exact, rel=0.06, abs=0.01)


def test_it_is_exact_for_few_distinct_values() -> None:
    rng = np.random.default_rng(4)
    reference, current = rng.poisson(3.0, 4000), rng.poisson(4.0, 3000)
    column, days = sides(current, reference)
    low, high = np.quantile(column, [0.001, 0.999])
    clipped = reference.clip(low, high), current.clip(low, high)
    exact = wasserstein_distance(*clipped) / clipped[0].std()
    assert between(numeric_histogram(column, days, 2)) == pytest.approx(exact, rel=1e-9)


def test_the_jensen_shannon_distance_is_scipys() -> None:
    rng = np.random.default_rng(5)
    reference, current = rng.choice(list("abc"), 900, p=[0.2, 0.3, 0.5]), rng.choice(list("abc"), 700)
    column, days = sides(current, reference)
    shares = [pd.Series(side).value_counts(normalize=True).sort_index() for side in (current, reference)]
    assert between(categorical_histogram(column, days, 2)) == pytest.approx(jensenshannon(*shares), rel=1e-9)


def test_a_change_in_nulls_counts_as_distance() -> None:
    """Evidently drops nulls before it compares; here they cannot hide a column."""
    values = np.random.default_rng(6).normal(size=2000)
    column, days = sides(np.where(np.arange(2000) < 1200, np.nan, values), values)
    assert between(numeric_histogram(column, days, 2)) == pytest.approx(0.6)


def test_the_distance_of_a_shift_does_not_depend_on_the_number_of_rows() -> None:
    found = []
    for rows in (2_000, 200_000):
        rng = np.random.default_rng(7)
        column, days = sides(rng.normal(0.2, 1.0, rows), rng.normal(0.0, 1.0, rows))
        found.append(between(numeric_histogram(column, days, 2)))
    assert found[0] == pytest.approx(found[1], abs=0.05)
    assert found[1] == pytest.approx(0.2, abs=0.02)


def test_an_empty_side_has_no_distance() -> None:
    column, days = sides(["a"], ["a", "b"])
    histogram = categorical_histogram(column, days, 3)
    assert np.isnan(distance(histogram, histogram.counts[2], histogram.counts[0]))


def test_a_constant_column_that_stays_constant_has_not_moved() -> None:
    column, days = sides([1.0] * 50, [1.0] * 50)
    assert between(numeric_histogram(column, days, 2)) == 0.0
