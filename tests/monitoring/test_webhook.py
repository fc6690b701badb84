"""A webhook gets each message at least once, under one key, whatever its server does; and nobody learns its address."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from pydantic import SecretStr

from ml.core.clock import FixedClock
from ml.core.settings import Settings
from ml.ledger import outbox
from ml.ledger.database import Database
from ml.ledger.outbox import MAIL, WEBHOOK
from monitoring import webhook
from monitoring.alerts import raise_alert, resolve_alerts
from monitoring.deliver import deliver
from tests.monitoring.web_server import WebServer

DAY = date(2026, 5, 20)
SECRET = "B000SECRET"


@pytest.fixture
def server() -> Iterator[WebServer]:
    running = WebServer()
    yield running
    running.stop()


@pytest.fixture
def clock(at: datetime) -> FixedClock:
    return FixedClock(at)


@pytest.fixture
def hooked(settings: Settings, server: WebServer) -> Settings:
    return settings.model_copy(update={"webhooks": {"team": SecretStr(server.url)}, "webhook_timeout_seconds": 0.5})


def put(db: Database, at: datetime, key: str = "k1", to: str = "team") -> None:
    outbox.put(db, key=key, to=to, subject=f"subject {key}", text=f"text {key}", html="", at=at, channel=WEBHOOK)


def test_a_message_is_posted_as_slack_reads_it_and_goes_out_once(
    db: Database, hooked: Settings, clock: FixedClock, server: WebServer
) -> None:
    put(db, clock.at)
    assert deliver(db, hooked, clock).sent == 1
    assert deliver(db, hooked, clock).sent == 0
    (request,) = server.seen
    assert request.body == {"text": "text k1"}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == "k1"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("500", "answered 500: ok"),
        ("404", "answered 404: ok"),
        ("302 Location: http://127.0.0.1:1/elsewhere", "answered 302: ok"),
        ("hang up", "the line broke before the answer was whole"),
        ("half a head", "the line broke before the answer was whole"),
        ("silence", "no answer within 0.5 s"),
        ("dribble", "no answer within 0.5 s"),
    ],
)
def test_a_server_that_fails_loses_nothing_and_gets_the_same_key_again(
    answer: str, said: str, db: Database, hooked: Settings, clock: FixedClock, server: WebServer
) -> None:
    server.answers = [answer]
    put(db, clock.at)
    report = deliver(db, hooked, clock)
    assert (report.sent, report.waiting) == (0, 1)
    assert said in report.errors[0]
    (waiting,) = outbox.pending(db)
    assert said in waiting.last_error
    assert timedelta(minutes=1) <= waiting.next_at - clock.at <= timedelta(seconds=75)
    assert deliver(db, hooked, clock).sent == 0
    clock.at = waiting.next_at
    assert deliver(db, hooked, clock).sent == 1
    assert server.keys == ["k1", "k1"]


def test_a_server_that_is_down_loses_nothing(
    db: Database, hooked: Settings, clock: FixedClock, server: WebServer
) -> None:
    down = hooked.model_copy(update={"webhooks": {"team": SecretStr("http://127.0.0.1:1/services/T/B000SECRET")}})
    put(db, clock.at)
    put(db, clock.at, "k2")
    report = deliver(db, down, clock)
    assert (report.sent, report.waiting) == (0, 2)
    assert len(report.errors) == 1, "the second is not tried where the first found nobody"
    clock.at += timedelta(hours=1)
    assert deliver(db, hooked, clock).sent == 2
    assert sorted(server.keys) == ["k1", "k2"]


def test_what_was_taken_is_not_sent_again_although_the_answer_broke_off(
    db: Database, hooked: Settings, clock: FixedClock, server: WebServer
) -> None:
    server.answers = ["half a body"]
    put(db, clock.at)
    assert deliver(db, hooked, clock).sent == 1
    clock.at += timedelta(hours=2)
    deliver(db, hooked, clock)
    assert server.keys == ["k1"]


@pytest.mark.parametrize("asked", ["1800", "instant"])
def test_a_server_that_asks_us_to_wait_is_left_alone_until_then(
    asked: str, db: Database, hooked: Settings, clock: FixedClock, server: WebServer
) -> None:
    instant = (clock.at + timedelta(seconds=1800)).astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    server.answers = [f"429 Retry-After: {instant if asked == 'instant' else asked}"]
    put(db, clock.at)
    put(db, clock.at, "k2")
    report = deliver(db, hooked, clock)
    assert (report.sent, len(server.seen)) == (0, 1), "what it asks it asks for the next message too"
    first = next(one for one in outbox.pending(db) if one.attempts)
    assert timedelta(minutes=30) <= first.next_at - clock.at <= timedelta(minutes=38)


def test_tries_are_further_and_further_apart_and_not_all_at_the_same_moment() -> None:
    waits = [webhook.next_try("k", n, None) for n in (1, 2, 3, 20)]
    assert waits == sorted(waits)
    assert waits[-1] <= timedelta(minutes=75)
    assert len({webhook.next_try(f"k{n}", 1, None) for n in range(20)}) == 20
    assert webhook.next_try("k", 1, timedelta(days=400)) <= timedelta(days=1.25)


@pytest.mark.parametrize("answer", ["200", "500", "302 Location: http://x/", "hang up", "silence"])
def test_the_address_of_a_webhook_is_in_no_log_error_or_ledger(
    answer: str,
    db: Database,
    hooked: Settings,
    clock: FixedClock,
    server: WebServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.answers, server.body = [answer], f"no such path {server.url} /services/T000SECRET/{SECRET} {SECRET}"
    put(db, clock.at)
    with caplog.at_level(logging.DEBUG):
        report = deliver(db, hooked, clock)
    waiting = outbox.pending(db)
    said = [caplog.text, repr(report), repr(hooked), repr(waiting), str(hooked.model_dump())]
    assert [text for text in said if "SECRET" in text] == []
    assert len(server.seen) == 1


def test_the_library_still_logs_what_others_do_with_it(server: WebServer, caplog: pytest.LogCaptureFixture) -> None:
    import httpx

    webhook.post(server.url, "t", key="k", timeout_s=5, now=datetime(2026, 1, 1, tzinfo=UTC))
    # Whoever configured logging before, such as Airflow, may have quietened this library.
    with caplog.at_level(logging.INFO, logger="httpx"):
        httpx.post(server.url.replace("SECRET", ""), json={}, headers={"Idempotency-Key": "x"})
    assert "T000" in caplog.text


def test_a_webhook_that_this_process_does_not_know_waits_and_says_so(
    db: Database, hooked: Settings, clock: FixedClock
) -> None:
    put(db, clock.at, to="other")
    report = deliver(db, hooked, clock)
    assert report.errors == ("subject k1: no webhook 'other' is set in BIDWRIGHT_WEBHOOKS of this process",)
    assert report.waiting == 1


def test_mail_goes_on_while_a_webhook_is_down_and_a_webhook_while_mail_is(
    db: Database, hooked: Settings, clock: FixedClock, server: WebServer, mail_server: object
) -> None:
    raise_alert(
        db,
        hooked,
        market="hotels",
        cause="drift",
        day=DAY,
        severity="warning",
        title="moved",
        reasons=["r"],
        at=clock.at,
    )
    no_mail = hooked.model_copy(update={"smtp_port": 1})
    assert deliver(db, no_mail, clock).sent == 1
    assert [one.channel for one in outbox.sent(db)] == [WEBHOOK]
    server.answers = ["500"]
    resolve_alerts(db, hooked, market="hotels", causes=["drift"], day=DAY, reason="over", at=clock.at)
    clock.at += timedelta(minutes=5)
    mails = hooked.model_copy(update={"smtp_port": mail_server.port})  # type: ignore[attr-defined]
    assert deliver(db, mails, clock).sent == 2
    assert [(one.channel, one.last_error) for one in outbox.pending(db)] == [
        (WEBHOOK, "webhook team: answered 500: ok")
    ]


def test_the_messages_of_an_incident_reach_a_webhook_in_order(
    db: Database, hooked: Settings, clock: FixedClock, server: WebServer
) -> None:
    settings = hooked.model_copy(update={"mail_to": ""})
    server.answers = ["503"]
    raise_alert(
        db,
        settings,
        market="hotels",
        cause="drift",
        day=DAY,
        severity="warning",
        title="moved",
        reasons=["r"],
        at=clock.at,
    )
    deliver(db, settings, clock)
    resolve_alerts(db, settings, market="hotels", causes=["drift"], day=DAY, reason="over", at=clock.at)
    assert deliver(db, settings, clock).sent == 0
    clock.at += timedelta(minutes=5)
    assert deliver(db, settings, clock).sent == 2
    assert [request.body["text"].split("]")[0] for request in server.seen[1:]] == ["*[warning", "*[resolved"]


def test_what_a_market_contains_is_escaped_and_a_long_message_keeps_its_links(
    db: Database, hooked: Settings, clock: FixedClock, server: WebServer
) -> None:
    hotel = "<!channel> <b>Hôtel & Spa</b> " * 400
    raise_alert(
        db, hooked, market="hotels", cause="drift", day=DAY, severity="critical", title=hotel, reasons=[hotel] * 3,
        at=clock.at,
    )  # fmt: skip
    (posted,) = [one for one in outbox.pending(db) if one.channel == WEBHOOK]
    assert len(posted.text) <= webhook.TEXT_LENGTH
    assert "<!channel>" not in posted.text and "&lt;!channel&gt;" in posted.text
    assert posted.text.endswith("/bid-models/runbooks/drift|Runbook>")
    assert posted.html == "" and posted.attachments == ()
    assert [one.channel for one in outbox.pending(db)] == [MAIL, WEBHOOK]
