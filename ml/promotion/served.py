"""What served on a market day, as things stood at an instant, why, and approved by whom."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from ml.core.errors import UsageError
from ml.ledger import champion, decisions
from ml.promotion.evidence import to_json

if TYPE_CHECKING:
    from ml.ledger.champion import Champion
    from ml.ledger.database import Database
    from ml.ledger.decisions import Decision

NOBODY = "nobody was asked"


def served_on(db: Database, market: str, *, day: date | None, at: datetime) -> dict[str, Any]:
    """The champion of a market day, as the ledger stood at an instant.

    Two clocks are apart: `day` is the market's, `at` the machine's. A day that was carried out again later may since have
    another champion; what was known at `at` does not change.

    Args:
        db: the platform database.
        market: name of the market.
        day: the market day; None for the newest that had a champion by then.
        at: the instant.

    Returns:
        `market`, `day`, `at`, `note` (why there is no answer), `champion` (None where there was none: digest, generation, since, moved_at), `why` (the reasons of the
        decision's gates, and what was waived), `approved_by`, `decision` (all of it).
    """
    history = champion.history(db, market)
    known = [one for one in history if one.moved_at <= at and (day is None or one.since <= day)]
    live = known[-1] if known else None
    decision = decisions.get(db, live.decision_id) if live else None
    note = ""
    if live is None:
        note = f"the first champion was moved at {history[0].moved_at.isoformat()}" if history else "none was moved yet"
        note += f", and is that of market days from {history[0].since}: ask for one with --day" if history else ""
    return {
        "market": market,
        "day": to_json(day),
        "at": at.isoformat(),
        "note": note,
        "champion": to_json(live),
        "why": None if decision is None else why(decision),
        "approved_by": None if decision is None else approved_by(decision),
        "decision": to_json(decision),
    }


def timeline(db: Database, market: str) -> list[dict[str, Any]]:
    """Everything that served, oldest first: `from` a market day `until` another one, exclusive, and None while it does."""
    history = champion.history(db, market)
    return [_reign(db, one, after) for one, after in zip_longest(history, history[1:])]


def _reign(db: Database, one: Champion, after: Champion | None) -> dict[str, Any]:
    decision = decisions.get(db, one.decision_id)
    return {
        "from": one.since.isoformat(),
        "until": after.since.isoformat() if after else None,
        "digest": one.digest,
        "generation": one.generation,
        "moved_at": one.moved_at.isoformat(),
        "decision_id": one.decision_id,
        "why": why(decision),
        "approved_by": approved_by(decision),
    }


def why(decision: Decision) -> str:
    """The reason to change that the gates named, and what was waived."""
    reasons = [str(gate["reason"]) for gate in decision.gates if gate["gate"] == "gains_on_champion"]
    waived = [f"{gate['gate']} was waived: {gate['waived']['why']}" for gate in decision.gates if "waived" in gate]
    return "; ".join([*reasons, *waived]) or f"{len(decision.gates)} gates passed"


def approved_by(decision: Decision) -> str:
    """Who approved, and when; or that nobody was asked."""
    if decision.approval is None:
        return NOBODY
    answer, by, at = (decision.approval.get(name) for name in ("answer", "by", "at"))
    return f"{by}: {answer}, {at}" if answer else "not answered"


def parse_instant(text: str) -> datetime:
    """An instant in ISO form; without an offset it is UTC.

    >>> parse_instant("2026-03-04T10:00").isoformat()
    '2026-03-04T10:00:00+00:00'
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no instant", next="write it as 2026-03-04T10:00") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
