"""One decision: every gate with its number, interval and threshold, candidate against champion, and the lineage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bidwright_ui.page import Page, View, plain
from ml.core.errors import NoData, UsageError

if TYPE_CHECKING:
    from ml.ledger.decisions import Decision
    from ml.platform import Platform

SHOWN = 200

WHOLE = 10
"""Of a list so many, the newest, tell which gates do not pass: the evidence of a decision is large."""

NUMBERS = 2**31 - 1
"""No table has more rows; a larger number would overflow the database's."""


def decisions(platform: Platform, *, limit: int = SHOWN) -> View:
    """The newest decisions without their evidence; of the newest, which gates do not pass."""
    from ml.ledger import decisions as ledger

    whole = {one.id: one for one in ledger.latest(platform.db, platform.market, min(limit, WHOLE))}
    return {
        "decisions": [
            {name: value for name, value in plain(one).items() if name != "gates"} | decision_heads(whole.get(one.id))
            for one in ledger.summaries(platform.db, platform.market, limit)
        ]
    }


def decision_heads(one: Decision | None) -> dict[str, Any]:
    """How many gates a decision has and those that do not pass; null where that was not looked up."""
    if one is None:
        return {"gates": None, "open": None}
    return {
        "gates": len(one.gates),
        "open": [{"gate": gate["gate"], "verdict": gate["verdict"]} for gate in one.gates if gate["verdict"] != "PASS"],
    }


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
        {
            "decisions": f"Newest first, without their evidence; the newest {WHOLE} with how many `gates` they have and "
            "those that do not pass (`open`)."
        },
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
