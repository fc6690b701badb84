"""Take a champion back: the alias returns to an earlier bundle, as a new generation with a decision of its own.

Decision, move, bar and record are one transaction. A rollback names the generation that it takes back, so that the same
one again, by a retry or by a second person, changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from ml.core.errors import PermanentError, StaleGeneration, UsageError
from ml.core.faultpoints import faultpoint
from ml.core.verdict import Verdict
from ml.ledger import bars, champion, decisions, rollbacks, rollouts
from ml.ledger.bars import Bar
from ml.ledger.champion import Champion
from ml.ledger.decisions import ROLLBACK, Decision
from ml.ledger.rollbacks import Rollback
from ml.promotion.ramp import RampPolicy
from ml.promotion.rollout import freeze_if_often

if TYPE_CHECKING:
    from ml.ledger.database import Store, Transaction

_LEFT = "the champion is unchanged"


@dataclass(frozen=True)
class RolledBack:
    """What became of a wish to roll back. `done`: whether this call did it, or found it done.

    `rollback` is the record; `freeze` the freeze that it led to.
    """

    done: bool
    rollback: Rollback
    freeze: Bar | None = None


def roll_back(
    session: Transaction,
    market: str,
    *,
    from_generation: int,
    to_generation: int | None = None,
    why: str,
    by: str,
    automatic: bool = False,
    day: date,
    policy: RampPolicy,
    bar: bool = True,
    at: datetime,
) -> RolledBack:
    """Restore an earlier bundle in place of the champion of a generation; in the caller's transaction.

    Args:
        session: a transaction that may write.
        market: name of the market.
        from_generation: the champion that is taken back.
        to_generation: whose bundle is restored; None for the newest other bundle before it that is not barred.
        why: the reason, kept in the decision.
        by: who.
        automatic: whether no person wished it.
        day: market day from which the restored bundle counts, unless the champion's own is later.
        policy: how many automatic rollbacks are allowed.
        bar: whether the failed bundle is barred.
        at: the present instant.

    Raises:
        UsageError: nobody or no reason is given, there is no champion, or no such generation to restore.
        StaleGeneration: the champion is another by now, and this one was not rolled back.
        PermanentError: there is nothing to go back to, or it is barred.
    """
    if not (by.strip() and why.strip()):
        raise UsageError("a rollback needs to know who and why", left=_LEFT, next="give a name and a reason")
    faultpoint("rollback.before")
    rollbacks.lock(session, market)
    if (before := rollbacks.of_champion(session, market, from_generation)) is not None:
        return RolledBack(False, before)
    live = champion.current(session, market)
    if live is None or live.generation != from_generation:
        now = f"generation {live.generation}" if live else "none yet"
        raise StaleGeneration(
            f"the champion of {market} is {now}, not generation {from_generation}",
            left="nothing was rolled back",
            next="look at it again: bidwright status",
        )
    target = _target(session, market, live, to_generation)
    decision_id = _decide(session, live, target, why=why, by=by, day=max(day, live.since), policy=policy, at=at)
    faultpoint("rollback.in_decision")
    moved = champion.move(
        session,
        market,
        digest=target.digest,
        expected_generation=from_generation,
        decision_id=decision_id,
        day=max(day, live.since),
        at=at,
    )
    faultpoint("rollback.in_move")
    record = rollbacks.write(
        session, market=market, decision_id=decision_id, from_generation=from_generation,
        to_generation=moved.generation, failed=live.digest, restored=target.digest, automatic=automatic, by=by,
        why=why, at=at,
    )  # fmt: skip
    if bar:
        bars.bar(session, market, live.digest, f"rolled back: {why}", by, at)
    faultpoint("rollback.in_bar")
    return RolledBack(True, record, freeze_if_often(session, market, policy, at, automatic=automatic))


def verify(store: Store, done: Rollback) -> Champion:
    """Read the alias back after the transaction. StaleGeneration where it is neither there nor further on."""
    now = champion.current(store, done.market)
    if (
        now is None
        or now.generation < done.to_generation
        or (now.generation == done.to_generation and now.digest != done.restored)
    ):
        raise StaleGeneration(
            f"the champion of {done.market} is not {done.restored[:12]} after it was rolled back to it",
            left=f"the ledger shows generation {now.generation if now else 0}",
            next="compare the promotions and the champion in the platform database before anything else moves",
        )
    return now


def as_json(rollback: Rollback) -> dict[str, Any]:
    """A rollback for people and programs."""
    return {
        "what": "canary" if rollback.rollout_id is not None else "champion",
        "from_generation": rollback.from_generation,
        "to_generation": rollback.to_generation,
        "failed": rollback.failed,
        "restored": rollback.restored,
        "automatic": rollback.automatic,
        "by": rollback.by,
        "why": rollback.why,
        "at": rollback.at.isoformat(),
        "decision_id": rollback.decision_id,
        "rollout_id": rollback.rollout_id,
    }


def _target(session: Transaction, market: str, live: Champion, to_generation: int | None) -> Champion:
    if to_generation is None:
        found = rollouts.restorable(session, market, live)
        if found is None:
            raise PermanentError(
                f"there is no earlier champion of {market} to go back to that is not barred",
                left=_LEFT,
                next="stop the bids with: bidwright kill-switch pull --level 3, or lift a bar: bidwright bars list",
            )
        return found
    found = next((one for one in champion.history(session, market) if one.generation == to_generation), None)
    if found is None or found.digest == live.digest:
        raise UsageError(
            f"generation {to_generation} is no other champion that {market} had",
            left=_LEFT,
            next="list them with: bidwright status",
        )
    kept_out = bars.barred(session, market, found.digest)
    if kept_out is not None and not kept_out.is_freeze:
        raise PermanentError(
            f"the bundle of generation {to_generation} is barred: {kept_out.reason}",
            left=_LEFT,
            next=f"lift it first: bidwright bars lift {found.digest[:12]}",
        )
    return found


def _decide(
    session: Transaction,
    live: Champion,
    target: Champion,
    *,
    why: str,
    by: str,
    day: date,
    policy: RampPolicy,
    at: datetime,
) -> int:
    """The decision that justifies the move; of its own kind, with who and why for a gate."""
    reason = f"{by} restores generation {target.generation} ({target.digest[:12]}): {why}"
    written = Decision(
        market=live.market,
        day=day,
        candidate=target.digest,
        champion=live.digest,
        generation=live.generation,
        verdict=Verdict.PASS,
        gates=[{"gate": "rollback", "verdict": Verdict.PASS.value, "reason": reason, "number": None}],
        policy_digest=policy.digest(),
        approval=None,
        kind=ROLLBACK,
    )
    return decisions.record(session, written, at)
