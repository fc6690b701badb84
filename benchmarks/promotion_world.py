"""Promotions, rollouts and rollbacks to be killed, stopped and raced: each by name, on a market of its own in a ledger.

`invariants` is what must be true of a market at any moment, whoever died while doing what.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

import numpy as np

from ml.core.clock import FixedClock
from ml.core.digests import Digest
from ml.core.faultpoints import faultpoint
from ml.core.verdict import Verdict
from ml.ledger import bars, champion, decisions, rollbacks, rollouts, versions
from ml.ledger.database import Database
from ml.ledger.decisions import ROLLBACK
from ml.promotion.canary import StatsSource
from ml.promotion.evidence import Evidence
from ml.promotion.gates.base import Gate, GateResult, Gates
from ml.promotion.policy import Policy
from ml.promotion.promote import judge_candidate, move_champion
from ml.promotion.ramp import RampPolicy, Step
from ml.promotion.rollback import roll_back, verify
from ml.promotion.rollout import enqueue, renew, tick
from ml.serving.arm_stats import BUCKETS, LOG_SCALE, AllStats, ArmCounts, Count, StatsKey, Worker
from ml.serving.arms import Arm, Shares

DAY = date(2026, 3, 2)
AT = datetime(2026, 3, 3, tzinfo=UTC)
FIRST, SECOND, THIRD = (Digest(letter * 64) for letter in "abc")
"""Bundles of every market: two that were champion already, and the candidate."""

QUICK = RampPolicy(
    steps=(
        Step("shadow", False, Shares(0.05, 0.05), requests=500, watched=timedelta(0)),
        Step("canary", True, Shares(0.05, 0.05), requests=500, watched=timedelta(0)),
        Step("half", True, Shares(0.25, 0.25), requests=500, watched=timedelta(0)),
    ),
    cooldown=timedelta(0),
    max_hold=timedelta(minutes=1),
)
"""A ramp that passes a step with each tick on which all is well."""


@dataclass(frozen=True)
class Always(Gate):
    """A gate for trials: what it says depends on nothing."""

    name: ClassVar[str] = "always"
    reads: ClassVar[tuple[str, ...]] = ()

    def examine(self, evidence: Evidence) -> GateResult:
        """PASS."""
        return self.say(Verdict.PASS, f"a trial on {evidence.day}", number=1.0)


POLICY = Policy(Gates((Always(),)))


@dataclass(frozen=True)
class Counts:
    """A source that shows the same counts for every key: the canary errs in `errors` of 20,000 requests; None is blind."""

    errors: int | None = 20

    def read(self, key: StatsKey, now: datetime) -> AllStats:
        """The counts."""
        at_us = int(now.timestamp() * 1_000_000)
        worker = Worker(1, at_us, at_us, stale=False)
        if self.errors is None:
            return AllStats(key, {}, ())
        arms = {arm: _counts(self.errors if arm is Arm.CANARY else 20) for arm in Arm}
        return AllStats(key, arms, (worker,))


WELL, HARMFUL, DARK = Counts(), Counts(2_000), Counts(None)


def prepare(db: Database, market: str) -> None:
    """A market whose champion is the second bundle, at generation 2, and whose candidate is registered."""
    with db.session() as session:
        for digest in (FIRST, SECOND, THIRD):
            versions.register(session, versions.Version(digest, market, DAY, "blob", digest, DAY, {}, ""), AT)
        for generation, digest in enumerate((FIRST, SECOND)):
            decision = decisions.Decision(
                market, DAY, digest, FIRST if generation else None, generation, Verdict.PASS, [], digest, None
            )
            decision_id = decisions.record(session, decision, AT)
            champion.move(
                session, market, digest=digest, expected_generation=generation, decision_id=decision_id, day=DAY, at=AT
            )


def promote(db: Database, market: str) -> None:
    """Judge the candidate and make it the champion, as with the setting `rollout` at `off`."""
    decision_id = _judged(db, market)
    move_champion(db, decision_id=decision_id, day=DAY, at=AT)


def roll_out(db: Database, market: str, source: StatsSource = WELL) -> None:
    """Judge the candidate, put it on its way, and tend it until that is over."""
    decision_id = _judged(db, market)
    enqueue(db, decision_id=decision_id, policy=QUICK, at=AT)
    for number in range(100):
        found = rollouts.of_decision(db, decision_id)
        if found is None or found.is_over:
            return
        clock = FixedClock(max(AT + timedelta(seconds=10 * number), found.ticked_at + timedelta(seconds=10)))
        done = tick(db, market=market, stats=source, clock=clock, policy=QUICK)
        if done.action == "judge" and done.rollout is not None:
            renew(db, done.rollout.id, decision_id=judge(db, market), at=clock.now())
    raise AssertionError(f"the rollout of {market} did not end")


def stop_canary(db: Database, market: str) -> None:
    """The same with a harmful candidate."""
    roll_out(db, market, HARMFUL)


def take_back(db: Database, market: str) -> None:
    """Restore the first bundle in place of the second."""
    with db.session() as session:
        done = roll_back(session, market, from_generation=2, why="trial", by="somebody", day=DAY, policy=QUICK, at=AT)
    faultpoint("rollback.after")
    verify(db, done.rollback)


OPERATIONS: Mapping[str, Callable[[Database, str], None]] = {
    "promote": promote,
    "roll_out": roll_out,
    "stop_canary": stop_canary,
    "take_back": take_back,
}

DONE: Mapping[str, tuple[Digest, int]] = {
    "promote": (THIRD, 3),
    "roll_out": (THIRD, 3),
    "stop_canary": (SECOND, 2),
    "take_back": (FIRST, 3),
}
"""The champion and its generation after each operation, however often it was begun."""


def operation_of(point: str) -> str:
    """The operation that comes to a fault point."""
    if point.startswith("rollback."):
        return "take_back"
    if point.startswith("promote."):
        return "promote"
    return "stop_canary" if point.endswith("_stop") else "roll_out"


def invariants(db: Database, market: str) -> list[str]:
    """What is wrong with a market's ledger; empty where all is as it must be at any moment."""
    with db.reading() as session:
        history, live = champion.history(session, market), champion.current(session, market)
        ways = rollouts.newest(session, market, 1_000)
        back = rollbacks.newest(session, market, 1_000)
        barred = {one.digest for one in bars.history(session, market, 1_000)}
        events = {one.id: rollouts.events(session, one.id) for one in ways}
        decided = {one.decision_id: decisions.get(session, one.decision_id) for one in history}
        known = {one.digest for one in versions.newest(session, market, 1_000)}
    wrong = []

    def expect(what: str, holds: bool) -> None:
        if not holds:
            wrong.append(f"{market}: {what}")

    expect("generations have a gap", [one.generation for one in history] == list(range(1, len(history) + 1)))
    expect("the alias is not the last move", live == (history[-1] if history else None))
    for one in history:
        decision = decided[one.decision_id]
        expect(f"generation {one.generation} is no registered version", one.digest in known)
        expect(f"generation {one.generation} rests on no PASS about it", decision.verdict is Verdict.PASS)
        expect(
            f"generation {one.generation} rests on a decision about another",
            (decision.candidate, decision.generation) == (one.digest, one.generation - 1),
        )
        is_rollback = any(other.decision_id == one.decision_id for other in back)
        expect(f"generation {one.generation}: rollback and record differ", is_rollback == (decision.kind == ROLLBACK))
    expect("two rollouts are active", sum(one.is_active for one in ways) <= 1)
    for way in ways:
        last = events[way.id][-1]
        expect(f"rollout {way.id}: its last event is not its state", _place(last) == _place(way))
        counts = [event.analysis for event in events[way.id]]
        expect(f"rollout {way.id}: an analysis went on after a restart", counts == sorted(counts))
        moves = [one.moved_at for one in history if one.decision_id == way.decision_id]
        # Promoted by hand, a rollout that is under way is ended by the next tick.
        expect(f"rollout {way.id}: promoted and the alias differ", bool(moves) or way.state != "promoted")
        # Afterwards a person may still carry its decision out.
        before = any(moved_at < last.at for moved_at in moves)
        expect(f"rollout {way.id}: it ended, and its candidate was promoted", not before or way.state not in _FAILED)
        stopped = any(one.rollout_id == way.id for one in back)
        expect(f"rollout {way.id}: rolled back and the record differ", stopped == (way.state == "rolled_back"))
    for record in back:
        if record.rollout_id is not None:
            expect(f"the canary {record.failed[:4]} was never barred", record.failed in barred)
        else:
            to = next((one for one in history if one.generation == record.to_generation), None)
            expect(f"rollback {record.id} restored another", to is not None and to.digest == record.restored)
    return wrong


