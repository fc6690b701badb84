from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from ml.core.verdict import Verdict
from ml.ledger import reports
from ml.ledger.database import Database
from ml.ledger.reports import DriftReport

AT = datetime(2026, 1, 6, tzinfo=UTC)
DAY = date(2026, 1, 5)
NUMBERS = {"price": {"score": 0.31, "limit": 0.1}, "calibration": None}
REPORT = DriftReport("m", DAY, Verdict.FAIL, ["price drifted"], "reports/m/2026-01-05.html", NUMBERS)


def test_a_report_comes_back_whole(db: Database) -> None:
    reports.record(db, REPORT, AT)
    assert reports.get(db, "m", DAY) == replace(REPORT, recorded_at=AT)
    assert reports.get(db, "m", DAY + timedelta(days=1)) is None


def test_checking_a_day_again_leaves_one_report_the_last(db: Database) -> None:
    reports.record(db, REPORT, AT)
    again = replace(REPORT, verdict=Verdict.HOLD, reasons=["too few rows"], report_key="", numbers={})
    reports.record(db, again, AT + timedelta(hours=1))
    assert reports.latest(db, "m", 10) == [replace(again, recorded_at=AT + timedelta(hours=1))]


def test_the_latest_reports_are_those_of_the_newest_days(db: Database) -> None:
    for days in (2, 0, 1):
        reports.record(db, replace(REPORT, day=DAY + timedelta(days=days)), AT)
    reports.record(db, replace(REPORT, market="other", day=DAY + timedelta(days=9)), AT)
    assert [report.day for report in reports.latest(db, "m", 2)] == [DAY + timedelta(days=2), DAY + timedelta(days=1)]
