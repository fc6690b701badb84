"""No mail is lost and none is doubled, whatever the server does. Every server here is a real one on loopback."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from ml.core.clock import FixedClock
from ml.core.settings import Settings
from ml.ledger import outbox
from ml.ledger.database import Database
from monitoring import deliver as delivery
from monitoring.alerts import raise_alert, resolve_alerts
from monitoring.deliver import deliver

DAY = date(2026, 5, 20)


@pytest.fixture
def clock(at: datetime) -> FixedClock:
    return FixedClock(at)


def put(db: Database, at: datetime, key: str = "k1", to: str = "team@example.com", **options: Any) -> None:
    options = {"subject": f"subject {key}", "text": "plain words", "html": "<p>rich words</p>"} | options
    assert outbox.put(db, key=key, to=to, at=at, **options)


def test_a_mail_goes_out_with_both_parts_and_its_headers(
    db: Database, smtp_settings: Settings, clock: FixedClock, mail_server: Any
) -> None:
    put(db, clock.at, subject="Hotel Zürich → überbucht")
    report = deliver(db, smtp_settings, clock)
    assert (report.sent, report.waiting, report.errors) == (1, 0, ())
    (mail,) = mail_server.taken
    assert mail["Subject"] == "Hotel Zürich → überbucht"
    assert mail["From"] == "bidwright@localhost"
    assert mail["To"] == "team@example.com"
    assert mail["Message-ID"] == outbox.sent(db)[0].message_id
    assert mail["Date"].datetime == clock.at
    assert mail.get_body(("plain",)).get_content().strip() == "plain words"
    assert mail.get_body(("html",)).get_content().strip() == "<p>rich words</p>"
    assert outbox.sent(db)[0].sent_at == clock.at


def test_a_picture_is_inline_by_its_content_id(
    db: Database, smtp_settings: Settings, clock: FixedClock, mail_server: Any
) -> None:
    put(db, clock.at, html='<img src="cid:chart">', attachments=[("chart", "image/png", b"\x89PNG")])
    deliver(db, smtp_settings, clock)
    (picture,) = [part for part in mail_server.taken[0].walk() if part.get_content_type() == "image/png"]
    assert picture["Content-ID"] == "<chart>"
    assert picture.get_content() == b"\x89PNG"


def test_nothing_due_asks_no_server(db: Database, settings: Settings, clock: FixedClock) -> None:
    assert deliver(db, settings.model_copy(update={"smtp_port": 1}), clock).errors == ()


def test_a_server_that_is_down_leaves_every_mail_waiting_and_is_asked_once(
    db: Database, settings: Settings, clock: FixedClock, mail_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    send = delivery.send
    monkeypatch.setattr(delivery, "send", lambda *args: (tried.append(args), send(*args))[1])
    for n in range(3):
        put(db, clock.at, key=f"k{n}")
    down = settings.model_copy(update={"smtp_port": 1})
    report = deliver(db, down, clock)
    assert (report.sent, report.waiting) == (0, 3)
    assert len(tried) == 1
    assert "no SMTP server answers at 127.0.0.1:1" in report.errors[0]
    clock.at += timedelta(hours=2)
    up = settings.model_copy(update={"smtp_port": mail_server.port})
    assert deliver(db, up, clock).sent == 3
    assert sorted(mail["Subject"] for mail in mail_server.taken) == ["subject k0", "subject k1", "subject k2"]


def test_a_mail_that_failed_waits_longer_each_time_and_does_not_block_the_others(
    db: Database, smtp_settings: Settings, clock: FixedClock, mail_server: Any
) -> None:
    mail_server.misbehave["RCPT"] = ["451 greylisted"]
    put(db, clock.at, key="slow")
    assert deliver(db, smtp_settings, clock).waiting == 1
    put(db, clock.at, key="quick")
    assert deliver(db, smtp_settings, clock).sent == 1
    assert [mail["Subject"] for mail in mail_server.taken] == ["subject quick"]
    clock.at += timedelta(seconds=61)
    mail_server.misbehave["RCPT"] = ["451 greylisted"]
    report = deliver(db, smtp_settings, clock)
    assert report.errors == ("subject slow: team@example.com: 451 greylisted",)
    clock.at += timedelta(seconds=61)
    assert deliver(db, smtp_settings, clock).sent == 0
    clock.at += timedelta(seconds=61)
    assert deliver(db, smtp_settings, clock).sent == 1
    assert [mail["Subject"] for mail in mail_server.taken] == ["subject quick", "subject slow"]


@pytest.mark.parametrize(
    ("stage", "answer"),
    [
        ("RCPT", "550 no such user"),
        ("RCPT", "hang up"),
        ("BODY", "452 disk full"),
        ("BODY", "554 looks like spam"),
        ("BODY", "hang up"),
    ],
)
def test_refused_or_cut_off_a_mail_waits_and_arrives_once(
    db: Database, smtp_settings: Settings, clock: FixedClock, mail_server: Any, stage: str, answer: str
) -> None:
    mail_server.misbehave[stage] = [answer]
    put(db, clock.at)
    report = deliver(db, smtp_settings, clock)
    assert mail_server.misbehave[stage] == [], "the fault happened"
    assert (report.sent, report.waiting) == (0, 1)
    assert len(report.errors) == 1
    assert outbox.pending(db)[0].last_error
    clock.at += timedelta(minutes=2)
    assert deliver(db, smtp_settings, clock).sent == 1
    clock.at += timedelta(hours=2)
    assert deliver(db, smtp_settings, clock).sent == 0
    assert len(mail_server.taken) == 1


def test_a_server_that_takes_a_mail_and_drops_the_line_gets_it_again_under_the_same_message_id(
    db: Database, smtp_settings: Settings, clock: FixedClock, mail_server: Any
) -> None:
    """Nobody can tell this from a loss; the Message-ID lets the second be dropped."""
    mail_server.misbehave["BODY"] = ["take and hang up"]
    put(db, clock.at)
    assert deliver(db, smtp_settings, clock).sent == 0
    clock.at += timedelta(minutes=2)
    assert deliver(db, smtp_settings, clock).sent == 1
    first, second = mail_server.taken
    assert first["Message-ID"] == second["Message-ID"]
    assert first["Date"] == second["Date"]


def test_one_bad_mail_does_not_stop_the_others(
    db: Database, smtp_settings: Settings, clock: FixedClock, mail_server: Any
) -> None:
    put(db, clock.at, key="bad", to=" , ")
    put(db, clock.at, key="good")
    report = deliver(db, smtp_settings, clock)
    assert (report.sent, report.waiting) == (1, 1)
    assert report.errors == ("subject bad: the mail has no address",)
    assert [mail["Subject"] for mail in mail_server.taken] == ["subject good"]


def test_an_address_outside_ascii_is_served(
    db: Database, smtp_settings: Settings, clock: FixedClock, mail_server: Any
) -> None:
    put(db, clock.at, to="büro@example.com")
    assert deliver(db, smtp_settings, clock).sent == 1
    assert "büro@example.com" in str(mail_server.taken[0]["To"])


def test_a_subject_cannot_smuggle_in_a_header(
    db: Database, smtp_settings: Settings, clock: FixedClock, mail_server: Any
) -> None:
    put(db, clock.at, subject="hello\r\nBcc: everybody@example.com\r\n\r\nbody")
    deliver(db, smtp_settings, clock)
    (mail,) = mail_server.taken
    assert mail["Bcc"] is None
    assert mail["Subject"] == "hello Bcc: everybody@example.com body"


def test_when_some_addresses_are_refused_the_others_get_it_once(
    db: Database, smtp_settings: Settings, clock: FixedClock, mail_server: Any
) -> None:
    mail_server.misbehave["RCPT"] = ["550 gone"]
    put(db, clock.at, to="gone@example.com, here@example.com")
    report = deliver(db, smtp_settings, clock)
    assert (report.sent, report.waiting) == (1, 0)
    assert report.errors == ("subject k1: gone@example.com was refused (550 gone)",)
    clock.at += timedelta(hours=2)
    deliver(db, smtp_settings, clock)
    assert len(mail_server.taken) == 1


def test_a_mail_that_another_sender_holds_is_left_to_it(
    db: Database, smtp_settings: Settings, clock: FixedClock, mail_server: Any
) -> None:
    put(db, clock.at)
    assert outbox.claim(db, outbox.pending(db)[0].id, clock.at) is not None
    assert deliver(db, smtp_settings, clock).sent == 0
    clock.at += outbox.LEASE
    assert deliver(db, smtp_settings, clock).sent == 1
    assert len(mail_server.taken) == 1


def incident(db: Database, settings: Settings, at: datetime, severity: Any = "warning") -> None:
    raise_alert(
        db, settings, market="hotels", cause="drift", day=DAY, severity=severity, title="rate moved",
        reasons=["rate moved"], at=at,
    )  # fmt: skip


def test_the_mails_of_an_incident_refer_to_one_root(
    db: Database, smtp_settings: Settings, clock: FixedClock, mail_server: Any
) -> None:
    incident(db, smtp_settings, clock.at)
    incident(db, smtp_settings, clock.at, "critical")
    resolve_alerts(db, smtp_settings, market="hotels", causes=["drift"], day=DAY, reason="over", at=clock.at)
    assert deliver(db, smtp_settings, clock).sent == 3
    assert len({mail["References"] for mail in mail_server.taken}) == 1
    assert all(mail["References"] == mail["In-Reply-To"] for mail in mail_server.taken)
    assert len({mail["Message-ID"] for mail in mail_server.taken}) == 3


def test_a_conversation_stays_in_order_although_its_first_mail_had_to_wait(
    db: Database, smtp_settings: Settings, clock: FixedClock, mail_server: Any
) -> None:
    mail_server.misbehave["BODY"] = ["452 disk full"]
    incident(db, smtp_settings, clock.at)
    assert deliver(db, smtp_settings, clock).sent == 0
    resolve_alerts(db, smtp_settings, market="hotels", causes=["drift"], day=DAY, reason="over", at=clock.at)
    put(db, clock.at, key="unrelated")
    assert deliver(db, smtp_settings, clock).sent == 1
    clock.at += timedelta(minutes=2)
    assert deliver(db, smtp_settings, clock).sent == 2
    assert [mail["Subject"].split("]")[0] for mail in mail_server.taken] == [
        "subject unrelated",
        "[warning",
        "[resolved",
    ]
