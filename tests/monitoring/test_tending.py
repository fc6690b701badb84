"""Who hears of an incident as time goes by: routes, quiet hours, snoozes, escalation. One message per event and reader."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ml.core.alerting import Route
from ml.core.settings import Settings
from ml.ledger import incidents, outbox
from ml.ledger.database import Database
from ml.ledger.outbox import Mail
from monitoring.alerts import raise_alert, resolve_alerts
from monitoring.escalation import end_snoozes, escalate
from monitoring.mail.thread import root_message_id

DAY = date(2026, 5, 20)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


class Desk:
    """One market with a clock that a test moves."""

    def __init__(self, db: Database, settings: Settings, at: datetime) -> None:
        self.db, self.settings, self.at = db, settings, at

    def set(self, **changes: Any) -> Desk:
        self.settings = self.settings.model_copy(update=changes)
        return self

    def after(self, span: timedelta) -> Desk:
        self.at += span
        return self

    def report(
        self, severity: Any = "warning", *, cause: str = "drift", market: str = "hotels", day: date = DAY
    ) -> Any:
        return raise_alert(
            self.db, self.settings, market=market, cause=cause, day=day, severity=severity, title="rate moved",
            reasons=["rate moved"], at=self.at,
        )  # fmt: skip

    def end(self, cause: str = "drift") -> Any:
        return resolve_alerts(
            self.db, self.settings, market="hotels", causes=[cause], day=DAY, reason="over", at=self.at
        )

    def tend(self) -> tuple[list[int], list[int]]:
        woken = end_snoozes(self.db, self.settings, market="hotels", at=self.at)
        told = escalate(self.db, self.settings, market="hotels", at=self.at)
        return [i.id for i in woken], [i.id for i in told]

    def snooze(self, number: int, span: timedelta) -> None:
        incidents.snooze(self.db, "hotels", number, until=self.at + span, by="anna", at=self.at, why="known")

    @property
    def mails(self) -> list[Mail]:
        return outbox.pending(self.db)

    @property
    def tags(self) -> list[str]:
        return [mail.subject.split("]")[0][1:] for mail in self.mails]


@pytest.fixture
def desk(db: Database, settings: Settings, at: datetime) -> Desk:
    return Desk(db, settings, at)


# --- routes ---------------------------------------------------------------------------------------------------------


def test_the_first_route_that_fits_counts_and_without_one_it_is_everybody(desk: Desk) -> None:
    desk.set(
        routes=(
            Route(markets=("other",), mail=("other@example.com",)),
            Route(causes=("ingest",), mail=("feeds@example.com",), owner="feeds"),
            Route(causes=("kill-switch",)),
            Route(severities=("critical",), mail=("lead@example.com", "team@example.com")),
        )
    )
    assert desk.report(cause="ingest:schema").incident.owner == "feeds"
    assert desk.report("critical", cause="kill-switch:google").mails == 0
    desk.report("critical", cause="parity")
    desk.report("info", cause="drift:rivals")
    assert [(mail.to, mail.subject.split(" in ")[0].split("] ")[1]) for mail in desk.mails] == [
        ("feeds@example.com", "Delivery changed its form"),
        ("lead@example.com", "Served features differ"),
        ("team@example.com", "Served features differ"),
        ("team@example.com", "Drift: rivals"),
    ]


def test_the_end_is_told_to_everybody_who_heard_of_it(desk: Desk) -> None:
    desk.set(routes=(Route(severities=("critical",), mail=("lead@example.com",)),))
    desk.report("warning")
    desk.report("critical")
    desk.end()
    assert [(mail.to, tag) for mail, tag in zip(desk.mails, desk.tags, strict=True)] == [
        ("team@example.com", "warning"),
        ("lead@example.com", "critical"),
        ("team@example.com", "resolved"),
        ("lead@example.com", "resolved"),
    ]


# --- quiet hours ----------------------------------------------------------------------------------------------------


def night(desk: Desk) -> Desk:
    desk.at = datetime(2026, 5, 20, 23, 30, tzinfo=UTC)
    return desk.set(quiet_hours="22:00-07:00", time_zone="Europe/Berlin")


def test_in_quiet_hours_a_warning_waits_for_their_end_and_critical_goes_at_once(desk: Desk) -> None:
    night(desk).report("warning", cause="calibration")
    desk.report("critical", cause="parity")
    assert [(mail.next_at, tag) for mail, tag in zip(desk.mails, desk.tags, strict=True)] == [
        (datetime(2026, 5, 21, 5, 0, tzinfo=UTC), "warning"),
        (desk.at, "critical"),
    ]
    [[held]] = outbox.deliveries(desk.db, [1], desk.at).values()
    assert (held.state, held.at) == ("held", datetime(2026, 5, 21, 5, 0, tzinfo=UTC))


def test_what_becomes_critical_at_night_takes_what_waited_of_its_conversation_along(desk: Desk) -> None:
    night(desk).report("warning")
    desk.after(MINUTE).report("critical")
    assert [mail.key for mail in outbox.due(desk.db, desk.at)] == [mail.key for mail in desk.mails]
    assert desk.tags == ["warning", "critical"]


def test_by_day_nothing_waits(desk: Desk) -> None:
    night(desk).at = datetime(2026, 5, 20, 12, 0, tzinfo=UTC)
    desk.report("info")
    assert [mail.next_at for mail in desk.mails] == [desk.at]


# --- snooze ---------------------------------------------------------------------------------------------------------


def test_a_snoozed_incident_is_brought_up_to_date_and_tells_nothing_until_its_end(desk: Desk) -> None:
    number = desk.report("info").incident.id
    desk.snooze(number, HOUR)
    assert desk.after(MINUTE).report("warning").mails == 0
    assert incidents.get(desk.db, "hotels", number).severity == "warning"
    assert desk.tend() == ([], [])
    assert desk.after(HOUR).tend() == ([number], [])
    assert desk.tend() == ([], [])
    assert desk.tags == ["info", "warning"]
    assert "Its snooze has ended, and it still stands." in desk.mails[-1].text
    assert desk.report("warning").mails == 0
    assert len({root_message_id(mail.key) for mail in desk.mails}) == 1


def test_a_snoozed_incident_that_becomes_critical_tells_at_once_and_is_awake(desk: Desk) -> None:
    number = desk.report().incident.id
    desk.snooze(number, HOUR)
    assert desk.after(MINUTE).report("critical").mails == 1
    assert incidents.get(desk.db, "hotels", number).snoozed_until is None
    assert desk.after(2 * HOUR).tend() == ([], [number])


def test_a_critical_incident_that_is_snoozed_stays_quiet_whatever_it_does(desk: Desk) -> None:
    number = desk.report("critical").incident.id
    desk.snooze(number, 3 * HOUR)
    assert [desk.after(MINUTE).report(severity).mails for severity in ("warning", "critical")] == [0, 0]
    desk.end()
    assert desk.report("critical").mails == 0
    assert desk.after(HOUR).tend() == ([], [])
    assert desk.tags == ["critical"]


def test_what_ends_while_it_is_snoozed_is_told_over_when_the_snooze_ends(desk: Desk) -> None:
    number = desk.report().incident.id
    desk.snooze(number, HOUR)
    desk.after(MINUTE).end()
    assert desk.tags == ["warning"]
    assert desk.after(HOUR).tend() == ([number], [])
    assert desk.tags == ["warning", "resolved"]


# --- escalation -----------------------------------------------------------------------------------------------------


def test_a_critical_incident_that_nobody_takes_is_escalated_once(desk: Desk) -> None:
    desk.set(escalate_to=("boss@example.com",))
    number = desk.report("critical").incident.id
    desk.report("warning", cause="calibration")
    assert desk.after(29 * MINUTE).tend() == ([], [])
    assert desk.after(MINUTE).tend() == ([], [number])
    assert desk.after(HOUR).tend() == ([], [])
    assert [(mail.to, mail.subject.split("]")[0]) for mail in desk.mails][2:] == [("boss@example.com", "[critical")]
    assert "Not acknowledged for 30 minutes." in desk.mails[-1].text
    assert [note.kind for note in incidents.notes(desk.db, "hotels", number)] == ["opened", "escalated"]
    desk.end()
    assert [mail.to for mail in desk.mails][3:] == ["team@example.com", "boss@example.com"]


def test_without_an_address_for_it_those_who_heard_of_it_hear_again(desk: Desk) -> None:
    desk.report("critical")
    desk.after(HOUR).tend()
    assert [mail.to for mail in desk.mails] == ["team@example.com"] * 2


@pytest.mark.parametrize("answer", ["acknowledge", "snooze", "resolve", "off"])
def test_an_answer_stops_the_escalation(answer: str, desk: Desk) -> None:
    number = desk.report("critical").incident.id
    if answer == "acknowledge":
        incidents.acknowledge(desk.db, "hotels", number, by="anna", at=desk.at)
    elif answer == "snooze":
        desk.snooze(number, 9 * HOUR)
    elif answer == "resolve":
        desk.end()
    else:
        desk.set(escalate_after_minutes=0)
    assert desk.after(HOUR).tend() == ([], [])


def test_what_returns_or_wakes_unanswered_is_escalated_again(desk: Desk) -> None:
    number = desk.report("critical").incident.id
    assert desk.after(HOUR).tend() == ([], [number])
    desk.end()
    desk.report("critical")
    assert desk.after(10 * MINUTE).tend() == ([], [])
    assert desk.after(HOUR).tend() == ([], [number])
    desk.snooze(number, HOUR)
    assert desk.after(HOUR).tend() == ([number], [])
    assert desk.after(HOUR).tend() == ([], [number])
    assert len({mail.key for mail in desk.mails}) == len(desk.mails)


def test_senders_that_tend_at_the_same_time_tell_once(desk: Desk) -> None:
    desk.report("critical")
    at = desk.at + HOUR
    both = [escalate(desk.db, desk.settings, market="hotels", at=at + n * MINUTE) for n in range(2)]
    assert [len(told) for told in both] == [1, 0]
    assert len(desk.mails) == 2
