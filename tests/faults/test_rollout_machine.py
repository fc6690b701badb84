"""The rollout as a state machine under anything that may happen: the invariants hold after every step.

Kills between transactions are what the other faults are about (`test_promote_kills.py`); here a kill is a tick whose answer
nobody got, and a retry one that is repeated.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from benchmarks.common import memory_folder
from benchmarks.promotion_world import (
    AT,
    DARK,
    DAY,
    HARMFUL,
    POLICY,
    QUICK,
    SECOND,
    WELL,
    Counts,
    invariants,
    prepare,
)
from ml.core.clock import FixedClock
from ml.core.digests import Digest, digest_json
from ml.core.errors import PermanentError, StaleGeneration
from ml.ledger import bars, champion, rollbacks, rollouts, versions
from ml.ledger.database import Database
from ml.promotion.evidence import Evidence
from ml.promotion.promote import judge_candidate, move_champion
from ml.promotion.rollback import roll_back
from ml.promotion.rollout import Ticked, enqueue, renew, stop, tick

MARKET = "machine"
SOURCES = st.sampled_from([WELL, WELL, WELL, HARMFUL, DARK])

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")


class Rollouts(RuleBasedStateMachine):
    """Register, gate, start, tick, kill, retry, roll back, a second candidate, clock jumps."""

    template: Path

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bidwright-machine-", dir=memory_folder()))
        shutil.copyfile(type(self).template, self.folder / "ledger.db")
        self.db = Database.open(f"sqlite:///{self.folder / 'ledger.db'}")
        self.clock = FixedClock(AT)
        self.candidates: list[Digest] = []
        self.decided: list[int] = []

    def teardown(self) -> None:
        if hasattr(self, "db"):
            self.db.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    @rule()
    def register(self) -> None:
        digest = digest_json(["candidate", len(self.candidates)])
        versions.register(self.db, versions.Version(digest, MARKET, DAY, "blob", digest, DAY, {}, ""), AT)
        self.candidates.append(digest)

    @precondition(lambda self: self.candidates)
    @rule(data=st.data())
    def gate(self, data: st.DataObject) -> None:
        digest = data.draw(st.sampled_from(self.candidates))
        if bars.barred(self.db, MARKET, digest) is None:
            self.decided.append(self._judge(digest))

    @precondition(lambda self: self.decided)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        with suppress(PermanentError):  # a decision that moved the champion has been carried out
            enqueue(self.db, decision_id=data.draw(st.sampled_from(self.decided)), policy=QUICK, at=self.clock.now())

    @precondition(lambda self: self.decided)
    @rule(data=st.data())
    def promote_by_hand(self, data: st.DataObject) -> None:
        with suppress(StaleGeneration, PermanentError):
            move_champion(self.db, decision_id=data.draw(st.sampled_from(self.decided)), day=DAY, at=self.clock.now())

    @rule(source=SOURCES, times=st.integers(1, 3), seconds=st.integers(1, 60))
    def tick(self, source: Counts, times: int, seconds: int) -> None:
        for _ in range(times):
            self.clock.at += timedelta(seconds=seconds)
            before = rollouts.active(self.db, MARKET)
            done = tick(self.db, market=MARKET, stats=source, clock=self.clock, policy=QUICK)
            self._judged_fairly(before, done, source)
            if done.action == "judge" and done.rollout is not None:
                decision_id = self._judge(done.rollout.candidate)
                renew(self.db, done.rollout.id, decision_id=decision_id, at=self.clock.now())

    @rule(source=SOURCES)
    def two_tick_on_what_both_saw(self, source: Counts) -> None:
        """The second of two that read the same revision: it is too late, or does what is right now."""
        before = rollouts.active(self.db, MARKET)
        tick(self.db, market=MARKET, stats=source, clock=self.clock, policy=QUICK)
        if before is not None:
            with pytest.raises(StaleGeneration), self.db.session() as session:
                rollouts.change(session, before, at=self.clock.now(), state="promoted", reason="a zombie")

    @rule(hours=st.integers(-50, 50))
    def clock_jumps(self, hours: int) -> None:
        self.clock.at += timedelta(hours=hours)
        before = rollouts.active(self.db, MARKET)
        done = tick(self.db, market=MARKET, stats=WELL, clock=self.clock, policy=QUICK)
        live = champion.current(self.db, MARKET)
        if before is not None and live is not None and live.generation == before.generation and hours:
            assert done.action not in {"promoted", "stepped"}, "a jump of the clock is no time under watch"

    @rule(again=st.booleans())
    def roll_back(self, again: bool) -> None:
        live = champion.current(self.db, MARKET)
        assert live is not None
        for _ in range(1 + again):
            with suppress(PermanentError), self.db.session() as session:
                roll_back(
                    session, MARKET, from_generation=live.generation, why="machine", by="somebody", day=DAY,
                    policy=QUICK, at=self.clock.now(),
                )  # fmt: skip
        now = champion.current(self.db, MARKET)
        assert now is not None
        assert now.generation <= live.generation + 1, "the same rollback twice has one effect"

    @rule()
    def lift_everything(self) -> None:
        for one in bars.standing(self.db, MARKET):
            bars.lift(self.db, MARKET, one.digest, why="machine", by="somebody", at=self.clock.now())

    @invariant()
    def the_ledger_is_whole(self) -> None:
        if hasattr(self, "db"):
            assert invariants(self.db, MARKET) == []

    @invariant()
    def the_champion_is_not_barred(self) -> None:
        if hasattr(self, "db"):
            live = champion.current(self.db, MARKET)
            assert live is not None
            kept_out = bars.barred(self.db, MARKET, live.digest)
            assert kept_out is None or kept_out.is_freeze

    @invariant()
    def after_three_automatic_rollbacks_nothing_moves_by_itself(self) -> None:
        if hasattr(self, "db") and bars.frozen(self.db, MARKET) is not None:
            waiting = rollouts.queued(self.db, MARKET)
            if waiting and rollouts.active(self.db, MARKET) is None:
                done = tick(self.db, market=MARKET, stats=WELL, clock=self.clock, policy=QUICK)
                assert done.action in {"waits", "superseded"}

    def _judge(self, digest: Digest) -> int:
        live = champion.current(self.db, MARKET)
        evidence = Evidence(DAY, digest, live.generation if live else 0)
        decision = judge_candidate(
            self.db, market=MARKET, day=DAY, candidate=digest, evidence=evidence, policy=POLICY, approval="never",
            at=self.clock.now(),
        )  # fmt: skip
        return int(decision.id or 0)

    def _judged_fairly(self, before: rollouts.Rollout | None, done: Ticked, source: Counts) -> None:
        if before is None or done.rollout is None or done.rollout.id != before.id:
            return
        if source is HARMFUL:
            assert done.action in {"rolled_back", "restarted", "superseded"}, "harm was shown, and it went on"
        if source is DARK:
            assert done.action not in {"promoted", "stepped", "watched"}, "it went on blindly"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("machine") / "prepared.db"
    db = Database.open(f"sqlite:///{file}")
    db.migrate()
    prepare(db, MARKET)
    db.close()
    return file


@pytest.mark.ml_test_score("infra4")
def test_the_invariants_hold_whatever_happens_in_whatever_order(template: Path) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    machine = type("Machine", (Rollouts,), {"template": template})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_a_decision_that_moved_the_champion_begins_no_rollout(template: Path, tmp_path: Path) -> None:
    """Promoted at once, rolled back, and offered to a canary by the same decision: that decision has had its effect."""
    shutil.copyfile(template, tmp_path / "ledger.db")
    db = Database.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    digest = digest_json(["candidate", 0])
    versions.register(db, versions.Version(digest, MARKET, DAY, "blob", digest, DAY, {}, ""), AT)
    decision = judge_candidate(
        db, market=MARKET, day=DAY, candidate=digest, evidence=Evidence(DAY, digest, 2), policy=POLICY,
        approval="never", at=AT,
    )  # fmt: skip
    decision_id = int(decision.id or 0)
    move_champion(db, decision_id=decision_id, day=DAY, at=AT)
    with pytest.raises(PermanentError, match="champion of machine already"):
        enqueue(db, decision_id=decision_id, policy=QUICK, at=AT)
    assert rollouts.queued(db, MARKET) == []
    assert invariants(db, MARKET) == []
    db.close()


@pytest.mark.parametrize("under_way", [False, True], ids=["waiting", "in front of traffic"])
@pytest.mark.parametrize("times", [1, 2], ids=["taken back", "taken back, and that as well"])
def test_a_rollout_whose_decision_a_person_carried_out_and_took_back_ends_as_promoted(
    template: Path, tmp_path: Path, under_way: bool, times: int
) -> None:
    """Both between two ticks: its candidate has had its turn, and no second rollback is counted."""
    shutil.copyfile(template, tmp_path / "ledger.db")
    db = Database.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    clock, digest = FixedClock(AT), digest_json(["candidate", 0])
    versions.register(db, versions.Version(digest, MARKET, DAY, "blob", digest, DAY, {}, ""), AT)
    decision = judge_candidate(
        db, market=MARKET, day=DAY, candidate=digest, evidence=Evidence(DAY, digest, 2), policy=POLICY,
        approval="never", at=AT,
    )  # fmt: skip
    rollout = enqueue(db, decision_id=int(decision.id or 0), policy=QUICK, at=AT)
    if under_way:
        started = tick(db, market=MARKET, stats=WELL, clock=clock, policy=QUICK)
        assert started.action == "started"
        rollout = rollouts.get(db, rollout.id)
    live = move_champion(db, decision_id=int(decision.id or 0), day=DAY, at=AT).champion
    assert live is not None
    for generation in range(live.generation, live.generation + times):
        bars.lift(db, MARKET, digest, why="a mistake", by="somebody", at=AT)
        with db.session() as session:
            roll_back(
                session, MARKET, from_generation=generation, why="worse", by="somebody", day=DAY, policy=QUICK, at=AT
            )
    with pytest.raises(StaleGeneration, match="became champion meanwhile"), db.session() as session:
        stop(session, rollout, why="worse", by="somebody", automatic=False, policy=QUICK, at=AT)
    clock.at += timedelta(seconds=10)
    done = tick(db, market=MARKET, stats=WELL, clock=clock, policy=QUICK)
    assert done.rollout is not None
    assert (done.action, done.rollout.id, done.rollout.state) == ("superseded", rollout.id, "promoted")
    assert [one.rollout_id for one in rollbacks.newest(db, MARKET, 9)] == [None] * times
    now = champion.current(db, MARKET)
    assert now is not None
    assert (now.digest == digest) is (times == 2)
    assert invariants(db, MARKET) == []
    db.close()


def test_a_person_may_carry_out_the_decision_of_a_rollout_that_has_ended(template: Path, tmp_path: Path) -> None:
    shutil.copyfile(template, tmp_path / "ledger.db")
    db = Database.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    clock, digest = FixedClock(AT), digest_json(["candidate", 0])
    versions.register(db, versions.Version(digest, MARKET, DAY, "blob", digest, DAY, {}, ""), AT)
    decision = judge_candidate(
        db, market=MARKET, day=DAY, candidate=digest, evidence=Evidence(DAY, digest, 2), policy=POLICY,
        approval="never", at=AT,
    )  # fmt: skip
    rollout = enqueue(db, decision_id=int(decision.id or 0), policy=QUICK, at=AT)
    for action in ("started", "rolled_back"):
        clock.at += timedelta(seconds=10)
        assert tick(db, market=MARKET, stats=HARMFUL, clock=clock, policy=QUICK).action == action
    bars.lift(db, MARKET, digest, why="a mistake", by="somebody", at=clock.now())
    assert move_champion(db, decision_id=int(decision.id or 0), day=DAY, at=clock.now()).moved
    assert rollouts.get(db, rollout.id).state == "rolled_back"
    assert invariants(db, MARKET) == []
    with db.session() as session:
        rollouts.change(
            session, rollouts.get(db, rollout.id), at=clock.now() + timedelta(seconds=1), state="superseded"
        )
    assert "machine: rollout 1: it ended, and its candidate was promoted" in invariants(db, MARKET), (
        "ended after the move"
    )
    db.close()


def test_a_third_automatic_rollback_freezes_the_market_until_a_person_lifts_it(template: Path, tmp_path: Path) -> None:
    shutil.copyfile(template, tmp_path / "ledger.db")
    db = Database.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    clock = FixedClock(AT)
    for number in range(QUICK.max_automatic):
        assert bars.frozen(db, MARKET) is None
        digest = digest_json(["harmful", number])
        versions.register(db, versions.Version(digest, MARKET, DAY, "blob", digest, DAY, {}, ""), AT)
        decision = judge_candidate(
            db, market=MARKET, day=DAY, candidate=digest, evidence=Evidence(DAY, digest, 2), policy=POLICY,
            approval="never", at=AT,
        )  # fmt: skip
        enqueue(db, decision_id=int(decision.id or 0), policy=QUICK, at=AT)
        done = []
        for _ in range(2):
            clock.at += timedelta(seconds=10)
            done.append(tick(db, market=MARKET, stats=HARMFUL, clock=clock, policy=QUICK))
        assert [one.action for one in done] == ["started", "rolled_back"]
    assert done[-1].freeze is not None
    assert rollbacks.count_automatic(db, MARKET, since=AT) == QUICK.max_automatic
    live = champion.current(db, MARKET)
    assert live is not None
    assert live.digest == SECOND
    bars.lift(db, MARKET, bars.EVERYTHING, why="mended", by="somebody", at=clock.now())
    assert bars.frozen(db, MARKET) is None
    cooled = replace(QUICK, cooldown=timedelta(hours=1))
    digest = digest_json(["harmful", "again"])
    versions.register(db, versions.Version(digest, MARKET, DAY, "blob", digest, DAY, {}, ""), AT)
    decision = judge_candidate(
        db, market=MARKET, day=DAY, candidate=digest, evidence=Evidence(DAY, digest, 2), policy=POLICY,
        approval="never", at=AT,
    )  # fmt: skip
    enqueue(db, decision_id=int(decision.id or 0), policy=cooled, at=AT)
    assert tick(db, market=MARKET, stats=WELL, clock=clock, policy=cooled).action == "waits", "cooldown"
    clock.at += timedelta(hours=1)
    assert tick(db, market=MARKET, stats=WELL, clock=clock, policy=cooled).action == "started"
    db.close()
