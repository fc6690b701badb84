"""The front page: how the market stands today. Everything on it comes from the ledger, so that it opens at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bidwright_ui.page import Page, View
from bidwright_ui.views_decision import decisions

if TYPE_CHECKING:
    from ml.platform import Platform

RECENT = 5
DAYS_SHOWN = 28


def overview(platform: Platform) -> View:
    """The market's card, the money of the last days beside its plan, open incidents and the newest decisions."""
    from bidwright_ui.charts import money_by_day
    from bidwright_ui.schedule import next_run
    from ml import status

    found = status.overview(platform, days=DAYS_SHOWN)
    card = {name: found[name] for name in ("market", "champion", "calibration", "rollout", "severities")}
    return found | {
        "markets": [card | {"today": _today(found), "next_run": next_run()}],
        "days": list(reversed(found["days"])),
        "plan": list(reversed(found["plan"])),
        "charts": money_by_day(found["days"], found["plan"], currency=found["currency"]),
        "decisions": decisions(platform, limit=RECENT)["decisions"],
    }


def _today(found: dict[str, Any]) -> dict[str, Any] | None:
    """The last market day whose money is known, beside its plan."""
    for row, plan in zip(reversed(found["days"]), reversed(found["plan"]), strict=True):
        if not isinstance(row["spend_micros"], str) or not isinstance(row["profit_micros"], str):
            known = {
                name: None if isinstance(row[name], str) else row[name] for name in ("spend_micros", "profit_micros")
            }
            return {"day": row["day"], **known, "plan": {name: plan[name] for name in known}}
    return None


PAGES: Final = {
    "/": Page(
        "overview",
        overview,
        "overview",
        "How the market stands today.",
        {
            "market": "The market.",
            "currency": "Of the amounts.",
            "markets": "A card per market: champion, calibration in money, last day beside its plan, incidents by "
            "severity, the next run (null where Airflow does not say), the rollout in progress.",
            "champion": "The champion, null before the first.",
            "calibration": "Promised over realised value of the bookings that were due; null where nothing was.",
            "rollout": "The candidate in front of traffic; null where there is none.",
            "days": f"The last {DAYS_SHOWN} market days, newest first.",
            "plan": "What the bids for each of these days were expected to bring.",
            "incidents": "Open incidents, in short.",
            "severities": "How many incidents of each severity are open.",
            "space": "Files and bytes by kind, as the last clean-up measured them; null before the first.",
            "mail": "Mails sent and waiting.",
            "charts": "The money of the days as series.",
            "decisions": "The newest decisions.",
        },
    )
}
