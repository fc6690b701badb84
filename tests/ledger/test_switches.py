"""One switch stands for a scope, a retry changes nothing, and every end has a name and a reason."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from ml.core.digests import digest_bytes
from ml.core.errors import UsageError
from ml.ledger import incidents, publications, schema, switches
from ml.ledger.database import Database, Store
from ml.ledger.publications import Publication
from ml.ledger.switches import Scope, Switch

AT = datetime(2026, 1, 6, tzinfo=UTC)
DAY = date(2026, 1, 5)
HOUR = timedelta(hours=1)
GOOGLE = Scope("google")


def pull(
    store: Store, level: int = 3, *, scope: Scope = GOOGLE, why: str = "too high", by: str = "anna", at: datetime = AT
) -> tuple[Switch, bool]:
    return switches.pull(store, "m", scope, level=level, day=DAY, why=why, by=by, at=at)


def test_a_switch_comes_back_whole(db: Database) -> None:
    switch, new = pull(db)
    assert new
    assert switch.is_active
    assert (switch.market, switch.scope, switch.level, switch.day) == ("m", GOOGLE, 3, DAY)
    assert (switch.why, switch.set_by, switch.set_at) == ("too high", "anna", AT)
    assert switches.active(db, "m") == [switch]
    assert switches.active(db, "other") == []


def test_the_same_pull_again_changes_nothing(db: Database) -> None:
    first, _ = pull(db)
    again, new = pull(db, why="another reason", by="ben", at=AT + HOUR)
    assert not new
    assert again == first
    assert switches.history(db, "m", 10) == [first]


def test_another_level_takes_the_place_of_the_former_which_says_so(db: Database) -> None:
    frozen, _ = pull(db, 0)
    paused, new = pull(db, 3, why="worse", by="ben", at=AT + HOUR)
    assert new
    assert switches.active(db, "m") == [paused]
    former = switches.history(db, "m", 10)[1]
    assert (former.id, former.released_at, former.released_by) == (frozen.id, AT + HOUR, "ben")
    assert former.released_why == "replaced by level 3: worse"


def test_each_scope_has_its_own_switch(db: Database) -> None:
    scopes = [Scope(), GOOGLE, Scope("google", "DE"), Scope("", "DE")]
    assert [pull(db, scope=scope)[1] for scope in scopes] == [True] * 4
    assert [one.scope for one in switches.active(db, "m")] == scopes
    assert [str(scope) for scope in scopes] == ["everywhere", "at google", "at google in DE", "in DE"]


def test_a_release_ends_the_switch_of_exactly_its_scope_and_a_second_finds_none(db: Database) -> None:
    pull(db)
    assert switches.release(db, "m", Scope(), why="mended", by="ben", at=AT + HOUR) is None
    gone = switches.release(db, "m", GOOGLE, why="mended", by="ben", at=AT + HOUR)
    assert gone is not None
    assert (gone.released_at, gone.released_by, gone.released_why) == (AT + HOUR, "ben", "mended")
    assert switches.release(db, "m", GOOGLE, why="mended", by="ben", at=AT + HOUR) is None
    assert switches.active(db, "m") == []
    assert pull(db)[1], "after its release a switch can be pulled anew"


@pytest.mark.parametrize(("why", "by"), [("", "anna"), ("too high", "  ")])
def test_nobody_pulls_or_releases_a_switch_without_a_name_and_a_reason(db: Database, why: str, by: str) -> None:
    with pytest.raises(UsageError, match="who and why; nothing was changed"):
        pull(db, why=why, by=by)
    with pytest.raises(UsageError, match="who and why"):
        switches.release(db, "m", GOOGLE, why=why, by=by, at=AT)
    assert switches.history(db, "m", 10) == []


def test_of_pulls_that_race_one_sets_the_switch(
    db: Database, together: Callable[[Callable[[int], bool], int], list[bool]]
) -> None:
    assert sorted(together(lambda me: pull(db, by=f"racer {me}")[1], 6)) == [False] * 5 + [True]
    assert len(switches.history(db, "m", 10)) == 1


def test_the_database_itself_refuses_a_second_switch_of_a_scope_and_a_level_that_does_not_exist(db: Database) -> None:
    row = (
        "INSERT INTO switches (market, partner, point_of_sale, level, day, why, set_by, set_at, released_by,"
        " released_why) VALUES ('m', 'google', '', :level, '2026-01-05', 'w', 'b', '2026-01-05', '', '')"
    )
    with db.session() as session:
        session.execute(text(row), {"level": 3})
    for level in (2, 4):
        with pytest.raises(IntegrityError), db.session() as session:
            session.execute(text(row), {"level": level})


def test_a_publication_says_which_switches_shaped_it_and_one_that_is_restated_without_them_does_not(
    db: Database,
) -> None:
    bids = Publication("m", "google", DAY, digest_bytes(b"v"), 1, 2, digest_bytes(b"f"), "u", switches=(4, 7))
    publications.record(db, bids, AT)
    assert publications.for_day(db, "m", DAY)[0].switches == (4, 7)
    publications.record(db, Publication("m", "google", DAY, bids.version, 1, 2, bids.digest, "u"), AT)
    assert publications.for_day(db, "m", DAY)[0].switches == ()


def test_the_publications_of_a_partner_are_listed_newest_first_up_to_a_day(db: Database) -> None:
    for days, partner in ((0, "google"), (2, "google"), (1, "google"), (1, "trivago"), (3, "google")):
        day = DAY + timedelta(days=days)
        publications.record(
            db, Publication("m", partner, day, digest_bytes(b"v"), 1, 2, digest_bytes(b"f"), "u"), AT
        )  # fmt: skip
    found = publications.history(db, "m", "google", last=DAY + timedelta(days=2))
    assert [one.day for one in found] == [DAY + timedelta(days=days) for days in (2, 1, 0)]


def test_an_incident_stood_open_from_its_first_day_until_the_day_that_resolved_it(db: Database) -> None:
    incidents.raise_incident(db, "m", "drift", day=DAY, severity="critical", title="t", details={}, at=AT)
    incidents.resolve(db, "m", "drift", day=DAY + timedelta(days=2), at=AT, reason="over")
    incidents.raise_incident(
        db, "m", "check", day=DAY + timedelta(days=2), severity="warning", title="t", details={}, at=AT
    )
    found = [[one.cause for one in incidents.open_on(db, "m", DAY + timedelta(days=n))] for n in (-1, 0, 1, 2, 9)]
    assert found == [[], ["drift"], ["drift"], ["check"], ["check"]]


def test_publications_of_before_the_migration_are_kept_as_those_of_no_switch(empty: Database) -> None:
    empty.migrate()
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    with empty.session() as session:
        config.attributes["connection"] = session.connection()
        command.downgrade(config, "0001")
    with empty.session() as session:
        session.execute(
            text(
                "INSERT INTO publications (market, partner, day, version, generation, bid_rows, digest, uri, published_at)"
                " VALUES ('m', 'google', '2026-01-05', 'v', 1, 2, 'd', 'u', '2026-01-06 00:00:00')"
            )
        )
    empty.migrate()
    assert [one.switches for one in publications.for_day(empty, "m", DAY)] == [()]
