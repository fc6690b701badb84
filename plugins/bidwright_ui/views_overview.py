"""The front page: how the market stands today."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bidwright_ui.page import Page, View
from bidwright_ui.views_bids import bids
from bidwright_ui.views_drift import reports
from bidwright_ui.views_incidents import incidents
from bidwright_ui.views_model import decisions, versions

if TYPE_CHECKING:
    from ml.platform import Platform

RECENT = 10
"""Rows of each list on the front page."""

DAYS_SHOWN = 14


def overview(platform: Platform) -> View:
    """The champion, the last days and their money, open incidents, and the newest of everything."""
    from bidwright_ui.charts import money_by_day
    from ml import status

    found = status.overview(platform, days=DAYS_SHOWN)
    return found | {
        "days": list(reversed(found["days"])),
        "charts": money_by_day(found["days"], currency=found["currency"]),
        "open_incidents": incidents(platform)["open"],
        "versions": versions(platform, limit=RECENT)["versions"],
        "decisions": decisions(platform, limit=RECENT)["decisions"],
        "reports": reports(platform, limit=RECENT)["reports"],
        "bids": bids(platform)["bids"][:RECENT],
    }


PAGES: Final = {
    "/": Page(
        "overview",
        overview,
        "overview",
        "How the market stands today.",
        {
            "market": "The market.",
            "currency": "Of the amounts.",
            "champion": "The champion, null before the first.",
            "days": "The last market days, newest first.",
            "incidents": "Open incidents, in short.",
            "mail": "Mails sent and waiting.",
            "charts": "The money of the last days as series.",
            "open_incidents": "Open incidents with all that is recorded.",
            "versions": "The newest versions.",
            "decisions": "The newest decisions.",
            "reports": "The newest drift verdicts.",
            "bids": "The newest publications.",
        },
    )
}
