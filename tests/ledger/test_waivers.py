from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from ml.core.digests import digest_bytes
from ml.core.errors import UsageError
from ml.ledger import versions, waivers
from ml.ledger.database import Database
from ml.ledger.waivers import Waiver, standing, waive

AT = datetime(2026, 1, 6, tzinfo=UTC)
CANDIDATE = digest_bytes(b"candidate")
ASKED = {"gate": "calibration", "candidate": CANDIDATE, "why": "a known outage", "by": "anna", "days": 7}


@pytest.fixture
def ledger(db: Database) -> Database:
    """A ledger in which the candidate is registered."""
    day = date(2026, 1, 5)
    versions.register(db, versions.Version(CANDIDATE, "m", day, "uri", digest_bytes(b"data"), day, {}, ""), AT)
    return db


def give(ledger: Database, **changes: object) -> Waiver:
    return waive(ledger, "m", at=AT, **(ASKED | changes))  # type: ignore[arg-type]


def test_a_waiver_stands_for_one_candidate_until_it_expires(ledger: Database) -> None:
    made = give(ledger)
    assert (made.gate, made.by, made.why, made.expires_at) == (
        "calibration", "anna", "a known outage", AT + timedelta(days=7),
    )  # fmt: skip
    assert standing(ledger, "m", CANDIDATE, at=AT) == [made]
    assert standing(ledger, "m", CANDIDATE, at=AT + timedelta(days=7)) == []
    assert standing(ledger, "m", CANDIDATE, at=AT - timedelta(seconds=1)) == []
    assert standing(ledger, "m", digest_bytes(b"another"), at=AT) == []
    assert standing(ledger, "other", CANDIDATE, at=AT) == []


def test_the_same_waiver_again_adds_nothing(ledger: Database) -> None:
    assert give(ledger) == give(ledger)
    assert give(ledger, by="ben").id != give(ledger).id


@pytest.mark.parametrize(
    "changes", [{"by": " "}, {"why": ""}, {"days": 0}, {"days": waivers.MOST_DAYS + 1}, {"candidate": "f" * 64}]
)
def test_a_waiver_without_person_reason_term_or_candidate_is_refused(
    ledger: Database, changes: dict[str, object]
) -> None:
    with pytest.raises(UsageError):
        give(ledger, **changes)
    assert standing(ledger, "m", CANDIDATE, at=AT) == []
