"""One decision: every gate with its number, interval and threshold, candidate against champion, and the lineage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bidwright_ui.page import Page, View, plain
from ml.core.errors import NoData, UsageError

if TYPE_CHECKING:
    from ml.platform import Platform

SHOWN = 200

NUMBERS = 2**31 - 1
"""No table has more rows; a larger number would overflow the database's."""


def decisions(platform: Platform, *, limit: int = SHOWN) -> View:
    """The newest gate decisions, each with the evidence of every gate."""
    from ml.ledger import decisions as ledger

    return {"decisions": plain(ledger.latest(platform.db, platform.market, limit))}


def decision(platform: Platform, number: int) -> View:
    """One decision with the evidence of every gate, drawn."""
    from bidwright_ui import evidence
    from bidwright_ui.lineage import lineage
    from ml.evaluation.worth import money_of
    from ml.ledger import decisions as ledger
    from ml.ledger import versions

    if number > NUMBERS:
        raise NoData(f"there is no decision {number}", next="choose one from the list")
    found = ledger.get(platform.db, number)
    if found.market != platform.market:
        raise UsageError(f"decision {number} is of another market", next="choose one from the list")
    told = plain(found)
    candidate = versions.get(platform.db, platform.market, found.candidate)
    before = versions.get(platform.db, platform.market, found.champion) if found.champion else None
    return {
        "decision": told,
        "gates": evidence.gates(told["gates"]),
        "gains": evidence.gains(told["gates"]),
        "slices": evidence.slices(told["gates"]),
        "reliability": evidence.reliability(
            money_of(candidate.metrics) if candidate else [], money_of(before.metrics) if before else []
        ),
        "lineage": lineage(platform, candidate) if candidate else None,
        "candidate": plain(candidate) | {"metrics": None} if candidate else None,
    }


PAGES: Final = {
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
        {
            "decision": "The decision as it was recorded.",
            "gates": "Its gates, those that do not pass first; `line` is where number, interval and threshold are drawn.",
            "gains": "Loss against the champion and the baseline per model, as shares of theirs.",
            "slices": "Per model the slices with the greatest loss against the champion.",
            "reliability": "Promised over realised money by label, as series.",
            "lineage": "What the candidate was made of; null where it is not registered.",
            "candidate": "The candidate without its metrics; null where it is not registered.",
        },
        {"number": (int, ...)},
    ),
}
