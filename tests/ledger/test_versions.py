from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from ml.core.digests import Digest, digest_bytes
from ml.core.errors import UsageError
from ml.ledger import versions
from ml.ledger.database import Database
from ml.ledger.versions import Version

AT = datetime(2026, 1, 6, tzinfo=UTC)
DAY = date(2026, 1, 5)
VERSION = Version(
    digest=Digest("abcd" + "0" * 60),
    market="m",
    day=DAY,
    uri="bundles/abcd",
    data_digest=digest_bytes(b"data"),
    trained_through=DAY,
    metrics={"value": {"auc": 0.81, "rows": 12_000}},
    mlflow_run_id="run",
)


def test_a_registered_version_comes_back_whole(db: Database) -> None:
    stands = versions.register(db, VERSION, AT)
    assert stands == replace(VERSION, registered_at=AT)
    assert versions.get(db, "m", VERSION.digest) == stands
    assert versions.get(db, "other", VERSION.digest) is None


def test_registering_again_keeps_the_first_registration(db: Database) -> None:
    first = versions.register(db, VERSION, AT)
    again = versions.register(db, replace(VERSION, metrics={}, day=DAY + timedelta(days=1)), AT + timedelta(days=1))
    assert again == first
    assert versions.newest(db, "m", 10) == [first]


def test_the_same_bundle_may_be_registered_in_two_markets(db: Database) -> None:
    versions.register(db, VERSION, AT)
    versions.register(db, replace(VERSION, market="other"), AT)
    assert [found.market for found in versions.newest(db, "other", 10)] == ["other"]


def test_newest_gives_the_last_registered_first_and_no_more_than_asked(db: Database) -> None:
    digests = [digest_bytes(bytes([n])) for n in range(4)]
    for digest in digests:
        versions.register(db, replace(VERSION, digest=digest), AT)
    assert [version.digest for version in versions.newest(db, "m", 3)] == digests[:0:-1]


def test_a_version_is_found_by_the_first_digits_of_its_digest(db: Database) -> None:
    stands = versions.register(db, VERSION, AT)
    assert versions.find(db, "m", "abcd") == versions.find(db, "m", VERSION.digest) == stands


@pytest.mark.parametrize("prefix", ["", "abc", "ABCD", "ab%d", "____", "abcd/..", "a" * 65])
def test_text_that_is_no_prefix_of_a_digest_is_a_usage_error(db: Database, prefix: str) -> None:
    versions.register(db, VERSION, AT)
    with pytest.raises(UsageError, match="is no version"):
        versions.find(db, "m", prefix)


def test_a_prefix_of_no_version_or_of_several_is_a_usage_error_that_says_so(db: Database) -> None:
    versions.register(db, VERSION, AT)
    versions.register(db, replace(VERSION, digest=Digest("abcd" + "1" * 60)), AT)
    with pytest.raises(UsageError, match="no version of m begins with ffff"):
        versions.find(db, "m", "ffff")
    with pytest.raises(UsageError, match=r"several versions .* abcd11111111, abcd00000000; give more digits"):
        versions.find(db, "m", "abcd")
    assert versions.find(db, "m", "abcd1").digest == "abcd" + "1" * 60
