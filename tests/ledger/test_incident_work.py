from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ml.core.errors import NoData, UsageError
from ml.ledger import incidents
from ml.ledger.database import Database
from ml.ledger.incidents import Incident, Note

AT = datetime(2026, 1, 6, tzinfo=UTC)
DAY = date(2026, 1, 5)
HOUR = timedelta(hours=1)


def report(db: Database, cause: str = "drift", severity: Any = "warning", **more: Any) -> Incident:
    given = {"day": DAY, "title": "moved", "details": {}, "at": AT, **more}
    return incidents.raise_incident(db, "m", cause, severity=severity, **given)[0]


def test_who_acknowledges_first_has_it_and_others_are_noted(db: Database) -> None:
    number = report(db).id
    taken = incidents.acknowledge(db, "m", number, by="anna", at=AT + HOUR, note="on it")
    assert (taken.acknowledged_at, taken.acknowledged_by, taken.updated_at) == (AT + HOUR, "anna", AT + HOUR)
    assert incidents.acknowledge(db, "m", number, by="anna", at=AT + 2 * HOUR) == taken
    later = incidents.acknowledge(db, "m", number, by="ben", at=AT + 3 * HOUR)
    assert (later.acknowledged_at, later.acknowledged_by) == (AT + HOUR, "anna")
    assert incidents.notes(db, "m", number)[1:] == [
        Note("acknowledged", "anna", AT + HOUR, "on it"),
        Note("acknowledged", "ben", AT + 3 * HOUR, ""),
    ]


def test_a_snooze_has_an_end_ahead_and_within_a_month(db: Database) -> None:
    number = report(db).id
    quiet = incidents.snooze(db, "m", number, until=AT + HOUR, by="anna", at=AT, why="known outage")
    assert quiet.snoozed_until == AT + HOUR
    assert quiet.sleeps(AT)
    assert not quiet.sleeps(AT + HOUR)
    for until in (AT, AT - HOUR, AT + timedelta(days=31)):
        with pytest.raises(UsageError, match="a snooze must end later than now and within 30 days"):
            incidents.snooze(db, "m", number, until=until, by="anna", at=AT, why="")
    assert incidents.get(db, "m", number) == quiet
    assert incidents.notes(db, "m", number)[-1].text == "until 2026-01-06T01:00+00:00: known outage"


def test_a_snooze_ends_once_and_alarms_anew(db: Database) -> None:
    number = report(db).id
    incidents.snooze(db, "m", number, until=AT + HOUR, by="anna", at=AT, why="")
    assert [i.id for i in incidents.snoozed(db, "m")] == [number]
    woken = incidents.wake(db, "m", number, by="bidwright", at=AT + HOUR, why="its end")
    assert woken is not None
    assert (woken.snoozed_until, woken.alarmed_at) == (None, AT + HOUR)
    assert incidents.wake(db, "m", number, by="bidwright", at=AT + HOUR, why="its end") is None
    assert incidents.snoozed(db, "m") == []


def test_a_resolved_incident_is_neither_acknowledged_nor_snoozed_but_can_be_commented(db: Database) -> None:
    number = report(db).id
    incidents.resolve(db, "m", "drift", day=DAY, at=AT, reason="over", by="anna")
    with pytest.raises(UsageError, match=r"is resolved since .* it cannot be acknowledged"):
        incidents.acknowledge(db, "m", number, by="ben", at=AT)
    with pytest.raises(UsageError, match="it cannot be snoozed"):
        incidents.snooze(db, "m", number, until=AT + HOUR, by="ben", at=AT, why="")
    incidents.comment(db, "m", number, by="ben", at=AT, text="it was the feed")
    assert [(n.kind, n.by) for n in incidents.notes(db, "m", number)[1:]] == [("resolved", "anna"), ("comment", "ben")]


def test_what_is_written_comes_back_as_it_was_whatever_it_contains(db: Database) -> None:
    number = report(db, title="<b>\x00").id
    text = "<script>alert(1)</script> ' \" ; DROP TABLE incidents; -- \u20ac \U0001f600\nsecond line"
    incidents.comment(db, "m", number, by="o'hara <o@x>", at=AT, text=text)
    assert incidents.notes(db, "m", number)[-1] == Note("comment", "o'hara <o@x>", AT, text)
    broken = incidents.comment(db, "m", number, by="x", at=AT, text="a\x00b\ud800c")
    assert broken.text == "a\ufffdb?c"
    assert incidents.notes(db, "m", number)[-1] == broken


def test_a_comment_of_two_megabytes_is_refused_and_nothing_is_lost(db: Database) -> None:
    number = report(db).id
    incidents.comment(db, "m", number, by="anna", at=AT, text="x" * 10_000)
    before = incidents.get(db, "m", number), incidents.notes(db, "m", number)
    refused = "has 2,000,000 characters; nothing was written; shorten it to 10,000"
    with pytest.raises(UsageError, match=f"the comment {refused}"):
        incidents.comment(db, "m", number, by="anna", at=AT, text="x" * 2_000_000)
    with pytest.raises(UsageError, match=f"the note {refused}"):
        incidents.acknowledge(db, "m", number, by="anna", at=AT, note="x" * 2_000_000)
    with pytest.raises(UsageError, match=f"the reason {refused}"):
        incidents.snooze(db, "m", number, until=AT + HOUR, by="anna", at=AT, why="x" * 2_000_000)
    with pytest.raises(UsageError, match="a comment without words is none"):
        incidents.comment(db, "m", number, by="anna", at=AT, text=" \n ")
    with pytest.raises(UsageError, match="a name has 2,000,000 characters"):
        incidents.assign(db, "m", number, owner="x" * 2_000_000, by="anna", at=AT)
    with pytest.raises(UsageError, match="a name is missing"):
        incidents.comment(db, "m", number, by=" ", at=AT, text="hello")
    assert (incidents.get(db, "m", number), incidents.notes(db, "m", number)) == before


