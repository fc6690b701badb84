from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ml.core.digests import Digest
from ml.core.errors import PermanentError, StaleGeneration, UsageError
from ml.core.verdict import Verdict
from ml.ledger import champion, decisions, waivers
from ml.ledger.champion import Champion
from ml.ledger.database import Database
from ml.ledger.decisions import Decision
from ml.promotion import promote
from ml.promotion.evidence import BidEvidence, Evidence
from ml.promotion.policy import POLICY
from ml.promotion.promote import judge_candidate, move_champion
from ml.promotion.served import served_on, timeline

DAY = date(2025, 3, 10)
AT = datetime(2025, 3, 11, 6, tzinfo=UTC)
CANDIDATE = Digest("c" * 64)
CHAMPION = Digest("a" * 64)


def judge(db: Database, evidence: Evidence, *, approval: str = "never", **changes: Any) -> Decision:
    wanted = {"market": "simulator", "day": DAY, "candidate": CANDIDATE} | changes
    return judge_candidate(db, evidence=evidence, policy=POLICY, approval=approval, at=AT, **wanted)


def move(db: Database, decision: Decision, *, day: date = DAY) -> promote.Move:
    assert decision.id is not None
    return move_champion(db, decision_id=decision.id, day=day, at=AT)


@pytest.fixture
def first(good: Evidence) -> Evidence:
    """Evidence of the candidate while there is no champion."""
    return replace(good, champion_generation=0, bids=BidEvidence(published_before=False))


@pytest.fixture
def live(db: Database, first: Evidence) -> Champion:
    """A champion of generation 1, promoted the week before."""
    before = DAY - timedelta(days=7)
    evidence = replace(
        first, candidate=CHAMPION, day=before, inputs=replace(first.inputs, last_day=before, watermark=before)
    )
    moved = move(db, judge(db, evidence, candidate=CHAMPION, day=before), day=before)
    assert moved.champion is not None
    return moved.champion


def failing(good: Evidence) -> Evidence:
    model = good.models[0]
    assert model.calibration is not None
    high = replace(model.calibration, low=1.4, mid=1.5, high=1.6)
    return replace(good, models=(replace(model, calibration=high),))


def test_the_decision_holds_every_gate_with_its_numbers_before_anything_moves(
    db: Database, live: Champion, good: Evidence
) -> None:
    decision = judge(db, good)
    assert (decision.verdict, decision.champion, decision.generation) == (Verdict.PASS, CHAMPION, 1)
    assert decision.policy_digest == POLICY.digest()
    assert [gate["gate"] for gate in decision.gates] == [gate.name for gate in POLICY.gates]
    numbers = {gate["gate"]: gate["numbers"] for gate in decision.gates}
    assert numbers["calibration"]["models"]["value"]["calibration"]["mid"] == 1.01
    assert numbers["contract_and_freshness"]["inputs"]["data_digest"] == "d" * 64
    assert champion.current(db, "simulator") == live


def test_a_pass_moves_the_champion_to_the_next_generation(db: Database, live: Champion, good: Evidence) -> None:
    decision = judge(db, good)
    found = move(db, decision)
    assert (found.moved, found.reason) == (True, "promoted to generation 2")
    assert found.champion == champion.current(db, "simulator")
    assert found.champion is not None
    assert (found.champion.digest, found.champion.decision_id) == (CANDIDATE, decision.id)
    assert champion.on_day(db, "simulator", DAY - timedelta(days=1)) == live


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.HOLD])
def test_fail_and_hold_leave_the_champion_and_name_the_gate(
    db: Database, live: Champion, good: Evidence, verdict: Verdict
) -> None:
    evidence = failing(good) if verdict is Verdict.FAIL else replace(good, inputs=None)
    decision = judge(db, evidence)
    found = move(db, decision)
    gate = "calibration FAIL" if verdict is Verdict.FAIL else "contract_and_freshness HOLD"
    assert (decision.verdict, found.moved, found.champion) == (verdict, False, live)
    assert found.reason == f"the verdict is {verdict}: {gate}"
    assert champion.history(db, "simulator") == [live]


def test_the_first_promotion_needs_no_champion(db: Database, first: Evidence) -> None:
    decision = judge(db, first)
    assert (decision.champion, decision.generation) == (None, 0)
    assert move(db, decision).moved


