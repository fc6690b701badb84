"""One digest a day, at its hour, of how things stood at that hour; none of a day that has nothing to tell."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from ml.core.settings import Settings
from ml.ledger import incidents, outbox, stages
from ml.ledger.database import Database
from monitoring.alerts import raise_alert, resolve_alerts
from monitoring.digest import digest_of, due, put_digest

DAY = date(2026, 5, 20)
SEVEN = datetime(2026, 5, 21, 7, 0, tzinfo=UTC)


def report(db: Database, settings: Settings, at: datetime, **more: Any) -> int:
    given: dict[str, Any] = {"cause": "drift", "severity": "warning", "title": "rate <b>moved</b>", **more}
    return raise_alert(db, settings, market="hotels", day=DAY, reasons=["r"], at=at, **given).incident.id


def digests(db: Database) -> list[Any]:
    return [mail for mail in outbox.pending(db) if mail.key.startswith("digest/")]


def test_a_day_with_nothing_to_tell_has_no_digest(db: Database, settings: Settings) -> None:
    assert put_digest(db, settings, market="hotels", at=SEVEN) == 0
    report(db, settings, SEVEN + timedelta(minutes=5))
    assert put_digest(db, settings, market="hotels", at=SEVEN + timedelta(minutes=10)) == 0, "that is of the next one"


def test_there_is_one_digest_a_day_however_often_and_late_it_is_asked_for(db: Database, settings: Settings) -> None:
    report(db, settings, SEVEN - timedelta(hours=2))
    put = [put_digest(db, settings, market="hotels", at=SEVEN + timedelta(hours=n)) for n in range(-1, 30)]
    assert [n for n, count in zip(range(-1, 30), put, strict=True) if count] == [0, 24]
    assert len(digests(db)) == 2


def test_the_digest_says_what_stands_what_is_over_and_who_has_it(db: Database, settings: Settings) -> None:
    at = SEVEN - timedelta(hours=5)
    report(db, settings, at, at_stake_micros=1_240_000_000)
    grave = report(db, settings, at, cause="parity", severity="critical", title="rate differs")
    over = report(db, settings, at, cause="calibration", title="off by a third")
    incidents.acknowledge(db, "hotels", 1, by="anna", at=at)
    resolve_alerts(db, settings, market="hotels", causes=["calibration"], day=DAY, reason="retrained", at=at)
    found = digest_of(db, settings, market="hotels", hour=SEVEN)
    assert found is not None
    assert [(item.tone, item.detail) for item in found.incidents] == [
        ("critical", "since 2026-05-20"),
        ("warning", "since 2026-05-20, 1,240 EUR at stake, anna has it"),
    ]
    assert [(item.label, item.detail) for item in found.decisions] == [("resolved", "retrained")]
    assert [item.link for item in found.waiting] == [
        (f"Incident {grave}", f"http://airflow.example/bid-models/incidents/{grave}")
    ]
    assert put_digest(db, settings, market="hotels", at=SEVEN) == 1
    (mail,) = digests(db)
    assert "<b>moved</b>" not in mail.html and "&lt;b&gt;moved" in mail.html
    assert mail.subject.startswith(
        "[digest] Bidwright in hotels on 2026-05-21: 1 waiting for a person, 2 incidents open, 1 critical"
    )
    assert over not in [item.link for item in found.waiting]


def test_the_digest_counts_the_last_settled_day_against_its_plan(db: Database, settings: Settings) -> None:
    money = {"spend_micros": 90, "profit_micros": 40, "bookings": 7}
    plan = {"expected": {"a": {"cost_micros": 60, "profit_micros": 30}, "b": {"cost_micros": 40, "profit_micros": 20}}}
    for stage, day, result in (("settle", DAY, {"money": money}), ("publish", DAY - timedelta(days=1), plan)):
        key = stages.StageKey("hotels", stage, day)
        stages.record(db, key, status="done", result=result, at=SEVEN, run_id="")
    report(db, settings, SEVEN)
    found = digest_of(db, settings, market="hotels", hour=SEVEN)
    assert found is not None
    (line,) = found.markets
    assert found.day == DAY
    assert [(pair.done, pair.plan) for pair in (line.spend, line.profit, line.bookings)] == [
        (90, 100),
        (40, 50),
        (7, None),
    ]


def test_a_market_without_a_settled_day_says_so(db: Database, settings: Settings) -> None:
    report(db, settings, SEVEN)
    found = digest_of(db, settings, market="hotels", hour=SEVEN)
    assert found is not None
    assert found.markets[0].note == "No market day was settled yet."


def test_a_webhook_gets_the_digest_in_few_words(db: Database, settings: Settings) -> None:
    hooked = settings.model_copy(update={"webhooks": {"team": SecretStr("https://hooks.example/x")}})
    report(db, hooked, SEVEN)
    assert put_digest(db, hooked, market="hotels", at=SEVEN) == 2
    posted = next(one for one in digests(db) if one.channel == "webhook")
    assert "warning: Drift: rate &lt;b&gt;moved" in posted.text


@pytest.mark.parametrize(
    ("zone", "at", "hour"),
    [
        ("UTC", datetime(2026, 5, 21, 6, 59, tzinfo=UTC), datetime(2026, 5, 20, 7, 0, tzinfo=UTC)),
        ("UTC", datetime(2026, 5, 21, 7, 0, tzinfo=UTC), SEVEN),
        ("Europe/Berlin", datetime(2026, 5, 21, 5, 30, tzinfo=UTC), datetime(2026, 5, 21, 5, 0, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 12, 21, 5, 30, tzinfo=UTC), datetime(2026, 12, 20, 6, 0, tzinfo=UTC)),
    ],
)
def test_the_hour_is_meant_in_the_zone_of_the_setting(
    settings: Settings, zone: str, at: datetime, hour: datetime
) -> None:
    assert due(settings.model_copy(update={"time_zone": zone}), at) == hour


def test_without_an_hour_there_is_no_digest(db: Database, settings: Settings) -> None:
    report(db, settings, SEVEN)
    off = settings.model_copy(update={"digest_at": ""})
    assert put_digest(db, off, market="hotels", at=SEVEN) == 0
