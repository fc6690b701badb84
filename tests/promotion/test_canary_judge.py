"""The judge of a canary: harm fails, its absence has to be shown, and what cannot be seen is held."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.canary import BEGIN, FAULTS, blind
from benchmarks.canary_world import BLIND, CLOCKS, Blind, World, even, worse
from ml.core.verdict import Verdict
from ml.promotion.canary import FolderStats, judge, slow_findings
from ml.promotion.ramp import RAMP, SlowLimits, ramp_for
from ml.serving.arm_stats import ArmStats, Count, StatsKey
from ml.serving.arms import Arm, Shares, beside

KEY = StatsKey(4, 2, 1)


def served(world: World, seconds: float) -> World:
    world.next_analysis(Shares(0.05, 0.05))
    world.serve(seconds)
    return world


def test_a_harmless_canary_passes_once_enough_was_seen() -> None:
    found = judge(served(even(1_500, 1), 600), KEY, policy=RAMP, now=BEGIN)
    assert found.verdict is Verdict.PASS
    assert {one.gate for one in found.findings} == {
        "errors", "deadline", "no_bid", "fallback", "defaults", "out_of_range", "latency", "bids", "spend",
    }  # fmt: skip
    assert all(one.number is not None for one in found.findings)


def test_a_harmless_canary_of_few_requests_is_held() -> None:
    for seconds in (0, 1, 5):
        assert judge(served(even(1_500, 1), seconds), KEY, policy=RAMP, now=BEGIN).verdict is Verdict.HOLD


@pytest.mark.ml_test_score("infra6")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_within_minutes_and_its_gate_is_named(fault: str) -> None:
    found = judge(served(worse(1_500, 2, **FAULTS[fault]), 300), KEY, policy=RAMP, now=BEGIN)
    assert found.verdict is Verdict.FAIL
    gates = {"errors": "errors", "late": "deadline", "out_of_range": "out_of_range", "bid_log_mean": "bids",
             "latency_ms": "latency", "no_bid": "no_bid"}  # fmt: skip
    failed = {one.gate for one in found.findings if one.verdict is Verdict.FAIL}
    assert gates[next(iter(FAULTS[fault]))] in failed


def tried_beside(world: World, seconds: float) -> World:
    world.next_analysis(Shares(0.05, 0.05), tried=beside(0.05))
    world.serve(seconds)
    return world


def test_five_times_the_errors_are_shown_within_thirty_seconds_where_a_small_canary_is_tried_beside_its_share() -> None:
    for seed in range(40):
        found = judge(tried_beside(worse(1_500, seed, errors=0.01), 30), KEY, policy=RAMP, now=BEGIN)
        assert [one.gate for one in found.findings if one.verdict is Verdict.FAIL] == ["errors"]
        assert "that it was only tried on" in found.reason


def test_errors_of_what_a_canary_is_only_tried_on_fail_it_and_those_of_its_answers_alone_do_too() -> None:
    hidden, shown = tried_beside(even(1_500, 1), 60), tried_beside(worse(1_500, 1, errors=0.02), 60)
    hidden._counts[Arm.CANARY][Count.TRIED_ERRORS] += 200
    shown._counts[Arm.CANARY][Count.TRIED_ERRORS] = 0
    for world in (hidden, shown):
        assert judge(world, KEY, policy=RAMP, now=BEGIN).verdict is Verdict.FAIL


def test_requests_that_came_too_late_to_be_decided_do_not_make_the_champion_look_better_than_the_tried_candidate() -> (
    None
):
    world = tried_beside(even(1_500, 1), 60)
    champion, candidate = world._counts[Arm.STABLE], world._counts[Arm.CANARY]
    champion[Count.LATE] = champion[Count.REQUESTS] // 2
    # Of those that were decided as many failed: 0.4 %, and of all of them 0.2 %.
    candidate[Count.TRIED_ERRORS] = candidate[Count.TRIED] * 0.004
    found = judge(world, KEY, policy=RAMP, now=BEGIN)
    assert [one.verdict for one in found.findings if one.gate == "errors"] != [Verdict.FAIL]


def test_twice_the_spend_fails() -> None:
    found = judge(served(worse(1_500, 2, spend_log_mean=8.7), 600), KEY, policy=RAMP, now=BEGIN)
    assert [one.gate for one in found.findings if one.verdict is Verdict.FAIL] == ["spend"]


def test_a_better_canary_passes() -> None:
    world = served(worse(1_500, 3, errors=0.0005, latency_ms=0.8), 600)
    assert judge(world, KEY, policy=RAMP, now=BEGIN).verdict is Verdict.PASS


@pytest.mark.parametrize("name", BLIND)
def test_a_blind_judge_holds_although_all_is_well(name: str) -> None:
    world = served(even(1_500, 1), 600)
    found = judge(Blind(name, world, BLIND[name]), KEY, policy=RAMP, now=BEGIN)
    assert found.verdict is Verdict.HOLD
    assert found.reason


@pytest.mark.ml_test_score("infra6")
@pytest.mark.parametrize("name", [*list(BLIND)[::6], *CLOCKS])
def test_a_blind_judge_never_promotes_and_is_rolled_back_in_the_end(name: str) -> None:
    ended = blind(name)
    assert ended.state == ("shadow" if name == "the clock stands still" else "rolled_back")


def test_harm_that_was_shown_fails_also_when_the_workers_are_gone() -> None:
    world = served(worse(1_500, 2, errors=0.5), 60)
    world.workers = tuple(replace(worker, stale=True) for worker in world.workers)
    assert judge(world, KEY, policy=RAMP, now=BEGIN).verdict is Verdict.FAIL


def test_the_counts_of_real_workers_are_read_from_their_folder(tmp_path: Path) -> None:
    at_us = int(BEGIN.timestamp() * 1_000_000)
    with ArmStats(tmp_path, KEY, at_us=at_us) as stats:
        for number in range(3_000):
            for arm in Arm:
                bids = 100_000 + 100 * (number % 500)
                stats.record(
                    arm, latency_us=900 + number % 300, candidates=1, bids=1, bid_micros=bids, spend_micros=bids
                )
        found = judge(FolderStats(tmp_path), KEY, policy=RAMP, now=BEGIN)
    assert found.verdict is Verdict.PASS
    assert found.requests == 3_000


def _measures(**changed: object) -> dict[str, object]:
    calibration = {"low": 0.95, "mid": 1.0, "high": 1.05}
    return {"bookings": 400, "calibration": calibration, "profit": {"low": -0.01, "mid": 0.02, "high": 0.05}} | changed


@pytest.mark.parametrize(
    ("measures", "verdict"),
    [
        (_measures(), Verdict.PASS),
        (None, Verdict.HOLD),
        ({}, Verdict.HOLD),
        (_measures(bookings=10), Verdict.HOLD),
        (_measures(profit={"low": float("nan"), "mid": 0.0, "high": 0.1}), Verdict.HOLD),
        (_measures(profit={"low": -0.2, "mid": 0.0, "high": 0.2}), Verdict.HOLD),
        (_measures(profit={"low": -0.3, "mid": -0.2, "high": -0.1}), Verdict.FAIL),
        (_measures(calibration={"low": 1.3, "mid": 1.5, "high": 1.7}), Verdict.FAIL),
        (_measures(calibration={"low": 1.0, "mid": 1.2, "high": 1.4}), Verdict.HOLD),
    ],
)
def test_slow_gates_judge_matured_outcomes_and_hold_without(
    measures: dict[str, object] | None, verdict: Verdict
) -> None:
    from ml.core.verdict import worst

    assert worst(one.verdict for one in slow_findings(measures, SlowLimits())) is verdict


def test_slow_gates_are_asked_at_the_last_step_only() -> None:
    world, policy = served(even(1_500, 1), 600), ramp_for(24)
    assert judge(world, KEY, policy=policy, now=BEGIN).verdict is Verdict.PASS
    assert judge(world, KEY, policy=policy, now=BEGIN, last_step=True).verdict is Verdict.HOLD
    passed = judge(world, KEY, policy=policy, now=BEGIN, last_step=True, slow=_measures())
    assert passed.verdict is Verdict.PASS


def test_another_limit_is_another_policy() -> None:
    assert RAMP.digest() != ramp_for(24).digest() != ramp_for(25).digest()
    assert RAMP.digest() == ramp_for(0).digest()


def test_a_candidate_that_no_living_worker_can_load_fails_without_any_request(tmp_path: Path) -> None:
    at_us = int(BEGIN.timestamp() * 1_000_000)
    with ArmStats(tmp_path, KEY, at_us=at_us) as one, ArmStats(tmp_path, KEY, at_us=at_us) as other:
        one.refuse("the bundle is not signed")
        found = judge(FolderStats(tmp_path), KEY, policy=RAMP, now=BEGIN)
        assert found.verdict is Verdict.HOLD, "the other worker may yet load it"
        other.beat(at_us - 3_600_000_000)
        found = judge(FolderStats(tmp_path), KEY, policy=RAMP, now=BEGIN)
        assert (found.verdict, found.reason) == (
            Verdict.FAIL,
            "loads: 1 of 1 workers cannot load it: the bundle is not signed",
        )
        one.beat(at_us - 3_600_000_000)
        assert judge(FolderStats(tmp_path), KEY, policy=RAMP, now=BEGIN).verdict is Verdict.HOLD, "nobody lives"
