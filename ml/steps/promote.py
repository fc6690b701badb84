"""Carry out a decision: record who approved, move the champion when everything says so, and tell people."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml.ledger.decisions import Decision
    from ml.platform import Platform


def carry_out(platform: Platform, day: date, *, decision_id: int, approval: dict[str, str] | None) -> dict[str, Any]:
    """Move the champion if the decision is a PASS and, where a person was asked, approved.

    With the setting `rollout` the candidate is put on its way instead, and the answer says how far it is (`rollout`).
    The same decision again moves nothing twice and mails nothing twice.
    """
    from ml.ledger import decisions
    from ml.promotion.promote import move_champion, obstacle

    at = platform.clock.now()
    if approval is not None:
        decisions.record_approval(platform.db, decision_id, answer=approval["answer"], by=approval["by"], at=at)
    decision = decisions.get(platform.db, decision_id)
    if platform.settings.rollout != "off" and obstacle(platform.db, decision) is None:
        from ml.steps.rollout import begin

        return {"verdict": decision.verdict.value, **begin(platform, decision_id)}
    move = move_champion(platform.db, decision_id=decision_id, day=day, at=at)
    tell(platform, decision, moved=move.moved, reason=move.reason)
    return {
        "decision_id": decision_id,
        "candidate": decision.candidate,
        "verdict": decision.verdict.value,
        "moved": move.moved,
        "reason": move.reason,
        "champion": move.champion.digest if move.champion else None,
        "generation": move.champion.generation if move.champion else 0,
    }


def tell(platform: Platform, decision: Decision, *, moved: bool, reason: str) -> None:
    """One mail a decision: what became of the candidate, and every gate."""
    from monitoring.alerts import announce_decision

    announce_decision(
        platform.db, platform.settings, decision=decision, moved=moved, reason=reason, at=platform.clock.now()
    )
