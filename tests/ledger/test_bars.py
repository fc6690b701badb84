from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ml.core.digests import Digest
from ml.core.errors import UsageError
from ml.ledger import bars
from ml.ledger.database import Database

AT = datetime(2026, 3, 2, tzinfo=UTC)
BAD, OTHER = Digest("b" * 64), Digest("c" * 64)


def test_a_bar_stands_with_its_first_reason_until_a_person_lifts_it(db: Database) -> None:
    first = bars.bar(db, "m", BAD, "errors", "the judge", AT)
    assert bars.bar(db, "m", BAD, "again", "anna", AT) == first
    assert bars.barred(db, "m", BAD) == first
    assert bars.barred(db, "m", OTHER) is bars.barred(db, "other", BAD) is None
    lifted = bars.lift(db, "m", BAD, why="the feed was wrong", by="anna", at=AT)
    assert lifted is not None
    assert (lifted.lifted_by, lifted.lifted_why) == ("anna", "the feed was wrong")
    assert bars.barred(db, "m", BAD) is None
    assert bars.lift(db, "m", BAD, why="x", by="anna", at=AT) is None
    assert bars.bar(db, "m", BAD, "again", "anna", AT).id != first.id
    assert [one.reason for one in bars.history(db, "m", 9)] == ["again", "errors"]


def test_a_freeze_bars_everything_and_says_so(db: Database) -> None:
    bars.bar(db, "m", bars.EVERYTHING, "three rollbacks", "the judge", AT)
    found = bars.barred(db, "m", OTHER)
    assert found is not None
    assert found.is_freeze
    assert bars.frozen(db, "other") is None
    bars.refuse_barred(db, "m", OTHER)  # a freeze keeps nobody from being judged


@pytest.mark.parametrize(("by", "why"), [("", "x"), ("anna", "  ")])
def test_a_bar_needs_to_know_who_and_why(by: str, why: str, db: Database) -> None:
    with pytest.raises(UsageError, match="who and why"):
        bars.bar(db, "m", BAD, why, by, AT)
    with pytest.raises(UsageError, match="who and why"):
        bars.lift(db, "m", BAD, why=why, by=by, at=AT)