@pytest.mark.parametrize("number", [0, -1, 99, 2**31, 2**70])
def test_a_number_that_there_is_not_is_a_clear_error_of_every_function(db: Database, number: int) -> None:
    report(db)
    tries: list[Callable[[], object]] = [
        lambda: incidents.get(db, "m", number),
        lambda: incidents.notes(db, "m", number),
        lambda: incidents.acknowledge(db, "m", number, by="a", at=AT),
        lambda: incidents.snooze(db, "m", number, until=AT + HOUR, by="a", at=AT, why=""),
        lambda: incidents.comment(db, "m", number, by="a", at=AT, text="t"),
        lambda: incidents.assign(db, "m", number, owner="o", by="a", at=AT),
        lambda: incidents.wake(db, "m", number, by="a", at=AT, why=""),
        lambda: incidents.escalated(db, "m", number, by="a", at=AT, text=""),
    ]
    for attempt in tries:
        with pytest.raises(NoData, match=f"there is no incident {number} in m; nothing was changed; list them with"):
            attempt()


def test_the_number_of_another_market_is_unknown(db: Database) -> None:
    number = report(db).id
    with pytest.raises(NoData, match=f"there is no incident {number} in other"):
        incidents.get(db, "other", number)


def test_an_incident_is_handed_over_once(db: Database) -> None:
    number = report(db, owner="market").id
    assert report(db, owner="nobody").owner == "market"
    assert incidents.assign(db, "m", number, owner="anna", by="ben", at=AT).owner == "anna"
    incidents.assign(db, "m", number, owner="anna", by="ben", at=AT)
    assert [note.text for note in incidents.notes(db, "m", number) if note.kind == "assigned"] == ["anna"]


def test_money_at_stake_is_kept_until_it_is_measured_again(db: Database) -> None:
    assert report(db).at_stake_micros is None
    assert report(db, at_stake_micros=5_000_000_000_000).at_stake_micros == 5_000_000_000_000
    assert report(db).at_stake_micros == 5_000_000_000_000
    assert report(db, at_stake_micros=0).at_stake_micros == 0


def test_a_rise_of_severity_alarms_anew_and_a_fall_does_not(db: Database) -> None:
    report(db)
    worse = report(db, severity="critical", at=AT + HOUR)
    assert worse.alarmed_at == AT + HOUR
    done = incidents.escalated(db, "m", worse.id, by="bidwright", at=AT + 2 * HOUR, text="to lead@x")
    assert done is not None
    assert incidents.escalated(db, "m", worse.id, by="bidwright", at=AT + 3 * HOUR, text="to lead@x") is None
    better = report(db, at=AT + 4 * HOUR)
    assert (better.alarmed_at, better.escalated_at) == (AT + HOUR, AT + 2 * HOUR)
    again = report(db, severity="critical", at=AT + 5 * HOUR)
    assert (again.alarmed_at, again.escalated_at) == (AT + 5 * HOUR, None)


def test_incidents_are_found_by_state_and_severity_newest_first(db: Database) -> None:
    taken, quiet, grave, over = (report(db, cause).id for cause in ("a", "b", "c", "d"))
    incidents.acknowledge(db, "m", taken, by="anna", at=AT)
    incidents.snooze(db, "m", quiet, until=AT + HOUR, by="anna", at=AT, why="")
    report(db, "c", "critical")
    incidents.resolve(db, "m", "d", day=DAY, at=AT, reason="over")

    def found(**by: Any) -> list[int]:
        return [incident.id for incident in incidents.find(db, "m", **by)]

    assert found() == found(state="all") == [over, grave, quiet, taken]
    assert found(state="open") == [grave, quiet, taken]
    assert found(state="acknowledged") == [taken]
    assert found(state="snoozed") == [quiet]
    assert found(state="resolved") == [over]
    assert found(severity="critical") == [grave]
    assert found(state="open", limit=1) == [grave]
    for wrong in ({"state": "loud"}, {"severity": "loud"}, {"limit": 0}):
        with pytest.raises(UsageError):
            found(**wrong)


def test_of_people_who_acknowledge_at_the_same_time_one_has_it_and_all_are_noted(
    db: Database, together: Callable[[Callable[[int], str], int], list[str]]
) -> None:
    number = report(db).id
    answers = together(lambda me: incidents.acknowledge(db, "m", number, by=f"person {me}", at=AT).acknowledged_by, 6)
    assert len(set(answers)) == 1
    noted = [note.by for note in incidents.notes(db, "m", number) if note.kind == "acknowledged"]
    assert sorted(noted) == [f"person {me}" for me in range(6)]