def test_judging_again_changes_nothing_that_was_decided(db: Database, live: Champion, good: Evidence) -> None:
    decision = judge(db, good)
    again = judge(db, failing(good))
    assert again == decision
    assert len(decisions.latest(db, "simulator", 10)) == 2


def test_moving_again_has_no_second_effect(db: Database, live: Champion, good: Evidence) -> None:
    decision = judge(db, good)
    once, twice = move(db, decision), move(db, decision)
    assert once == twice
    assert len(champion.history(db, "simulator")) == 2


def test_a_candidate_that_is_champion_already_keeps_the_decision_that_made_it_so(
    db: Database, live: Champion, good: Evidence
) -> None:
    decision = judge(db, good)
    move(db, decision)
    later = replace(good, day=DAY + timedelta(days=1), champion_generation=2)
    assert judge(db, later, day=later.day) == decision


def test_a_move_that_a_later_one_followed_says_so_and_moves_nothing_back(
    db: Database, live: Champion, good: Evidence
) -> None:
    decision = judge(db, good)
    move(db, decision)
    back = replace(good, candidate=CHAMPION, champion_generation=2)
    move(db, judge(db, back, candidate=CHAMPION))
    found = move(db, decision)
    assert (found.moved, found.reason) == (True, "promoted to generation 2, since followed")
    assert found.champion is not None
    assert (found.champion.digest, found.champion.generation) == (CHAMPION, 3)


def test_evidence_against_a_champion_that_moved_since_is_refused_and_nothing_is_written(
    db: Database, live: Champion, first: Evidence
) -> None:
    with pytest.raises(StaleGeneration, match="generation 0, now it is 1"):
        judge(db, first)
    assert decisions.for_version(db, "simulator", CANDIDATE) == []


def test_a_decision_that_another_one_overtook_moves_nothing(db: Database, live: Champion, good: Evidence) -> None:
    decision = judge(db, good)
    after = DAY + timedelta(days=1)
    overtaking = replace(good, day=after, inputs=replace(good.inputs, last_day=after, watermark=after))
    assert move(db, judge(db, overtaking, day=after), day=after).moved
    with pytest.raises(StaleGeneration, match="no longer at generation 1"):
        move(db, decision)
    assert len(champion.history(db, "simulator")) == 2


@pytest.mark.parametrize("changes", [{"candidate": CHAMPION}, {"day": DAY - timedelta(days=1)}], ids=str)
def test_evidence_about_something_else_is_refused(db: Database, good: Evidence, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="the evidence is about"):
        judge(db, good, **changes)


def test_a_candidate_that_is_not_registered_is_not_judged(db: Database, first: Evidence) -> None:
    stranger = Digest("f" * 64)
    with pytest.raises(UsageError, match="not a registered version"):
        judge(db, replace(first, candidate=stranger), candidate=stranger)


def test_no_champion_begins_before_the_present_one(db: Database, live: Champion, good: Evidence) -> None:
    with pytest.raises(PermanentError, match="so none can begin on"):
        move(db, judge(db, good), day=live.since - timedelta(days=1))


def test_a_promotion_that_needs_approval_waits_for_it(db: Database, first: Evidence) -> None:
    decision = judge(db, first, approval="first")
    assert decision.approval == {"needed": True, "reasons": ["first promotion of this market"]}
    found = move(db, decision)
    assert (found.moved, found.reason) == (False, "it waits for approval: first promotion of this market")
    assert champion.current(db, "simulator") is None


@pytest.mark.parametrize("answer", ["Reject", "", "approve?", "yes"])
def test_only_the_word_approve_approves(db: Database, first: Evidence, answer: str) -> None:
    decision = judge(db, first, approval="always")
    assert decision.id is not None
    decisions.record_approval(db, decision.id, answer=answer, by="dana", at=AT)
    found = move(db, decision)
    assert (found.moved, found.reason) == (False, f"dana answered {answer!r}")
    assert champion.current(db, "simulator") is None


def test_an_approved_promotion_moves_and_keeps_who_approved(db: Database, first: Evidence) -> None:
    decision = judge(db, first, approval="always")
    assert decision.id is not None
    decisions.record_approval(db, decision.id, answer="Approve", by="dana", at=AT)
    assert move(db, decision).moved
    kept = decisions.get(db, decision.id).approval
    assert kept is not None
    assert (kept["answer"], kept["by"], kept["reasons"]) == (
        "Approve",
        "dana",
        ["the setting asks for every promotion", "first promotion of this market"],
    )


