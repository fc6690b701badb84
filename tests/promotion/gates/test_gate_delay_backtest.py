from __future__ import annotations

from dataclasses import replace

import pytest

from ml.core.verdict import Verdict
from ml.promotion.evidence import DelayEvidence, Evidence
from ml.promotion.gates.delay_backtest import DelayBacktest

GATE = DelayBacktest()


def judged(good: Evidence, delay: DelayEvidence | None) -> Verdict:
    return GATE.judge(replace(good, models=(replace(good.models[0], delay=delay),))).verdict


def backtest(error: float | None, *, spread: float = 0.01, bookings: int = 2_000) -> DelayEvidence:
    return DelayEvidence(applies=True, age_days=3, bookings=bookings, error=error, spread=spread)


def test_passes_factors_that_foretold_what_came(good: Evidence) -> None:
    assert judged(good, backtest(0.02)) is Verdict.PASS


@pytest.mark.parametrize(("error", "verdict"), [(0.10, Verdict.HOLD), (-0.10, Verdict.HOLD), (0.30, Verdict.FAIL)])
def test_refuses_factors_that_are_shown_to_be_off(good: Evidence, error: float, verdict: Verdict) -> None:
    assert judged(good, backtest(error)) is verdict


def test_an_error_that_chance_may_make_does_not_hold(good: Evidence) -> None:
    assert judged(good, backtest(0.10, spread=0.04)) is Verdict.PASS


def test_few_bookings_and_labels_that_are_not_late_are_told_and_do_not_hold(good: Evidence) -> None:
    assert judged(good, backtest(0.5, bookings=60)) is Verdict.PASS
    assert judged(good, DelayEvidence(applies=False)) is Verdict.PASS


@pytest.mark.parametrize("delay", [None, backtest(None), backtest(0.0, spread=float("nan"))])
def test_holds_without_a_backtest(good: Evidence, delay: DelayEvidence | None) -> None:
    assert judged(good, delay) is Verdict.HOLD
