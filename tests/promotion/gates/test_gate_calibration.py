from __future__ import annotations

from dataclasses import replace

import pytest

from ml.core.verdict import Verdict
from ml.evaluation.interval import Interval
from ml.promotion.evidence import Evidence
from ml.promotion.gates.calibration import Calibration

GATE = Calibration()


def with_ratio(good: Evidence, low: float, high: float, *, blocks: int = 14) -> Evidence:
    ratio = Interval(low, (low + high) / 2, high, blocks=blocks, rows=2_000)
    return replace(good, models=(replace(good.models[0], calibration=ratio),))


def test_passes_when_promise_and_outcome_agree(good: Evidence) -> None:
    result = GATE.judge(good)
    assert (result.verdict, result.number, result.threshold) == (Verdict.PASS, 1.01, 1.15)


@pytest.mark.parametrize(
    ("low", "high", "reason"), [(1.16, 1.3, "promises too much"), (0.6, 0.79, "promises too little")]
)
def test_fails_outside_the_limits(good: Evidence, low: float, high: float, reason: str) -> None:
    result = GATE.judge(with_ratio(good, low, high))
    assert result.verdict is Verdict.FAIL
    assert result.reason.endswith(reason)


def test_promising_too_much_is_judged_harder_than_promising_too_little(good: Evidence) -> None:
    assert GATE.judge(with_ratio(good, 0.81, 0.85)).verdict is Verdict.PASS
    assert GATE.judge(with_ratio(good, 1.16, 1.20)).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("low", "high", "blocks"),
    [(0.9, 1.26, 14), (0.69, 1.1, 14), (1.14, 1.2, 14), (0.74, 0.84, 14), (0.98, 1.02, 6), (float("nan"), 1.0, 14)],
    ids=["bound too high", "bound too low", "estimate too high", "estimate too low", "few days", "NaN"],
)
def test_holds_while_nothing_is_shown(good: Evidence, low: float, high: float, blocks: int) -> None:
    assert GATE.judge(with_ratio(good, low, high, blocks=blocks)).verdict is Verdict.HOLD


def test_holds_when_it_was_not_measured(good: Evidence) -> None:
    result = GATE.judge(replace(good, models=(replace(good.models[0], calibration=None),)))
    assert (result.verdict, result.reason) == (Verdict.HOLD, "value: predicted over realised was not measured")


def test_a_limit_itself_is_allowed(good: Evidence) -> None:
    for ratio in (
        Interval(0.70, 0.80, 0.90, blocks=7, rows=300),
        Interval(1.05, 1.15, 1.25, blocks=7, rows=300),
        Interval(1.0, 1.0, 1.0, blocks=7, rows=300),
    ):
        result = GATE.judge(replace(good, models=(replace(good.models[0], calibration=ratio),)))
        assert result.verdict is Verdict.PASS
