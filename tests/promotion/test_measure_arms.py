"""What matured outcomes of two arms say: known ratios lie within their bounds, harm is shown, and too little says nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml.core.verdict import Verdict
from ml.promotion.canary import slow_findings
from ml.promotion.measure_arms import ArmOutcomes, slow_measures
from ml.promotion.ramp import SlowLimits

MEAN = 4_000_000.0
"""What a click earns on average, micros."""


def arm(seed: int, *, clicks: int = 40_000, rate: float = 0.05, promise: float = 1.0, cost: float = 0.3) -> ArmOutcomes:
    rng = np.random.default_rng(seed)
    booked = rng.random(clicks) < rate
    value = rng.lognormal(0, 0.5, clicks) / np.exp(0.125) * MEAN / 0.05
    cluster = rng.integers(0, 200 * 14, clicks).astype(np.str_)
    return ArmOutcomes(
        requests=30 * clicks, bookings=int(booked.sum()), cluster=cluster, cost=np.full(clicks, cost * MEAN),
        earned=booked * value, promised=np.full(clicks, promise * rate / 0.05 * MEAN),
    )  # fmt: skip


def verdicts(canary: ArmOutcomes, baseline: ArmOutcomes, look: int = 3) -> dict[str, Verdict]:
    return {one.gate: one.verdict for one in slow_findings(slow_measures(canary, baseline, look=look), SlowLimits())}


def test_an_arm_as_good_as_the_other_and_as_it_promised_lies_within_the_bounds_and_never_fails() -> None:
    inside = 0
    for seed in range(100):
        found = slow_measures(arm(2 * seed, clicks=4_000), arm(2 * seed + 1, clicks=4_000), look=1)
        inside += found["calibration"]["low"] < 1 < found["calibration"]["high"]
        inside += found["profit"]["low"] < 0 < found["profit"]["high"]
        assert Verdict.FAIL not in {one.verdict for one in slow_findings(found, SlowLimits())}
    assert inside >= 196


def test_an_arm_of_many_bookings_that_keeps_its_promise_passes() -> None:
    assert verdicts(arm(1), arm(2), look=3) == {"calibration": Verdict.PASS, "profit": Verdict.PASS}


@pytest.mark.parametrize("promise", [0.5, 1.7])
def test_a_promise_far_from_what_came_fails(promise: float) -> None:
    assert verdicts(arm(1, promise=promise), arm(2))["calibration"] is Verdict.FAIL


def test_half_the_bookings_for_the_same_cost_fail_profit() -> None:
    assert verdicts(arm(1, rate=0.025, promise=1.0), arm(2))["profit"] is Verdict.FAIL


def test_looking_again_makes_the_bounds_wider() -> None:
    first, tenth = (slow_measures(arm(1), arm(2), look=look)["profit"] for look in (1, 10))
    assert tenth["low"] < first["low"] < first["mid"] == tenth["mid"]


def test_too_few_clicks_no_clicks_and_a_baseline_that_earns_nothing_hold_and_say_why() -> None:
    few, nothing = arm(1, clicks=15), ArmOutcomes()
    for canary, baseline in ((few, few), (nothing, nothing), (arm(1), replace(arm(2), earned=np.zeros(40_000)))):
        found = slow_measures(canary, baseline, look=1)
        assert found["why"]
        assert slow_findings(found, SlowLimits())[1].verdict is Verdict.HOLD


def test_clicks_of_which_no_model_said_anything_leave_calibration_and_count_for_profit() -> None:
    canary = arm(1)
    silent = replace(canary, promised=np.where(np.arange(len(canary.promised)) % 2, np.nan, canary.promised))
    found, whole = (slow_measures(one, arm(2), look=1) for one in (silent, canary))
    assert found["profit"] == whole["profit"]
    assert found["calibration"]["mid"] == pytest.approx(whole["calibration"]["mid"], rel=0.1)
