"""The daily check as a whole: its report, its incidents, its mails, and that a repeat doubles nothing."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from ml.core.errors import StoreUnavailable
from ml.core.settings import Settings
from ml.core.verdict import Verdict
from ml.lake.blobs import BlobStore
from ml.ledger import incidents, outbox, reports
from ml.ledger.database import Database
from monitoring import check, judgement
from monitoring.check import check_day
from monitoring.drift import DriftResult

MARKET = "hotels"


class Checker:
    """Checks days of a market, one after another."""

    def __init__(self, blobs: BlobStore, db: Database, settings: Settings, at: datetime, market: Any) -> None:
        self.blobs, self.db, self.settings, self.at, self.market = blobs, db, settings, at, market

    def check(self, day: date, **options: Any) -> dict[str, Any]:
        self.at += timedelta(minutes=1)
        options = {"subjects": [self.market.subject(day)]} | options
        return check_day(self.blobs, self.db, self.settings, market=MARKET, day=day, at=self.at, **options)

    @property
    def open(self) -> list[str]:
        return [incident.cause for incident in incidents.open_incidents(self.db, MARKET)]

    @property
    def tags(self) -> list[str]:
        return [mail.subject.split("]")[0][1:] for mail in outbox.pending(self.db)]


@pytest.fixture
def checker(blobs: BlobStore, db: Database, settings: Settings, at: datetime, market: Any) -> Checker:
    return Checker(blobs, db, settings, at, market)


@pytest.fixture
def no_evidently(monkeypatch: pytest.MonkeyPatch) -> None:
    result = DriftResult({}, b"<html>report</html>")
    monkeypatch.setattr(judgement, "distances", lambda *_, **__: result)


def dearer(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(rate=rows["rate"] * 1.4)


def test_a_day_leaves_a_report_that_people_can_open(checker: Checker, day: date) -> None:
    """With Evidently itself."""
    result = checker.check(day)
    assert result["report"] == f"reports/hotels/{day.isoformat()}.html"
    assert b"Data Drift Summary" in checker.blobs.get(result["report"])
    report = reports.get(checker.db, MARKET, day)
    assert report is not None
    assert report.report_key == result["report"]
    assert report.verdict is Verdict(result["verdict"])
    assert {column["name"] for column in report.numbers["columns"]} == {
        f"bookings.{name}" for name in ("rate", "lead_days", "cancel_rate", "segment", "is_repeat")
    }
    assert json.loads(json.dumps(result)) == result


def test_a_price_shift_is_found_within_days_told_once_and_ends_by_itself(
    checker: Checker, day: date, no_evidently: None
) -> None:
    checker.market.change(dearer, first=day)
    told = {n: checker.check(day + timedelta(days=n)) for n in range(-1, 45)}
    opened = [n for n, result in told.items() if "drift:unknown" in result["opened"]]
    resolved = [n for n, result in told.items() if "drift:unknown" in result["resolved"]]
    assert len(opened) == 1
    assert 1 <= opened[0] <= 3
    assert len(resolved) == 1
    assert resolved[0] <= 40
    assert checker.open == []
    assert checker.tags[0] in {"warning", "critical"}
    assert checker.tags[-1] == "resolved"
    assert len(checker.tags) <= 3, "one mail when it opens, one if it gets worse, one when it ends"


def test_a_quiet_market_is_told_nothing(checker: Checker, day: date, no_evidently: None) -> None:
    for n in range(30):
        checker.check(day + timedelta(days=n))
    assert checker.open == []
    assert checker.tags == []


def test_the_same_day_again_changes_nothing(checker: Checker, day: date, no_evidently: None) -> None:
    checker.market.change(dearer, first=day)
    days = [day + timedelta(days=n) for n in range(4)]
    first = [checker.check(each) for each in days][-1]
    assert first["confirmed"] == ["bookings.rate"]
    mails, report = checker.tags, reports.get(checker.db, MARKET, days[-1])
    again = checker.check(days[-1])
    assert {**again, "opened": []} == {**first, "opened": []}
    assert again["opened"] == []
    assert checker.tags == mails
    newer = reports.get(checker.db, MARKET, days[-1])
    assert report is not None
    assert newer is not None
    assert newer.numbers == report.numbers


def test_a_day_that_is_held_says_so_and_is_released_when_it_was_delivered_again(
    checker: Checker, day: date, no_evidently: None
) -> None:
    whole = checker.market.subject(day)
    half = checker.market.of(day)
    half.loc[half.index[:100], "rate"] = None
    broken = type(whole)("bookings", half, whole.reference, whole.numeric, whole.categorical)
    result = checker.check(day, subjects=[broken])
    assert result["held"]
    assert result["verdict"] == "FAIL"
    assert result["report"] == ""
    assert result["opened"] == ["completeness"]
    (mail,) = outbox.pending(checker.db)
    assert "67% of rate is null" in mail.subject
    assert "is held" in mail.text
    result = checker.check(day, subjects=[whole])
    assert not result["held"]
    assert result["resolved"] == ["completeness"]
    assert checker.tags == ["critical", "resolved"]


def test_a_held_day_between_two_days_does_not_break_the_confirmation(
    checker: Checker, day: date, no_evidently: None
) -> None:
    checker.market.change(dearer, first=day)
    assert checker.check(day)["confirmed"] == []
    exceeding = checker.check(day + timedelta(days=1))["exceeding"]
    assert exceeding == ["bookings.rate"]
    held = checker.market.subject(day + timedelta(days=2))
    gone = type(held)("bookings", held.current.drop(columns="rate"), held.reference, held.numeric, held.categorical)
    assert checker.check(day + timedelta(days=2), subjects=[gone])["held"]
    assert checker.check(day + timedelta(days=3))["confirmed"] == ["bookings.rate"]


def test_an_old_report_confirms_nothing(checker: Checker, day: date, no_evidently: None) -> None:
    checker.market.change(dearer, first=day)
    assert checker.check(day + timedelta(days=2))["exceeding"] == ["bookings.rate"]
    late = day + timedelta(days=2 + check.MEMORY_DAYS + 1)
    assert checker.check(late)["confirmed"] == []


def test_a_day_older_than_the_newest_one_is_recorded_and_moves_no_incident(
    checker: Checker, day: date, no_evidently: None
) -> None:
    checker.market.change(dearer, first=day)
    for n in range(4):
        checker.check(day + timedelta(days=n))
    assert checker.open == ["drift:unknown"]
    before = checker.tags
    quiet = day - timedelta(days=5)
    result = checker.check(quiet)
    assert result["parts"]["drift"] == "PASS"
    assert result["resolved"] == []
    assert checker.open == ["drift:unknown"]
    assert checker.tags == before
    assert reports.get(checker.db, MARKET, quiet) is not None


def test_when_the_blob_store_is_full_nothing_is_recorded(
    checker: Checker, day: date, no_evidently: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(key: str, data: bytes) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(checker.blobs, "put", full)
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        checker.check(day)
    assert reports.get(checker.db, MARKET, day) is None


def test_report_incidents_and_mails_are_written_together_or_not_at_all(
    checker: Checker, day: date, no_evidently: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    checker.market.change(lambda rows: rows.drop(columns="rate"), first=day)
    calls = []

    def die(*args: Any, **options: Any) -> None:
        calls.append(options)
        raise RuntimeError("killed half-way")

    monkeypatch.setattr(check, "raise_alert", die)
    with pytest.raises(RuntimeError, match="killed half-way"):
        checker.check(day)
    assert len(calls) == 1
    assert reports.get(checker.db, MARKET, day) is None
    monkeypatch.undo()
    assert checker.check(day)["opened"] == ["completeness"]
    assert checker.tags == ["critical"]


def test_every_subject_has_a_report_of_its_own(checker: Checker, day: date, no_evidently: None) -> None:
    bookings = checker.market.subject(day)
    clicks = type(bookings)("clicks", bookings.current, bookings.reference, ["lead_days"], ["segment"])
    checker.check(day, subjects=[bookings, clicks])
    assert checker.blobs.list("reports/hotels/") == [
        f"reports/hotels/{day.isoformat()}-clicks.html",
        f"reports/hotels/{day.isoformat()}.html",
    ]
    report = reports.get(checker.db, MARKET, day)
    assert report is not None
    assert report.numbers["reports"]["clicks"] == f"reports/hotels/{day.isoformat()}-clicks.html"


def test_the_mail_leads_to_the_report_and_to_the_run(checker: Checker, day: date, no_evidently: None) -> None:
    checker.market.change(dearer, first=day)
    for n in range(4):
        result = checker.check(day + timedelta(days=n), run_id="run 1")
        if result["opened"]:
            break
    (mail,) = outbox.pending(checker.db)
    for part in (mail.text, mail.html):
        assert "http://airflow.example/bid-models/reports/" in part
        assert "http://airflow.example/dags/check_drift/runs/run%201" in part
        assert "bookings.rate" in part.replace("<wbr>", "")