_FAILED = frozenset({"rolled_back", "superseded"})


def _place(one: Any) -> tuple[str, int, int]:
    return one.state, one.step, one.analysis


def judge(db: Database, market: str) -> int:
    """Judge the candidate against the champion of the moment; the decision."""
    live = champion.current(db, market)
    evidence = Evidence(DAY, THIRD, live.generation if live else 0)
    decision = judge_candidate(
        db, market=market, day=DAY, candidate=THIRD, evidence=evidence, policy=POLICY, approval="never", at=AT
    )
    return int(decision.id or 0)


def _judged(db: Database, market: str) -> int:
    """The first decision about the candidate, as a task that is run again is handed it."""
    before = [one.id for one in decisions.for_version(db, market, THIRD) if one.id is not None]
    return before[0] if before else judge(db, market)


def _counts(errors: int) -> ArmCounts:
    counts, latency = np.zeros(len(Count), dtype=np.int64), np.zeros(BUCKETS, dtype=np.int64)
    requests, log = 20_000, 12.0
    counts[[Count.REQUESTS, Count.WITH_BIDS, Count.ERRORS]] = requests, requests, errors
    counts[Count.LOG_BID] = round(requests * log * LOG_SCALE)
    counts[Count.LOG_BID_SQUARED] = round(requests * (log**2 + 0.25) * LOG_SCALE)
    counts[Count.SPEND_MICROS], counts[Count.SPEND_SQUARED] = requests * 3_000, requests * 10
    latency[60] = requests
    return ArmCounts(counts, latency)
