"""Market days: what each step of the lifecycle made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bidwright_ui.page import Page, View, plain
from ml.core.errors import NoData
from ml.core.units import parse_day

if TYPE_CHECKING:
    from ml.platform import Platform

SHOWN = 200


def days(platform: Platform) -> View:
    """Every market day that went through the lifecycle, newest first, a value per step."""
    from ml.status import overview

    found = overview(platform, days=SHOWN)
    return {"days": list(reversed(found["days"])), "currency": found["currency"]}


def day(platform: Platform, name: str) -> View:
    """What each step of the lifecycle recorded for one market day."""
    from ml.ledger import stages

    found = stages.for_day(platform.db, platform.market, parse_day(name))
    if not found:
        raise NoData(f"{name} has not been ingested", next="choose a day from the list")
    known = [stage for stage in stages.STAGES if stage in found]
    return {"day": name, "stages": {stage: plain(found[stage]) for stage in known}}


PAGES: Final = {
    "/days": Page(
        "days",
        days,
        "overview",
        f"The last {SHOWN} market days, a value per step of the lifecycle.",
        {"days": "Newest first; the columns are those of `bidwright status`.", "currency": "Of the amounts."},
    ),
    "/days/{name}": Page(
        "day",
        day,
        "overview",
        "What each step recorded for one market day.",
        {"day": "The market day.", "stages": "The last result of each step, by its name."},
    ),
}
