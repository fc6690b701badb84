"""Models: versions, the decisions about them with all evidence, and who was champion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bidwright_ui.page import Page, View, plain
from ml.core.errors import NoData, UsageError

if TYPE_CHECKING:
    from ml.platform import Platform

SHOWN = 200

NUMBERS = 2**31 - 1
"""No table has more rows; a larger number would overflow the database's."""


def versions(platform: Platform, *, limit: int = SHOWN) -> View:
    """The newest registered versions; `live` marks the champion."""
    from ml.ledger import champion
    from ml.ledger import versions as ledger

    live = champion.current(platform.db, platform.market)
    found = ledger.newest(platform.db, platform.market, limit)
    return {"versions": [plain(v) | {"live": live is not None and v.digest == live.digest} for v in found]}


def version(platform: Platform, digest: str) -> View:
    """One version: its data, its metrics, what its errors cost, every decision about it, and since when it was champion."""
    from ml.evaluation.worth import money_of
    from ml.ledger import champion
    from ml.ledger import decisions as ledger_decisions
    from ml.ledger import versions as ledger

    found = ledger.find(platform.db, platform.market, digest)
    reigns = [c for c in champion.history(platform.db, platform.market) if c.digest == found.digest]
    return {
        "version": plain(found),
        "currency": platform.settings.currency,
        "money": money_of(found.metrics),
        "decisions": plain(ledger_decisions.for_version(platform.db, platform.market, found.digest)),
        "champion": plain(reigns),
    }


def decisions(platform: Platform, *, limit: int = SHOWN) -> View:
    """The newest gate decisions, each with the evidence of every gate."""
    from ml.ledger import decisions as ledger

    return {"decisions": plain(ledger.latest(platform.db, platform.market, limit))}


def decision(platform: Platform, number: int) -> View:
    """One decision with the evidence of every gate."""
    from ml.ledger import decisions as ledger

    if number > NUMBERS:
        raise NoData(f"there is no decision {number}", next="choose one from the list")
    found = ledger.get(platform.db, number)
    if found.market != platform.market:
        raise UsageError(f"decision {number} is of another market", next="choose one from the list")
    return {"decision": plain(found)}


def champions(platform: Platform) -> View:
    """Who was champion since when, and by which decision."""
    from ml.ledger import champion

    return {"champions": plain(champion.history(platform.db, platform.market))}


def model(platform: Platform) -> View:
    """Champions, versions and decisions."""
    return champions(platform) | versions(platform) | decisions(platform)


PAGES: Final = {
    "/model": Page(
        "model",
        model,
        "model",
        "Champions, versions and decisions.",
        {"champions": "Oldest first.", "versions": "Newest first.", "decisions": "Newest first."},
    ),
    "/versions": Page(
        "versions",
        versions,
        "model",
        f"The newest {SHOWN} registered versions.",
        {"versions": "Newest first; `live` marks the champion."},
    ),
    "/versions/{digest}": Page(
        "version",
        version,
        "model",
        "One version, by the first digits of its digest.",
        {
            "version": "What it was trained on and how it did.",
            "currency": "Of the amounts.",
            "money": "What its errors of worth cost, by field.",
            "decisions": "Every decision about it.",
            "champion": "Since when it was champion, if ever.",
        },
    ),
    "/champions": Page(
        "champions",
        champions,
        "model",
        "Who was champion since when.",
        {"champions": "Oldest first, each with the decision that made it champion."},
    ),
    "/decisions": Page(
        "decisions",
        decisions,
        "model",
        f"The newest {SHOWN} decisions.",
        {"decisions": "Newest first, each with the evidence of every gate."},
    ),
    "/decisions/{number:int}": Page(
        "decision",
        decision,
        "model",
        "One decision with the evidence of every gate.",
        {"decision": "The decision."},
        {"number": (int, ...)},
    ),
}
