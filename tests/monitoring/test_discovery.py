"""Many columns, few false alarms: what the null distribution says of one, and what is left of it among many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from monitoring.discovery import discoveries, weights
from monitoring.nulls import null, own_spread

if TYPE_CHECKING:
    from numpy.typing import NDArray


def test_columns_that_did_not_move_give_no_discovery_more_often_than_the_rate() -> None:
    rng = np.random.default_rng(0)
    days, columns, rate = 4_000, 20, 0.05
    any_false = 0
    for _ in range(days):
        found = discoveries(rng.random(columns).tolist(), [1.0] * columns, rate=rate)
        any_false += any(one.q <= rate for one in found)
    assert any_false / days < 1.3 * rate


def test_q_is_within_the_rate_exactly_where_p_is_within_its_cutoff() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        chances = (rng.random(12) ** 4).tolist()
        weight = weights([None, *rng.random(11).tolist()])
        for chance, one in zip(chances, discoveries(chances, weight, rate=0.05), strict=True):
            assert (one.q <= 0.05) == (chance <= one.cutoff)


def test_a_column_that_carries_the_gain_needs_less_proof() -> None:
    heavy, light = discoveries([0.004, 0.004], weights([0.9, 0.1]), rate=0.005)
    assert heavy.q < light.q
    assert sum(weights([0.9, 0.1, 0.0])) == pytest.approx(3.0)


def test_no_test_is_no_discovery() -> None:
    assert discoveries([], []) == []


def distances(rng: np.random.Generator, n: int, freedom: int = 8) -> NDArray[np.float64]:
    """Distances as sampling makes them: roots of sums of squares."""
    return np.asarray(0.02 * np.sqrt(rng.chisquare(freedom, n)))


def test_p_values_are_honest_for_windows_like_those_before() -> None:
    """Of windows in which nothing happened, hardly more than one in a hundred has p below 0.01; the largest is no limit."""
    rng = np.random.default_rng(2)
    low = 0
    for _ in range(3_000):
        past = distances(rng, 20)
        known = null(past, independent=20.0, others=0.17)
        low += known.chance(float(distances(rng, 1)[0])) <= 0.01
        assert known.distance(0.5) >= past.max()
    assert low / 3_000 < 0.015


def test_few_windows_lean_on_the_other_columns_and_many_on_themselves() -> None:
    past = distances(np.random.default_rng(3), 60)
    lean, own = (null(past, independent=known, others=0.6) for known in (2.0, 60.0))
    assert own.scale < 0.75 * lean.scale
    assert own.freedom > lean.freedom
    assert own_spread(past) == pytest.approx(0.17, rel=0.4)
