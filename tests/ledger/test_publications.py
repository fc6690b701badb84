from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from ml.core.digests import digest_bytes
from ml.core.errors import StaleGeneration
from ml.ledger import publications
from ml.ledger.database import Database
from ml.ledger.publications import Publication

AT = datetime(2026, 1, 6, tzinfo=UTC)
DAY = date(2026, 1, 5)
FIRST = Publication("m", "google", DAY, digest_bytes(b"one"), 1, 4200, digest_bytes(b"file"), "bids/google.parquet")


def test_a_publication_comes_back_whole(db: Database) -> None:
    publications.record(db, FIRST, AT)
    assert publications.get(db, "m", "google", DAY) == replace(FIRST, published_at=AT)
    assert publications.get(db, "m", "google", DAY + timedelta(days=1)) is None


def test_publishing_a_day_again_leaves_one_publication_the_last(db: Database) -> None:
    publications.record(db, FIRST, AT)
    again = replace(FIRST, version=digest_bytes(b"two"), generation=2, rows=4300, digest=digest_bytes(b"new"))
    publications.record(db, again, AT + timedelta(hours=1))
    assert publications.for_day(db, "m", DAY) == [replace(again, published_at=AT + timedelta(hours=1))]


def test_bids_of_an_older_champion_never_replace_those_of_a_newer_one(db: Database) -> None:
    """A task that hung since before a promotion wakes up and tries to publish."""
    newer = replace(FIRST, version=digest_bytes(b"two"), generation=2)
    publications.record(db, newer, AT)
    with pytest.raises(StaleGeneration, match=r"newer champion than generation 1 .* google on 2026-01-05; they stay"):
        publications.record(db, FIRST, AT)
    publications.record(db, replace(newer, rows=1), AT)  # the same generation may restate itself
    stands = publications.get(db, "m", "google", DAY)
    assert stands is not None
    assert (stands.generation, stands.rows) == (2, 1)


def test_the_latest_publication_before_a_day_is_that_of_an_earlier_day_of_the_same_partner(db: Database) -> None:
    assert publications.latest(db, "m", "google", DAY) is None
    for days, partner, market in ((0, "google", "m"), (2, "google", "m"), (3, "trivago", "m"), (3, "google", "other")):
        publications.record(db, replace(FIRST, day=DAY + timedelta(days=days), partner=partner, market=market), AT)
    assert publications.latest(db, "m", "google", DAY) is None

    def latest(days: int) -> date | None:
        found = publications.latest(db, "m", "google", DAY + timedelta(days=days))
        return None if found is None else found.day

    assert latest(2) == DAY
    assert latest(9) == DAY + timedelta(days=2)


def test_the_publications_of_a_day_are_listed_by_partner(db: Database) -> None:
    for partner in ("trivago", "google"):
        publications.record(db, replace(FIRST, partner=partner), AT)
    assert [publication.partner for publication in publications.for_day(db, "m", DAY)] == ["google", "trivago"]
