"""What the steps of a promotion do with failures, answers and waivers."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from ml import pipeline
from ml.core.clock import FixedClock
from ml.core.digests import Digest
from ml.core.errors import StaleGeneration, StoreUnavailable, UsageError
from ml.core.settings import load_settings
from ml.core.verdict import Verdict
from ml.ledger import champion, decisions, partitions, stages, versions
from ml.ledger.decisions import Decision
from ml.ledger.partitions import PartitionEntry
from ml.platform import Platform
from ml.steps import judge, judge_paired

DAY = date(2026, 3, 2)
AT = datetime(2026, 3, 3, tzinfo=UTC)
CANDIDATE, OTHER = Digest("c" * 64), Digest("b" * 64)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """A ledger with two registered versions, one of them the day's candidate."""
    it = Platform(load_settings(home=tmp_path, mail_to=""), FixedClock(AT))
    it.db.migrate()
    for digest in (CANDIDATE, OTHER):
        version = versions.Version(digest, it.market, DAY, f"bundles/{digest}", Digest("d" * 64), DAY, {}, "")
        versions.register(it.db, version, AT)
    key = stages.StageKey(it.market, "train", DAY)
    stages.record(it.db, key, status="done", result={"candidate": CANDIDATE}, at=AT)
    return it


def decided(platform: Platform, candidate: Digest, *, generation: int, asked: bool = True) -> int:
    return decisions.record(
        platform.db,
        Decision(
            market=platform.market, day=DAY, candidate=candidate, champion=None, generation=generation,
            verdict=Verdict.PASS, gates=[], policy_digest=Digest("e" * 64),
            approval={"needed": True, "reasons": ["x"]} if asked else None,
        ),
        AT,
    )  # fmt: skip


def answer(**changes: Any) -> dict[str, Any]:
    return {"answer": "Approve", "by": "dana", "candidate": CANDIDATE, "generation": 0} | changes


