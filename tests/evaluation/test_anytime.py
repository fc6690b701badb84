"""Tests that are looked at all the time keep their error probability; intervals hold what is true at every look."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.evaluation.anytime import Bounds, e_rate, mean_interval, p_value, quantile_interval, share_interval

LOOKS, WALKS, ALPHA = 60, 400, 0.05


def _walks(rate: float, per_look: int, seed: int) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).binomial(per_look, rate, (WALKS, LOOKS)), axis=1)


@pytest.mark.parametrize(("rate", "share"), [(0.002, 1), (0.02, 1), (0.2, 1), (0.02, 18)])
def test_sixty_looks_at_equal_rates_alarm_no_more_often_than_alpha(rate: float, share: int) -> None:
    canary, control = _walks(rate, 500, 1), _walks(rate, 500 * share, 2)
    limit = -math.log(ALPHA)
    alarms = sum(
        any(
            e_rate(int(canary[w, i]), 500 * (i + 1), int(control[w, i]), 500 * share * (i + 1)) >= limit
            for i in range(LOOKS)
        )
        for w in range(WALKS)
    )
    assert alarms <= ALPHA * WALKS


def test_a_better_canary_alarms_even_less() -> None:
    assert e_rate(5, 10_000, 50, 10_000) < 0


def test_five_times_the_errors_are_seen_within_two_thousand_requests_as_often_as_not() -> None:
    rng = np.random.default_rng(3)
    seen = [
        e_rate(int(rng.binomial(2_000, 0.01)), 2_000, int(rng.binomial(38_000, 0.002)), 38_000) > math.log(1 / 0.0015)
        for _ in range(200)
    ]
    assert np.mean(seen) > 0.5


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 10_000), st.integers(1, 10_000))
def test_more_events_of_the_canary_never_weigh_less(k: int, j: int, more_k: int, more_j: int) -> None:
    canary, control = k + more_k, j + more_j
    assert e_rate(k, canary, j, control) <= e_rate(k + 1, canary + 1, j, control + 1) + 1 or k == 0
    assert not math.isnan(e_rate(k, canary, j, control))
    assert 0 <= p_value(e_rate(k, canary, j, control)) <= 1


def test_an_empty_arm_is_no_evidence() -> None:
    assert e_rate(0, 0, 5, 100) == e_rate(5, 100, 0, 0) == e_rate(0, 100, 0, 100) == 0.0


def test_an_interval_holds_the_share_at_every_look() -> None:
    walks = _walks(0.03, 200, 4)
    missed = sum(
        any(
            not (b := share_interval(int(walks[w, i]), 200 * (i + 1), alpha=ALPHA)).low <= 0.03 <= b.high
            for i in range(LOOKS)
        )
        for w in range(WALKS)
    )
    assert missed <= ALPHA * WALKS


@pytest.mark.parametrize(("events", "requests"), [(0, 0), (0, 50), (50, 50), (1, 3)])
def test_an_interval_of_a_share_lies_within_0_and_1_and_around_what_was_seen(events: int, requests: int) -> None:
    bounds = share_interval(events, requests, alpha=0.01)
    assert 0 <= bounds.low <= bounds.high <= 1
    if requests:
        assert bounds.low <= events / requests <= bounds.high


def test_an_interval_holds_the_quantile_at_every_look() -> None:
    rng = np.random.default_rng(5)
    ends = np.arange(1, 201)
    missed = 0
    for _ in range(100):
        counts = np.zeros(200, dtype=np.int64)
        for _ in range(20):
            counts += rng.multinomial(300, np.full(200, 1 / 200))
            bounds = quantile_interval(counts, ends, 0.99, alpha=ALPHA)
            if not bounds.low <= 198 <= bounds.high:
                missed += 1
                break
    assert missed <= 5


def test_nothing_seen_leaves_everything_possible() -> None:
    assert quantile_interval(np.zeros(4, dtype=np.int64), np.arange(1, 5), 0.5, alpha=0.1) == Bounds(0.0, math.inf)
    assert mean_interval(1, 3.0, 9.0, alpha=0.1) == Bounds(-math.inf, math.inf)


def test_an_interval_holds_the_mean_at_every_look() -> None:
    rng = np.random.default_rng(6)
    values = rng.lognormal(0, 1, (WALKS, LOOKS, 200))
    totals, squares = np.cumsum(values.sum(axis=2), axis=1), np.cumsum((values**2).sum(axis=2), axis=1)
    true = math.exp(0.5)
    missed = sum(
        any(
            not (b := mean_interval(200 * (i + 1), totals[w, i], squares[w, i], alpha=ALPHA)).low <= true <= b.high
            for i in range(1, LOOKS)
        )
        for w in range(WALKS)
    )
    assert missed <= ALPHA * WALKS


def test_ratios_and_differences_of_bounds_hold_every_pair() -> None:
    assert Bounds(1, 2).over(Bounds(1, 4)) == Bounds(0.25, 2)
    assert Bounds(1, 2).over(Bounds(0, 4)) == Bounds(0.25, math.inf)
    assert Bounds(1, 2).less(Bounds(1, 4)) == Bounds(-3, 1)
