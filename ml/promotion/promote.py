"""Decide about a candidate, and carry the decision out.

The decision with all its evidence is in the ledger before anything moves. Moving is a compare-and-set on the
champion's generation, read back afterwards; whatever is not a clean PASS (and approved, where a person was
asked) leaves the champion as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from ml.core.digests import Digest
from ml.core.errors import StaleGeneration, UsageError
from ml.core.faultpoints import faultpoint
from ml.core.verdict import Verdict
from ml.ledger import bars, champion, decisions, waivers
from ml.ledger.decisions import APPROVED, Decision
from ml.promotion.policy import Policy, approval_needed, decide

if TYPE_CHECKING:
    from ml.ledger.champion import Champion
    from ml.ledger.database import Database
    from ml.promotion.evidence import Evidence


@dataclass(frozen=True)
class Move:
    """What became of a decision: whether it is the one that made its candidate champion, and why (not).

    `champion` is the market's champion afterwards, None where there is none.
    """

    moved: bool
    reason: str
    champion: Champion | None


def judge_candidate(
    db: Database,
    *,
    market: str,
    day: date,
    candidate: Digest,
    evidence: Evidence,
    policy: Policy,
    approval: str,
    at: datetime,
) -> Decision:
    """Put the evidence before the policy's gates and write the decision.

    Idempotent under (market, day, candidate, generation): a repeat returns the decision as it was first
    written. A candidate that is the champion already gets the decision that made it so.

    Args:
        db: the platform database.
        market: name of the market.
        day: the market day of the decision.
        candidate: digest of a registered bundle.
        evidence: what was measured of that bundle on that day, against the champion that is live.
        policy: the gates and their limits.
        approval: the setting `approval`: "never", "first" or "always".
        at: the present instant.

    Returns:
        The decision with its id. Its `approval` is None, or `{"needed": True, "reasons": [...]}` on a PASS
        that a person has to approve.

    Raises:
        UsageError: the evidence is about another candidate or day, or the candidate is not registered.
        StaleGeneration: the champion moved after the evidence was measured; nothing was written.
    """
    if (evidence.candidate, evidence.day) != (candidate, day):
        raise UsageError(
            f"the evidence is about {evidence.candidate[:12]} on {evidence.day}, not {candidate[:12]} on {day}",
            left="no decision was written",
            next="measure this candidate on this day",
        )
    live = champion.current(db, market)
    if live is not None and live.digest == candidate:
        return decisions.get(db, live.decision_id)
    generation = live.generation if live else 0
    if evidence.champion_generation not in (None, generation):
        raise StaleGeneration(
            f"the evidence compares with champion generation {evidence.champion_generation}, now it is {generation}",
            left="no decision was written",
            next="measure the candidate against the present champion",
        )
    waived = {one.gate: one.as_json() for one in waivers.standing(db, market, candidate, at=at)}
    verdict, results = decide(evidence, policy, waived)
    reasons = approval_needed(policy, approval, evidence, results) if verdict is Verdict.PASS else ()
    written = Decision(
        market=market,
        day=day,
        candidate=candidate,
        champion=live.digest if live else None,
        generation=generation,
        verdict=verdict,
        gates=[result.as_json() for result in results],
        policy_digest=policy.digest(),
        approval={"needed": True, "reasons": list(reasons)} if reasons else None,
    )
    faultpoint("promote.before_decision")
    recorded = decisions.record(db, written, at)
    faultpoint("promote.after_decision")
    return decisions.get(db, recorded)


def move_champion(db: Database, *, decision_id: int, day: date, at: datetime) -> Move:
    """Carry out a decision: make its candidate the champion from market day `day`, if it says so.

    FAIL, HOLD, a missing approval and a refused one leave the champion as it is. The same decision again has
    no second effect and gives the same answer, also when a later decision moved the champion since.

    Raises:
        UsageError: there is no such decision.
        StaleGeneration: another decision moved the champion first, or it is not where it was moved to.
        PermanentError: `day` lies before the first day of the present champion.
    """
    decision = decisions.get(db, decision_id)
    if (why_not := obstacle(db, decision)) is not None:
        return Move(moved=False, reason=why_not, champion=champion.current(db, decision.market))
    faultpoint("promote.before_move")
    moved = champion.move(
        db,
        decision.market,
        digest=decision.candidate,
        expected_generation=decision.generation,
        decision_id=decision_id,
        day=day,
        at=at,
    )
    faultpoint("promote.after_move")
    return _verified(db, decision, moved)


def obstacle(db: Database, decision: Decision) -> str | None:
    """Why the decision moves nothing; None when it may, or did."""
    live = champion.current(db, decision.market)
    kept_out = bars.barred(db, decision.market, decision.candidate)
    if kept_out is not None and not (live and live.decision_id == decision.id):
        about = "nothing moves by itself" if kept_out.is_freeze else "the candidate is barred"
        return f"{about}: {kept_out.reason} (a person lifts it with: bidwright bars lift)"
    if decision.verdict is not Verdict.PASS:
        gates = [
            f"{gate['gate']} {gate['verdict']}"
            for gate in decision.gates
            if gate["verdict"] != Verdict.PASS and "waived" not in gate
        ]
        return f"the verdict is {decision.verdict}: {', '.join(gates) or 'no gate was judged'}"
    if decision.approval is None:
        return None
    answer = decision.approval.get("answer")
    if answer is None:
        return "it waits for approval: " + "; ".join(decision.approval.get("reasons", ()))
    if str(answer).casefold() != APPROVED:
        return f"{decision.approval.get('by')} answered {answer!r}"
    return None


def _verified(db: Database, decision: Decision, moved: Champion) -> Move:
    """Read the alias back: it stands where it was moved, or a later generation took over in good order."""
    now = champion.current(db, decision.market)
    if now is not None and now.generation > moved.generation:
        return Move(moved=True, reason=f"promoted to generation {moved.generation}, since followed", champion=now)
    if now is None or (now.digest, now.generation, now.decision_id) != (
        decision.candidate,
        decision.generation + 1,
        decision.id,
    ):
        raise StaleGeneration(
            f"the champion of {decision.market} is not {decision.candidate[:12]} after it was moved there",
            left=f"the ledger shows generation {now.generation if now else 0}",
            next="compare the promotions and the champion in the platform database before anything else moves",
        )
    return Move(moved=True, reason=f"promoted to generation {now.generation}", champion=now)