def test_nobody_is_asked_about_what_does_not_pass(db: Database, live: Champion, good: Evidence) -> None:
    assert judge(db, failing(good), approval="always").approval is None


def test_an_alias_that_is_not_where_it_was_moved_is_reported(
    db: Database, live: Champion, good: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault: the ledger says that it moved, and reads back the former champion."""
    decision = judge(db, good)
    monkeypatch.setattr(promote.champion, "current", lambda *_: live)
    with pytest.raises(StaleGeneration, match="is not cccccccccccc after it was moved there"):
        move(db, decision)


def waived(db: Database, gate: str = "calibration") -> None:
    waivers.waive(db, "simulator", gate=gate, candidate=CANDIDATE, why="a known outage", by="anna", at=AT, days=7)


def test_a_waived_gate_keeps_its_verdict_and_always_asks_a_person(db: Database, live: Champion, good: Evidence) -> None:
    waived(db)
    decision = judge(db, failing(good), approval="never")
    gate = next(gate for gate in decision.gates if gate["gate"] == "calibration")
    assert (decision.verdict, gate["verdict"], gate["waived"]["by"]) == (Verdict.PASS, "FAIL", "anna")
    assert decision.approval == {"needed": True, "reasons": ["calibration was waived by anna"]}
    assert not move(db, decision).moved
    assert decision.id is not None
    decisions.record_approval(db, decision.id, answer="Approve", by="dana", at=AT)
    assert move(db, decision).moved


def test_a_waiver_covers_its_own_gate_alone_and_never_missing_evidence(
    db: Database, live: Champion, good: Evidence
) -> None:
    waived(db)
    waived(db, "evidence_gathered")
    assert judge(db, replace(failing(good), gathered=False, failure="KeyError")).verdict is Verdict.HOLD


def test_a_waiver_of_a_gate_that_passes_asks_nobody(db: Database, live: Champion, good: Evidence) -> None:
    waived(db)
    assert judge(db, good).approval is None


@pytest.mark.parametrize("answer", ["Reject", "later"])
def test_what_a_person_refused_is_found_again_and_what_was_approved_is_not(
    db: Database, first: Evidence, answer: str
) -> None:
    decision = judge(db, first, approval="first")
    assert decision.id is not None
    assert decisions.refusals(db, "simulator", CANDIDATE) == []
    decisions.record_approval(db, decision.id, answer=answer, by="dana", at=AT)
    assert [one.id for one in decisions.refusals(db, "simulator", CANDIDATE)] == [decision.id]


def test_the_last_look_at_a_champion_is_that_of_any_candidate_at_its_generation(
    db: Database, live: Champion, good: Evidence
) -> None:
    def look(candidate: Digest, generation: int, day: date) -> date | None:
        return decisions.last_look(db, "simulator", generation=generation, day=day, candidate=candidate)

    judge(db, good)
    other = Digest("b" * 64)
    assert look(other, 1, DAY) == DAY
    assert look(CANDIDATE, 1, DAY) is None, "the same look again"
    assert look(CANDIDATE, 1, DAY + timedelta(days=1)) == DAY, "its own look of another day is spent too"
    assert look(other, 2, DAY) is None, "another champion"
    assert look(other, 1, DAY - timedelta(days=1)) is None, "a day that was not there yet"


def test_what_served_is_told_as_things_stood_at_an_instant_and_who_approved(
    db: Database, live: Champion, good: Evidence
) -> None:
    decision = judge(db, good, approval="always")
    assert decision.id is not None
    decisions.record_approval(db, decision.id, answer="Approve", by="dana", at=AT)
    later = AT + timedelta(days=1)
    move_champion(db, decision_id=decision.id, day=DAY, at=later)
    before = served_on(db, "simulator", day=DAY, at=later - timedelta(seconds=1))
    after = served_on(db, "simulator", day=DAY, at=later)
    assert (before["champion"]["digest"], after["champion"]["digest"]) == (CHAMPION, CANDIDATE)
    assert served_on(db, "simulator", day=live.since - timedelta(days=1), at=later)["champion"] is None
    assert (before["approved_by"], after["approved_by"][:13]) == ("nobody was asked", "dana: Approve")
    assert after["why"].startswith("a win in value")
    assert [gate["gate"] for gate in after["decision"]["gates"]] == [gate.name for gate in POLICY.gates]
    reigns = timeline(db, "simulator")
    assert [(one["generation"], one["until"]) for one in reigns] == [(1, DAY.isoformat()), (2, None)]
