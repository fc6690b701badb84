"""A rollout's way: one at a time, from zero where the champion changed, and back as one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from benchmarks.common import memory_folder
from benchmarks.promotion_world import (
    AT,
    DARK,
    DAY,
    FIRST,
    HARMFUL,
    QUICK,
    SECOND,
    THIRD,
    WELL,
    Counts,
    invariants,
    judge,
    prepare,
    take_back,
)
from ml.core.clock import FixedClock
from ml.core.digests import Digest, digest_json
from ml.core.errors import PermanentError, StaleGeneration, UsageError
from ml.core.verdict import Verdict
from ml.ledger import bars, champion, decisions, drills, rollbacks, rollouts, versions
from ml.ledger.database import Database
from ml.promotion.ramp import Step
from ml.promotion.rollback import roll_back, verify
from ml.promotion.rollout import Ticked, enqueue, renew, tick
from ml.serving.arms import Shares
from ml.steps.drill import SUFFIX, drill

MARKET = "trial"


@pytest.fixture
def ledger(migrated: Path) -> Iterator[Database]:
    with TemporaryDirectory(prefix="bidwright-rollout-", dir=memory_folder()) as folder:
        file = Path(folder) / "trial.db"
        file.write_bytes(migrated.read_bytes())
        with closing(Database.open(f"sqlite:///{file}")) as db:
            prepare(db, MARKET)
            yield db


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(AT)


def begin(db: Database) -> rollouts.Rollout:
    return enqueue(db, decision_id=judge(db, MARKET), policy=QUICK, at=AT)


def tend(db: Database, clock: FixedClock, source: Counts = WELL, **changed: object) -> Ticked:
    clock.at += timedelta(seconds=10)
    return tick(db, market=MARKET, stats=source, clock=clock, policy=replace(QUICK, **changed))  # type: ignore[arg-type]


def live(db: Database) -> tuple[Digest, int]:
    found = champion.current(db, MARKET)
    assert found is not None
    return found.digest, found.generation


def test_a_candidate_goes_through_shadow_and_ramp_and_is_champion_at_the_end(
    ledger: Database, clock: FixedClock
) -> None:
    begin(ledger)
    seen = []
    for _ in range(4):
        done = tend(ledger, clock)
        assert done.rollout is not None
        seen.append((done.action, done.rollout.state, done.rollout.canary_share, done.rollout.analysis))
    assert seen == [
        ("started", "shadow", 0.05, 1),
        ("stepped", "canary", 0.05, 2),
        ("stepped", "canary", 0.25, 3),
        ("promoted", "promoted", 0.0, 3),
    ]
    assert live(ledger) == (THIRD, 3)
    assert tend(ledger, clock).action == "nothing"


def test_the_service_is_told_champion_previous_and_rollout_in_one_read(ledger: Database, clock: FixedClock) -> None:
    begin(ledger)
    assert rollouts.serving(ledger, MARKET).rollout is None, "one that waits is not in front of traffic"
    tend(ledger, clock)
    found = rollouts.serving(ledger, MARKET)
    assert found.champion is not None
    assert found.rollout is not None
    assert (found.champion.digest, found.previous, found.rollout.candidate) == (SECOND, FIRST, THIRD)
    assert rollouts.serving(ledger, "nowhere") == rollouts.Serving(None, None, None)


def test_harm_takes_the_candidate_out_bars_it_and_leaves_the_champion(ledger: Database, clock: FixedClock) -> None:
    begin(ledger)
    tend(ledger, clock)
    done = tend(ledger, clock, HARMFUL)
    assert done.action == "rolled_back"
    assert live(ledger) == (SECOND, 2)
    assert bars.barred(ledger, MARKET, THIRD) is not None
    with pytest.raises(PermanentError, match="is barred"):
        bars.refuse_barred(ledger, MARKET, THIRD)
    assert begin(ledger).state == "rolled_back", "the same decision begins nothing again"


def test_a_judge_that_cannot_see_holds_and_rolls_back_when_patience_ends(ledger: Database, clock: FixedClock) -> None:
    begin(ledger)
    tend(ledger, clock)
    actions = [tend(ledger, clock, DARK).action for _ in range(6)]
    assert actions == ["held"] * 5 + ["rolled_back"]
    assert live(ledger) == (SECOND, 2)


def test_a_moment_of_sight_begins_patience_anew(ledger: Database, clock: FixedClock) -> None:
    begin(ledger)
    slow = {"steps": (replace(QUICK.steps[0], watched=timedelta(days=1)),)}
    tend(ledger, clock, **slow)
    for _ in range(3):
        assert [tend(ledger, clock, DARK, **slow).action for _ in range(4)] == ["held"] * 4
        assert tend(ledger, clock, **slow).action == "watched"


def test_time_that_nobody_watched_is_no_time_of_a_step(ledger: Database, clock: FixedClock) -> None:
    begin(ledger)
    hour = {"steps": (replace(QUICK.steps[0], watched=timedelta(hours=1)),), "max_hold": timedelta(hours=1)}
    tend(ledger, clock, **hour)
    clock.at += timedelta(days=2)
    done = tend(ledger, clock, **hour)
    assert done.action == "held"
    assert done.rollout is not None
    assert done.rollout.watched_ms == 0


def test_another_champion_restarts_the_analysis_after_a_new_judgement(ledger: Database, clock: FixedClock) -> None:
    begin(ledger)
    tend(ledger, clock)
    before = tend(ledger, clock).rollout
    take_back(ledger, MARKET)
    restarted = tend(ledger, clock)
    assert (restarted.action, restarted.rollout and restarted.rollout.state) == ("restarted", "queued")
    asked = tend(ledger, clock)
    assert asked.action == "judge"
    assert asked.rollout is not None
    assert before is not None
    renewed = renew(ledger, asked.rollout.id, decision_id=judge(ledger, MARKET), at=clock.now())
    assert renewed.generation == 3
    again = tend(ledger, clock).rollout
    assert again is not None
    assert (again.state, again.step, again.generation) == ("shadow", 0, 3)
    assert again.analysis > before.analysis, "what was counted before is not counted again"
    assert invariants(ledger, MARKET) == []


@pytest.mark.parametrize(
    ("verdict", "approval"), [(Verdict.HOLD, None), (Verdict.FAIL, None), (Verdict.PASS, {"needed": True})]
)
def test_a_candidate_that_does_not_pass_against_the_new_champion_is_superseded(
    verdict: Verdict, approval: dict[str, bool] | None, ledger: Database, clock: FixedClock
) -> None:
    waiting = begin(ledger)
    take_back(ledger, MARKET)
    worse = decisions.Decision(MARKET, DAY, THIRD, FIRST, 3, verdict, [], FIRST, approval)
    done = renew(ledger, waiting.id, decision_id=decisions.record(ledger, worse, AT), at=clock.now())
    assert done.state == "superseded"


def test_a_second_candidate_waits_and_a_third_takes_its_place_in_the_queue(ledger: Database, clock: FixedClock) -> None:
    begin(ledger)
    tend(ledger, clock)
    others = []
    for number in range(2):
        digest = digest_json(["other", number])
        versions.register(ledger, versions.Version(digest, MARKET, DAY, "b", digest, DAY, {}, ""), AT)
        decision = decisions.Decision(MARKET, DAY, digest, SECOND, 2, Verdict.PASS, [], digest, None)
        others.append(enqueue(ledger, decision_id=decisions.record(ledger, decision, AT), policy=QUICK, at=AT).id)
    assert [one.id for one in rollouts.queued(ledger, MARKET)] == others[1:]
    assert rollouts.get(ledger, others[0]).state == "superseded"
    active = rollouts.active(ledger, MARKET)
    assert active is not None
    assert active.candidate == THIRD


def test_a_candidate_without_a_champion_before_it_is_promoted_at_once(ledger: Database, clock: FixedClock) -> None:
    versions.register(ledger, versions.Version(THIRD, "new", DAY, "b", THIRD, DAY, {}, ""), AT)
    decision = decisions.Decision("new", DAY, THIRD, None, 0, Verdict.PASS, [], THIRD, None)
    enqueue(ledger, decision_id=decisions.record(ledger, decision, AT), policy=QUICK, at=AT)
    assert tick(ledger, market="new", stats=DARK, clock=clock, policy=QUICK).action == "promoted"


def test_another_policy_restarts_and_a_shorter_ramp_still_ends(ledger: Database, clock: FixedClock) -> None:
    begin(ledger)
    for _ in range(3):
        tend(ledger, clock)
    shorter = {"steps": (Step("only", True, Shares(0.4, 0.4), requests=1, watched=timedelta(0)),)}
    assert tend(ledger, clock, **shorter).action == "restarted"
    assert tend(ledger, clock, **shorter).action == "promoted"


def test_slow_gates_wait_for_measures_and_then_decide(ledger: Database, clock: FixedClock) -> None:
    from ml.promotion.ramp import SlowLimits

    begin(ledger)
    slow = {"slow": SlowLimits(), "max_hold": timedelta(days=14)}
    for _ in range(3):
        tend(ledger, clock, **slow)
    held = tend(ledger, clock, **slow)
    assert held.action == "held"
    assert held.rollout is not None
    good = {"low": 0.98, "mid": 1.0, "high": 1.02}
    rollouts.measure(
        ledger,
        held.rollout,
        {"bookings": 500, "calibration": good, "profit": {"low": 0.0, "mid": 0.1, "high": 0.2}},
        AT,
    )
    assert tend(ledger, clock, **slow).action == "promoted"


@pytest.mark.ml_test_score("infra7")
def test_a_rollback_restores_the_bundle_before_as_a_new_generation_with_its_decision(ledger: Database) -> None:
    with ledger.session() as session:
        done = roll_back(session, MARKET, from_generation=2, why="too high", by="anna", day=DAY, policy=QUICK, at=AT)
    assert verify(ledger, done.rollback).digest == FIRST
    assert live(ledger) == (FIRST, 3)
    decision = decisions.get(ledger, done.rollback.decision_id or 0)
    assert (decision.kind, decision.champion, decision.gates[0]["gate"]) == (decisions.ROLLBACK, SECOND, "rollback")
    assert "anna" in decision.gates[0]["reason"]
    assert "too high" in decision.gates[0]["reason"]
    assert bars.barred(ledger, MARKET, SECOND) is not None


@pytest.mark.ml_test_score("infra7")
def test_the_same_rollback_again_has_no_second_effect(ledger: Database) -> None:
    for expected in (True, False):
        with ledger.session() as session:
            done = roll_back(session, MARKET, from_generation=2, why="x", by="anna", day=DAY, policy=QUICK, at=AT)
        assert done.done is expected
    assert live(ledger) == (FIRST, 3)
    assert len(rollbacks.newest(ledger, MARKET, 9)) == 1


def test_a_rollback_of_a_champion_that_is_gone_is_stale(ledger: Database) -> None:
    with pytest.raises(StaleGeneration, match="not generation 7"), ledger.session() as session:
        roll_back(session, MARKET, from_generation=7, why="x", by="anna", day=DAY, policy=QUICK, at=AT)


def test_a_rollback_needs_somebody_and_a_reason_and_somewhere_to_go(ledger: Database) -> None:
    for why, by in (("", "anna"), ("x", " ")):
        with pytest.raises(UsageError, match="who and why"), ledger.session() as session:
            roll_back(session, MARKET, from_generation=2, why=why, by=by, day=DAY, policy=QUICK, at=AT)
    bars.bar(ledger, MARKET, FIRST, "bad", "anna", AT)
    with pytest.raises(PermanentError, match="no earlier champion"), ledger.session() as session:
        roll_back(session, MARKET, from_generation=2, why="x", by="anna", day=DAY, policy=QUICK, at=AT)
    with pytest.raises(PermanentError, match="is barred"), ledger.session() as session:
        roll_back(session, MARKET, from_generation=2, to_generation=1, why="x", by="b", day=DAY, policy=QUICK, at=AT)
    assert live(ledger) == (SECOND, 2)


def test_a_barred_candidate_never_becomes_champion_whoever_carries_it_out(ledger: Database) -> None:
    decision_id = judge(ledger, MARKET)
    bars.bar(ledger, MARKET, THIRD, "bad", "anna", AT)
    with pytest.raises(PermanentError, match="may not become champion"):
        champion.move(ledger, MARKET, digest=THIRD, expected_generation=2, decision_id=decision_id, day=DAY, at=AT)


def test_a_drill_goes_back_and_forward_on_a_copy_again_and_again(ledger: Database, clock: FixedClock) -> None:
    before = champion.current(ledger, MARKET)
    for number in range(3):
        found = drill(ledger, MARKET, policy=QUICK, clock=clock)
        assert found.ok, found.details
        assert (found.details["back_to"], found.details["forward_to"]) == (FIRST, SECOND)
        assert champion.current(ledger, MARKET) == before
        drills.record(ledger, found)
        history = champion.history(ledger, MARKET + SUFFIX)
        assert len(history) == 2 + 2 * (number + 1)
    last = drills.last_drill(ledger, MARKET)
    assert last is not None
    assert last.ok
    assert invariants(ledger, MARKET) == []
    assert bars.standing(ledger, MARKET) == bars.standing(ledger, MARKET + SUFFIX) == []


def test_a_drill_without_an_earlier_champion_is_not_well(ledger: Database, clock: FixedClock) -> None:
    assert drills.last_drill(ledger, "nowhere") is None
    assert not drill(ledger, "nowhere", policy=QUICK, clock=clock).ok
