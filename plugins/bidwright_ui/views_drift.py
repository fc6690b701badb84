"""Drift: the verdict of each day, its reasons and its numbers, and Evidently's report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bidwright_ui.page import Page, View, plain
from ml.core.errors import NoData
from ml.core.units import parse_day

if TYPE_CHECKING:
    from ml.ledger.reports import DriftReport
    from ml.platform import Platform

SHOWN = 200


def reports(platform: Platform, *, limit: int = SHOWN) -> View:
    """The drift verdicts of the last days."""
    from ml.ledger import reports as ledger

    return {"reports": plain(ledger.latest(platform.db, platform.market, limit))}


def report(platform: Platform, day: str) -> View:
    """The drift verdict of one day with its reasons and numbers."""
    return {"report": plain(_report(platform, day))}


def report_html(platform: Platform, day: str) -> bytes:
    """The HTML report of a day's drift check, as it was kept in the blob store."""
    found = _report(platform, day)
    if not found.report_key:
        raise NoData(f"the drift check of {day} left no HTML report", next="its reasons say why")
    return platform.blobs.get(found.report_key)


def _report(platform: Platform, day: str) -> DriftReport:
    from ml.ledger import reports as ledger

    found = ledger.get(platform.db, platform.market, parse_day(day))
    if found is None:
        raise NoData(f"{day} has not been checked for drift", next="choose a day from the list")
    return found


PAGES: Final = {
    "/drift": Page(
        "reports",
        reports,
        "drift",
        "Drift verdicts of the last days.",
        {"reports": "One object per checked market day, newest first."},
    ),
    "/reports": Page(
        "reports",
        reports,
        "drift",
        f"The drift verdicts of the last {SHOWN} checked days.",
        {"reports": "One object per checked market day, newest first."},
    ),
    "/reports/{day}": Page(
        "report",
        report,
        "drift",
        "The drift verdict of one day.",
        {"report": "Verdict, reasons, numbers and the key of the HTML report."},
    ),
}
