"""Carry out a decision: record who approved, move the champion when everything says so, and tell people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml.ledger.decisions import Decision
    from ml.platform import Platform


def carry_out(platform: Platform, day: date, *, decision_id: int, approval: Mapping[str, Any] | None) -> dict[str, Any]:
    """Move the champion if the decision is a PASS and, where a person was asked, approved.

    With the setting `rollout` the candidate is put on its way instead, and the answer says how far it is (`rollout`).
    The same decision again moves nothing twice and mails nothing twice.

    Args:
        platform: the platform.
        day: the market day.
        decision_id: the decision.
        approval: a person's `answer`, `by` whom, and what they saw: the `candidate`'s digest and the champion's `generation`.

    Raises:
        UsageError: the answer is about another candidate or generation than the decision.
        StaleGeneration: the champion moved since the request was shown; a consent to replace another champion is none.
    """
    from ml.ledger import decisions
    from ml.promotion.promote import move_champion, obstacle

    at = platform.clock.now()
    if approval is not None:
        _check_bound(platform, decisions.get(platform.db, decision_id), approval)
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


def _check_bound(platform: Platform, decision: Decision, approval: Mapping[str, Any]) -> None:
    """The answer is about this candidate, and about replacing the champion that still stands."""
    from ml.core.errors import StaleGeneration, UsageError
    from ml.ledger import champion

    if (approval.get("candidate"), approval.get("generation")) != (decision.candidate, decision.generation):
        raise UsageError(
            f"the answer is about {str(approval.get('candidate'))[:12]} at generation {approval.get('generation')}, decision "
            f"{decision.id} about {decision.candidate[:12]} at {decision.generation}",
            left="no answer was recorded and the champion was not moved",
            next="ask again with the evidence of this decision",
        )
    live = champion.current(platform.db, decision.market)
    now = live.generation if live else 0
    if now != decision.generation and not (live is not None and live.decision_id == decision.id):
        raise StaleGeneration(
            f"the answer is about replacing generation {decision.generation}, now it is {now}",
            left="no answer was recorded and the champion was not moved",
            next="judge the candidate again, against the present champion",
        )


def tell(platform: Platform, decision: Decision, *, moved: bool, reason: str) -> None:
    """One mail a decision: what became of the candidate, and every gate."""
    from monitoring.alerts import announce_decision

    announce_decision(
        platform.db, platform.settings, decision=decision, moved=moved, reason=reason, at=platform.clock.now()
    )


def waive_gate(platform: Platform, gate: str, *, candidate: str, why: str, by: str, days: int) -> dict[str, Any]:
    """Record a waiver.

    Raises:
        UsageError: there is no such gate or candidate, the gate cannot be waived, or the waiver is incomplete.
    """
    from ml.core.errors import UsageError
    from ml.ledger import versions, waivers
    from ml.promotion.policy import UNWAIVABLE, policy_for

    policy = policy_for(platform.settings.rollout)
    names = [one.name for one in policy.gates if one.name not in UNWAIVABLE]
    if gate not in names:
        raise UsageError(
            f"{gate!r} is no gate that can be waived",
            left="nothing was waived",
            next=f"give one of: {', '.join(names)}",
        )
    version = versions.find(platform.db, platform.market, candidate)
    made = waivers.waive(
        platform.db,
        platform.market,
        gate=gate,
        candidate=version.digest,
        why=why,
        by=by,
        at=platform.clock.now(),
        days=days,
    )
    return {"gate": gate, "candidate": version.digest, **made.as_json()}
