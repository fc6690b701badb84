from __future__ import annotations

import math

import pytest

from ml.core.verdict import Verdict
from ml.evaluation.interval import Interval, Limits, better, not_worse, within

ENOUGH = {"min_blocks": 7, "min_rows": 100}


def interval(low: float, high: float, *, blocks: int = 14, rows: int = 1000) -> Interval:
    return Interval(low, (low + high) / 2, high, blocks=blocks, rows=rows)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-2, -1, Verdict.PASS), (-1, 0, Verdict.HOLD), (-1, 1, Verdict.HOLD), (0, 1, Verdict.FAIL), (0, 0, Verdict.FAIL)],
)
def test_a_gain_must_lie_wholly_below_zero(low: float, high: float, verdict: Verdict) -> None:
    assert better(interval(low, high), **ENOUGH) is verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-2, 0.5, Verdict.PASS),
        (0.1, 0.5, Verdict.PASS),
        (-1, 0.6, Verdict.HOLD),
        (0.5, 1, Verdict.HOLD),
        (0.6, 1, Verdict.FAIL),
    ],
)
def test_not_worse_means_worse_by_the_margin_at_most(low: float, high: float, verdict: Verdict) -> None:
    assert not_worse(interval(low, high), margin=0.5, **ENOUGH) is verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.6, 1.0, Verdict.PASS),
        (1.0, 1.4, Verdict.PASS),
        (0.6, 1.41, Verdict.HOLD),
        (0.59, 1.4, Verdict.HOLD),
        (1.19, 1.3, Verdict.HOLD),
        (0.7, 0.81, Verdict.HOLD),
        (1.2, 1.3, Verdict.HOLD),
        (0.7, 0.8, Verdict.HOLD),
        (1.21, 1.3, Verdict.FAIL),
        (0.1, 0.79, Verdict.FAIL),
    ],
)
def test_within_means_the_estimate_in_the_narrow_and_the_bounds_in_the_wide_limits(
    low: float, high: float, verdict: Verdict
) -> None:
    assert within(interval(low, high), Limits(low=0.8, high=1.2, lowest=0.6, highest=1.4), **ENOUGH) is verdict


@pytest.mark.parametrize(
    "poor",
    [
        interval(-2, -1, blocks=6),
        interval(-2, -1, rows=99),
        interval(math.nan, -1),
        Interval(-math.inf, -1, math.inf, blocks=14, rows=1000),
        Interval(-2, math.nan, -1, blocks=14, rows=1000),
    ],
    ids=["blocks", "rows", "NaN", "infinite", "NaN estimate"],
)
def test_too_little_evidence_holds_whatever_the_interval_says(poor: Interval) -> None:
    assert better(poor, **ENOUGH) is Verdict.HOLD
    assert not_worse(poor, margin=5, **ENOUGH) is Verdict.HOLD
    assert within(poor, Limits(low=-9, high=9, lowest=-99, highest=99), **ENOUGH) is Verdict.HOLD


def test_a_margin_that_is_not_finite_holds() -> None:
    assert not_worse(interval(-2, -1), margin=math.nan, **ENOUGH) is Verdict.HOLD
