from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ml.core.errors import UsageError
from ml.ledger import incidents, outbox
from ml.ledger.database import Database, Store
from ml.ledger.incidents import Incident

AT = datetime(2026, 1, 6, tzinfo=UTC)
DAY = date(2026, 1, 5)
HOUR = timedelta(hours=1)


def drift(
    store: Store,
    *,
    day: date = DAY,
    severity: Any = "warning",
    at: datetime = AT,
    cause: str = "drift",
    market: str = "m",
) -> tuple[Incident, bool]:
    return incidents.raise_incident(
        store, market, cause, day=day, severity=severity, title=f"drift on {day}", details={"top": ["price"]}, at=at
    )


def mail(store: Store, incident: Incident) -> bool:
    key = f"incident/{incident.id}/opened"
    return outbox.put(store, key=key, to="t@localhost", subject="s", text="t", html="h", incident_id=incident.id, at=AT)


def test_the_first_report_of_a_cause_opens_an_incident(db: Database) -> None:
    incident, opened = drift(db)
    assert opened
    assert incident.is_open
    assert (incident.market, incident.cause, incident.severity, incident.title) == (
        "m",
        "drift",
        "warning",
        f"drift on {DAY}",
    )
    assert (incident.first_day, incident.last_day, incident.opened_at, incident.updated_at) == (DAY, DAY, AT, AT)
    assert incident.details == {"top": ["price"]}
    assert incidents.open_incidents(db, "m") == [incident]


def test_a_later_report_updates_the_open_incident_and_opens_no_second(db: Database) -> None:
    first, _ = drift(db)
    later, opened = drift(db, day=DAY + timedelta(days=2), severity="critical", at=AT + HOUR)
    assert not opened
    assert later.id == first.id
    assert (later.first_day, later.last_day) == (DAY, DAY + timedelta(days=2))
    assert (later.severity, later.title) == ("critical", "drift on 2026-01-07")
    assert (later.opened_at, later.updated_at) == (AT, AT + HOUR)
    assert incidents.all_incidents(db, "m", 10) == [later]


def test_a_report_of_an_earlier_day_widens_the_incident_to_it(db: Database) -> None:
    drift(db)
    earlier, _ = drift(db, day=DAY - timedelta(days=1))
    assert (earlier.first_day, earlier.last_day) == (DAY - timedelta(days=1), DAY)


def test_each_market_and_cause_has_its_own_incident(db: Database) -> None:
    opened = [drift(db)[1], drift(db, cause="completeness")[1], drift(db, market="other")[1]]
    assert opened == [True, True, True]
    assert [incident.cause for incident in incidents.open_incidents(db, "m")] == ["completeness", "drift"]


def test_a_resolved_incident_says_when_and_why(db: Database) -> None:
    first, _ = drift(db)
    closed = incidents.resolve(db, "m", "drift", day=DAY + timedelta(days=1), at=AT + HOUR, reason="retrained")
    assert closed is not None
    assert not closed.is_open
    assert (closed.id, closed.resolved_day, closed.resolved_at, closed.resolution) == (
        first.id,
        DAY + timedelta(days=1),
        AT + HOUR,
        "retrained",
    )
    assert incidents.open_incidents(db, "m") == []


def test_a_cause_that_returns_within_a_week_reopens_its_incident_for_everybody_to_look_again(db: Database) -> None:
    first, _ = drift(db)
    incidents.acknowledge(db, "m", first.id, by="anna", at=AT)
    incidents.resolve(db, "m", "drift", day=DAY + timedelta(days=1), at=AT + HOUR, reason="retrained")
    returned = AT + timedelta(days=7) + HOUR
    again, opened = drift(db, day=DAY + timedelta(days=8), at=returned)
    assert opened
    assert (again.id, again.opened_at, again.first_day) == (first.id, AT, DAY)
    assert (again.reopened, again.last_reopened_at, again.open_since) == (1, returned, returned)
    assert (again.resolved_at, again.resolved_day, again.resolution) == (None, None, "")
    assert (again.acknowledged_at, again.acknowledged_by, again.alarmed_at) == (None, "", returned)
    assert incidents.all_incidents(db, "m", 10) == [again]
    kinds = [note.kind for note in incidents.notes(db, "m", first.id)]
    assert kinds == ["opened", "acknowledged", "resolved", "reopened"]


@pytest.mark.parametrize(("days", "hours"), [(9, 0), (1, 24 * 7 + 2)], ids=["by market days", "by the clock"])
def test_a_cause_that_returns_after_more_than_a_week_opens_a_new_incident(db: Database, days: int, hours: int) -> None:
    first, _ = drift(db)
    closed = incidents.resolve(db, "m", "drift", day=DAY + timedelta(days=1), at=AT + HOUR, reason="retrained")
    second, opened = drift(db, day=DAY + timedelta(days=days), at=AT + timedelta(hours=hours))
    assert opened
    assert second.id != first.id
    assert second.reopened == 0
    assert incidents.all_incidents(db, "m", 10) == [second, closed]
    assert incidents.all_incidents(db, "m", 1) == [second]


def test_the_days_between_a_resolution_and_a_reopening_did_not_stand_under_the_incident(db: Database) -> None:
    drift(db)
    incidents.resolve(db, "m", "drift", day=DAY + timedelta(days=2), at=AT, reason="over")
    drift(db, day=DAY + timedelta(days=4))
    stood = [bool(incidents.open_on(db, "m", DAY + timedelta(days=n))) for n in range(-1, 7)]
    assert stood == [False, True, True, False, False, True, True, True]


def test_resolving_what_is_not_open_is_harmless(db: Database) -> None:
    assert incidents.resolve(db, "m", "drift", day=DAY, at=AT, reason="nothing") is None
    drift(db)
    assert incidents.resolve(db, "m", "drift", day=DAY, at=AT, reason="first") is not None
    assert incidents.resolve(db, "m", "drift", day=DAY, at=AT + HOUR, reason="second") is None
    assert [incident.resolution for incident in incidents.all_incidents(db, "m", 10)] == ["first"]


def test_an_unknown_severity_is_a_usage_error_and_opens_nothing(db: Database) -> None:
    with pytest.raises(UsageError, match="'loud' is no severity"):
        drift(db, severity="loud")
    assert incidents.all_incidents(db, "m", 10) == []


def test_of_reports_that_race_one_opens_the_incident_and_one_mail_waits(
    db: Database, together: Callable[[Callable[[int], bool], int], list[bool]]
) -> None:
    def report(_: int) -> bool:
        with db.session() as session:
            incident, opened = drift(session)
            mail(session, incident)
            return opened

    assert sorted(together(report, 6)) == [False] * 5 + [True]
    assert len(incidents.all_incidents(db, "m", 10)) == len(outbox.pending(db)) == 1


def test_an_incident_and_its_mail_are_written_together_or_not_at_all(db: Database) -> None:
    with pytest.raises(RuntimeError, match="died"), db.session() as session:
        incident, _ = drift(session)
        assert mail(session, incident)
        assert len(outbox.pending(session)) == 1
        raise RuntimeError("the task died between the mail and the commit")
    assert incidents.all_incidents(db, "m", 10) == []
    assert outbox.pending(db) == []
    with db.session() as session:
        incident, opened = drift(session)
        assert opened
        assert mail(session, incident)
    assert [waiting.incident_id for waiting in outbox.pending(db)] == [incident.id]
    with db.session() as session:  # the retried task
        again, opened = drift(session)
        assert not opened
        assert not mail(session, again)
    assert len(outbox.pending(db)) == 1