@pytest.mark.parametrize("error", [KeyError("hotel_id"), MemoryError(), UsageError("no such view")])
def test_whatever_fails_while_evidence_is_gathered_becomes_a_decision_that_holds_and_names_it(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def gather(*_: Any) -> None:
        raise error

    monkeypatch.setattr(judge, "gather", gather)
    result = pipeline.judge(platform, DAY)
    assert result["verdict"] == "HOLD"
    first = result["gates"][0]
    assert first["gate"] == "evidence_gathered"
    assert type(error).__name__ in first["reason"]
    assert not pipeline.promote(platform, DAY, decision_id=result["decision_id"])["moved"]


def test_what_may_pass_by_itself_is_raised_and_no_decision_is_written(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gather(*_: Any) -> None:
        raise StoreUnavailable("the blob store cannot be reached")

    monkeypatch.setattr(judge, "gather", gather)
    with pytest.raises(StoreUnavailable):
        pipeline.judge(platform, DAY)
    assert decisions.latest(platform.db, platform.market, 5) == []


def test_a_bundle_that_is_not_there_holds_and_is_no_crash(platform: Platform) -> None:
    result = pipeline.judge(platform, DAY)
    assert (result["verdict"], result["candidate"], result["generation"]) == ("HOLD", CANDIDATE, 0)


def test_an_approval_of_what_was_seen_moves_the_champion(platform: Platform) -> None:
    number = decided(platform, CANDIDATE, generation=0)
    moved = pipeline.promote(platform, DAY, decision_id=number, approval=answer())
    assert (moved["moved"], moved["generation"]) == (True, 1)
    again = pipeline.promote(platform, DAY, decision_id=number, approval=answer())
    assert again == moved


@pytest.mark.parametrize("changes", [{"candidate": OTHER}, {"generation": 1}, {"candidate": None}])
def test_an_approval_of_another_candidate_or_generation_is_refused_and_not_recorded(
    platform: Platform, changes: dict[str, Any]
) -> None:
    number = decided(platform, CANDIDATE, generation=0)
    with pytest.raises(UsageError, match="the answer is about"):
        pipeline.promote(platform, DAY, decision_id=number, approval=answer(**changes))
    kept = decisions.get(platform.db, number).approval
    assert kept is not None and "answer" not in kept
    assert champion.current(platform.db, platform.market) is None


def test_an_approval_to_replace_a_champion_that_is_gone_is_refused(platform: Platform) -> None:
    number = decided(platform, CANDIDATE, generation=0)
    pipeline.promote(platform, DAY, decision_id=decided(platform, OTHER, generation=0, asked=False))
    with pytest.raises(StaleGeneration, match="replacing generation 0, now it is 1"):
        pipeline.promote(platform, DAY, decision_id=number, approval=answer())
    kept = decisions.get(platform.db, number).approval
    assert kept is not None and "answer" not in kept


def test_a_refused_version_is_refused_by_the_gates_next_time(platform: Platform) -> None:
    number = decided(platform, CANDIDATE, generation=0)
    assert not pipeline.promote(platform, DAY, decision_id=number, approval=answer(answer="Reject"))["moved"]
    version = versions.get(platform.db, platform.market, CANDIDATE)
    assert version is not None
    assert judge_paired.rejections(platform, version) == (f"dana answered 'Reject' to decision {number}",)


def test_only_a_gate_of_the_policy_is_waived_and_never_missing_evidence(platform: Platform) -> None:
    asked = {"candidate": CANDIDATE[:8], "why": "a known outage", "by": "anna", "days": 7}
    made = pipeline.waive(platform, "calibration", **asked)
    assert (made["candidate"], made["by"]) == (CANDIDATE, "anna")
    for gate in ("evidence_gathered", "no_such_gate"):
        with pytest.raises(UsageError, match="no gate that can be waived"):
            pipeline.waive(platform, gate, **asked)
    json.dumps(made)


def test_rows_are_held_against_the_same_weekdays_of_the_weeks_before(platform: Platform) -> None:
    for age in range(35):
        day = date.fromordinal(DAY.toordinal() - age)
        rows = 50 if age < 7 else 100 + 10 * day.weekday()
        entry = PartitionEntry(
            table="opportunities", digest=Digest(f"{age:064x}"), rows_in=rows, accepted=rows, quarantined=0, reasons={}
        )
        partitions.land(platform.db, platform.market, day, [entry], AT)
    (count,) = judge_paired.row_counts(platform, DAY)
    assert (count.table, count.rows, count.expected, count.days) == ("opportunities", 350, 910.0, 7)


def test_a_young_market_has_no_number_of_rows_to_expect(platform: Platform) -> None:
    (count,) = judge_paired.row_counts(platform, DAY)
    assert count.expected is None


def test_candidate_and_champion_are_told_apart_by_what_they_learned_from(platform: Platform) -> None:
    version = versions.get(platform.db, platform.market, CANDIDATE)
    assert version is not None
    first = judge_paired.comparison(platform, DAY, version, None)
    assert (first.candidate_trained_through, first.champion) == (DAY, None)
    pipeline.promote(platform, DAY, decision_id=decided(platform, OTHER, generation=0, asked=False))
    live = champion.current(platform.db, platform.market)
    found = judge_paired.comparison(platform, DAY, version, live)
    assert (found.champion, found.champion_trained_through, found.champion_since) == (OTHER, DAY, DAY)
    assert (found.last_look, found.incidents) == (None, ())
    decided(platform, OTHER, generation=1)
    assert judge_paired.comparison(platform, DAY, version, live).last_look == DAY
    assert replace(found, last_look=DAY) == judge_paired.comparison(platform, DAY, version, live)


def test_a_held_candidate_is_looked_at_again_on_a_later_day_and_never_on_an_earlier_one(platform: Platform) -> None:
    first = pipeline.judge(platform, DAY)
    later = date(2026, 3, 9)
    again = pipeline.judge(platform, later, candidate=CANDIDATE[:8])
    assert (again["candidate"], again["decision_id"] != first["decision_id"]) == (CANDIDATE, True)
    assert decisions.get(platform.db, again["decision_id"]).day == later
    with pytest.raises(UsageError, match="later than"):
        pipeline.judge(platform, date(2026, 3, 1), candidate=CANDIDATE[:8])


def test_a_person_sees_the_slices_furthest_behind_first() -> None:
    def one(label: str, mid: float) -> dict[str, Any]:
        return {
            "field": "device",
            "label": label,
            "rows": 900,
            "champion": 0.5,
            "difference": {"mid": mid, "error": 0.01},
        }

    gates = [{"gate": "slices", "numbers": {"models": {"value": {"slices": [one("a", -0.02), one("b", 0.02)]}}}}]
    assert [row["slice"] for row in judge.slices_shown(gates)] == ["device b", "device a"]
    assert judge.slices_shown(gates)[0] == {
        "model": "value", "slice": "device b", "rows": 900, "change": 0.04, "error": 0.02,
    }  # fmt: skip
    assert judge.slices_shown([{"gate": "slices", "numbers": {"models": {"value": {"slices": None}}}}]) == []
