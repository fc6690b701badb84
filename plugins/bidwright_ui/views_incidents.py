"""Incidents: what went wrong, how bad it is, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bidwright_ui.page import Page, View, plain

if TYPE_CHECKING:
    from ml.platform import Platform

SHOWN = 200


def incidents(platform: Platform) -> View:
    """Open incidents, and the newest of all."""
    from ml.ledger import incidents as ledger

    return {
        "open": plain(ledger.open_incidents(platform.db, platform.market)),
        "incidents": plain(ledger.all_incidents(platform.db, platform.market, SHOWN)),
    }


PAGES: Final = {
    "/incidents": Page(
        "incidents",
        incidents,
        "incidents",
        "Incidents of this market.",
        {"open": "Those that are open.", "incidents": f"The newest {SHOWN}, open or not."},
    )
}
