from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from ml.core.digests import digest_bytes
from ml.core.errors import UsageError
from ml.core.verdict import Verdict
from ml.ledger import decisions, versions
from ml.ledger.database import Database
from ml.ledger.decisions import Decision

AT = datetime(2026, 1, 6, tzinfo=UTC)
DAY = date(2026, 1, 5)
CANDIDATE = digest_bytes(b"candidate")
GATE = {
    "gate": "calibration",
    "verdict": "PASS",
    "number": 0.98,
    "threshold": [0.9, 1.1],
    "interval": None,
    "sample": 1200,
}
DECISION = Decision(
    market="m",
    day=DAY,
    candidate=CANDIDATE,
    champion=digest_bytes(b"champion"),
    generation=3,
    verdict=Verdict.PASS,
    gates=[GATE],
    policy_digest=digest_bytes(b"policy"),
    approval=None,
)


@pytest.fixture
def ledger(db: Database) -> Database:
    """A ledger in which the candidate is registered."""
    version = versions.Version(CANDIDATE, "m", DAY, "uri", digest_bytes(b"data"), DAY, {}, "")
    versions.register(db, version, AT)
    return db


def test_a_decision_comes_back_with_every_number(ledger: Database) -> None:
    written = decisions.record(ledger, DECISION, AT)
    assert decisions.get(ledger, written) == replace(DECISION, id=written, recorded_at=AT)


def test_a_retry_of_the_same_decision_gets_the_first_one_and_rewrites_nothing(ledger: Database) -> None:
    first = decisions.record(ledger, DECISION, AT)
    retried = decisions.record(ledger, replace(DECISION, verdict=Verdict.FAIL, gates=[]), AT + timedelta(hours=1))
    assert retried == first
    assert decisions.get(ledger, first) == replace(DECISION, id=first, recorded_at=AT)


def test_another_day_or_generation_is_another_decision(ledger: Database) -> None:
    ids = [
        decisions.record(ledger, decision, AT)
        for decision in (DECISION, replace(DECISION, generation=4), replace(DECISION, day=DAY + timedelta(days=1)))
    ]
    assert len(set(ids)) == 3
    assert [decision.id for decision in decisions.for_version(ledger, "m", CANDIDATE)] == ids
    assert [decision.id for decision in decisions.latest(ledger, "m", 2)] == ids[:0:-1]
    assert decisions.latest(ledger, "other", 2) == decisions.for_version(ledger, "other", CANDIDATE) == []


def test_a_candidate_that_is_not_registered_cannot_be_decided_on(db: Database) -> None:
    with pytest.raises(UsageError, match="not a registered version of m"):
        decisions.record(db, DECISION, AT)
    assert decisions.latest(db, "m", 10) == []


def test_a_missing_number_must_be_none_and_never_nan(ledger: Database) -> None:
    with pytest.raises(UsageError, match="not JSON"):
        decisions.record(ledger, replace(DECISION, gates=[{**GATE, "number": float("nan")}]), AT)
    assert decisions.latest(ledger, "m", 10) == []


def test_a_decision_that_is_not_there_is_a_usage_error(ledger: Database) -> None:
    with pytest.raises(UsageError, match="no decision 77"):
        decisions.get(ledger, 77)
    with pytest.raises(UsageError, match="no decision 77"):
        decisions.record_approval(ledger, 77, answer="approve", by="ann", at=AT)


def test_an_approval_is_added_to_what_was_asked_and_the_first_answer_stands(ledger: Database) -> None:
    written = decisions.record(ledger, replace(DECISION, approval={"policy": "always"}), AT)
    decisions.record_approval(ledger, written, answer="approve", by="ann", at=AT)
    decisions.record_approval(ledger, written, answer="approve", by="ben", at=AT + timedelta(hours=1))
    with pytest.raises(UsageError, match="answered 'approve' by ann already"):
        decisions.record_approval(ledger, written, answer="reject", by="ben", at=AT)
    assert decisions.get(ledger, written).approval == {
        "policy": "always",
        "answer": "approve",
        "by": "ann",
        "at": AT.isoformat(),
    }
    assert decisions.get(ledger, written).gates == DECISION.gates
