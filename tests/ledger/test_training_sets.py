from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from sqlalchemy.exc import IntegrityError

from ml.core.digests import Digest, digest_bytes
from ml.ledger import training_sets, versions
from ml.ledger.database import Database
from ml.ledger.training_sets import Entry
from ml.ledger.versions import Version

AT = datetime(2026, 1, 6, tzinfo=UTC)
DIGEST = digest_bytes(b"bundle")
VERSION = Version(DIGEST, "m", date(2026, 1, 5), "bundles/x", digest_bytes(b"data"), date(2026, 1, 5), {}, "")
VALUE = Entry(model="value", digest=digest_bytes(b"rows"), rows=12, as_of=AT, query="SELECT 'a' AS \"ü\"")


def test_the_training_sets_of_a_version_come_back_whole(db: Database) -> None:
    versions.register(db, VERSION, AT)
    click = replace(VALUE, model="click", rows=0)
    training_sets.record(db, "m", DIGEST, [VALUE, click])
    assert training_sets.of_version(db, "m", DIGEST) == [click, VALUE]
    assert training_sets.of_version(db, "other", DIGEST) == []


def test_recording_again_keeps_what_was_recorded_first(db: Database) -> None:
    versions.register(db, VERSION, AT)
    training_sets.record(db, "m", DIGEST, [VALUE])
    training_sets.record(db, "m", DIGEST, [replace(VALUE, query="another")])
    assert training_sets.of_version(db, "m", DIGEST) == [VALUE]


def test_a_version_and_its_training_sets_are_there_together_or_not_at_all(db: Database) -> None:
    with pytest.raises(IntegrityError), db.session() as session:
        versions.register(session, VERSION, AT)
        training_sets.record(session, "m", Digest("f" * 64), [VALUE])
    assert versions.get(db, "m", DIGEST) is None
