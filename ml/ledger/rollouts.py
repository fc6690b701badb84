"""Rollouts: candidates on their way to be champion, and what a bid service has to serve.

A rollout is changed by compare-and-set on its revision; each change of its state, step or analysis leaves an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Final, Literal, cast

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from ml.core.digests import Digest
from ml.core.errors import PermanentError, StaleGeneration, UsageError
from ml.ledger import bars, champion, decisions
from ml.ledger.database import Store, reading, writing
from ml.ledger.rollout_tables import RolloutEventRow, RolloutMeasureRow, RolloutRow
from ml.ledger.sql import insert, upsert, wrote

State = Literal["queued", "shadow", "canary", "promoted", "rolled_back", "superseded"]
ACTIVE: Final[frozenset[State]] = frozenset({"shadow", "canary"})
ENDED: Final[frozenset[State]] = frozenset({"promoted", "rolled_back", "superseded"})


@dataclass(frozen=True)
class Rollout:
    """One candidate on its way.

    Attributes:
        first_decision_id: the decision that began it; one rollout for each.
        decision_id: the decision that it rests on now: a later one, where the champion moved in between.
        day: market day of the decision.
        state: queued, shadow (scores requests and answers none), canary (answers its share), or how it ended.
        step: place in the ramp, from 0.
        analysis: counts every step and restart: what was counted before is not mixed with what is counted now.
        generation: of the champion that it is compared with.
        revision: grows with every write; a write names the one that it saw.
        salt: of the split.
        baseline_share: share of keys of the champion loaded afresh.
        canary_share: share of keys of the candidate; in state shadow it scores these and answers none.
        watched_ms: how long this step was watched: time between ticks that came as expected.
        held_ms: for how long, without a break, the judge could not tell.
        reason: of the last change.
        judgement: of the last tick, as JSON.
    """

    id: int
    market: str
    candidate: Digest
    first_decision_id: int
    decision_id: int
    day: date
    state: State
    step: int
    analysis: int
    generation: int
    revision: int
    salt: str
    baseline_share: float
    canary_share: float
    policy_digest: Digest
    watched_ms: int
    held_ms: int
    reason: str
    judgement: Any
    began_at: datetime
    ticked_at: datetime

    @property
    def is_active(self) -> bool:
        """Whether it is in front of traffic."""
        return self.state in ACTIVE

    @property
    def is_over(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.state in ENDED


@dataclass(frozen=True)
class Serving:
    """What a bid service has to serve, read in one transaction.

    Attributes:
        champion: what answers stable and baseline requests; None before the first promotion.
        previous: what a rollback would restore, to be kept warm; None where there is nothing.
        rollout: the one in front of traffic; None where there is none.
    """

    champion: champion.Champion | None
    previous: Digest | None
    rollout: Rollout | None


@dataclass(frozen=True)
class Event:
    """A change of a rollout, as it was after it."""

    revision: int
    state: State
    step: int
    analysis: int
    generation: int
    reason: str
    judgement: Any
    at: datetime


def enqueue(store: Store, *, decision_id: int, policy_digest: Digest, at: datetime) -> Rollout:
    """Let the candidate of a decision wait for its turn. The same decision again returns its rollout as it stands.

    Candidates of the market that still wait are superseded: the newest is the one worth trying.

    Raises:
        PermanentError: the decision has moved the champion already; there is nothing left to try.
    """
    with writing(store) as session:
        decision = decisions.get(session, decision_id)
        values = {
            "market": decision.market, "candidate": decision.candidate, "first_decision_id": decision_id,
            "decision_id": decision_id, "day": decision.day, "state": "queued", "step": 0, "analysis": 0,
            "generation": decision.generation, "revision": 1, "salt": f"{decision.market}/{decision_id}",
            "baseline_share": 0.0, "canary_share": 0.0, "policy_digest": policy_digest, "watched_ms": 0, "held_ms": 0,
            "reason": "waits for its turn", "judgement": None, "began_at": at, "ticked_at": at,
        }  # fmt: skip
        key = ["market", "candidate", "first_decision_id"]
        added = wrote_new(session, values, key)
        query = select(RolloutRow).where(RolloutRow.first_decision_id == decision_id)
        rollout = _rollout(session.scalars(query).one())
        if added:
            if champion.moved_by(session, decision_id) is not None:
                raise PermanentError(
                    f"decision {decision_id} made {decision.candidate[:12]} champion of {decision.market} already",
                    left="no rollout was begun",
                    next="judge the candidate again if it is to be tried once more: bidwright promote --day "
                    f"{decision.day.isoformat()}",
                )
            _event(session, rollout, at)
            for other in queued(session, decision.market):
                if other.id != rollout.id:
                    change(session, other, at=at, state="superseded", reason=f"rollout {rollout.id} is newer")
        return rollout


def wrote_new(session: Session, values: Mapping[str, Any], key: list[str]) -> bool:
    """Insert a rollout unless it is there; whether it was inserted."""
    return wrote(session, insert(session, RolloutRow).values(**values).on_conflict_do_nothing(index_elements=key))


def change(session: Session, seen: Rollout, *, at: datetime, **values: Any) -> Rollout:
    """Write over a rollout that is still as it was seen; leaves an event where state, step or analysis change.

    Raises:
        StaleGeneration: somebody else changed it first; the caller's transaction ends, and nothing of it happened.
    """
    statement = (
        update(RolloutRow)
        .where(RolloutRow.id == seen.id, RolloutRow.revision == seen.revision)
        .values(revision=seen.revision + 1, ticked_at=at, **values)
    )
    if not wrote(session, statement):
        raise StaleGeneration(
            f"rollout {seen.id} is no longer at revision {seen.revision}",
            left="what the other one did stands, and nothing was done twice",
            next="read it again: bidwright rollout status",
        )
    now = get(session, seen.id)
    if (now.state, now.step, now.analysis) != (seen.state, seen.step, seen.analysis):
        _event(session, now, at)
    return now


def get(store: Store, rollout_id: int) -> Rollout:
    """A rollout by its id. UsageError where there is none."""
    with reading(store) as session:
        row = session.get(RolloutRow, rollout_id, populate_existing=True)
        if row is None:
            raise UsageError(f"there is no rollout {rollout_id}", next="list them with: bidwright rollout status")
        return _rollout(row)


def of_decision(store: Store, decision_id: int) -> Rollout | None:
    """The rollout that a decision began; None where it began none."""
    query = select(RolloutRow).where(RolloutRow.first_decision_id == decision_id)
    return next(iter(_listed(store, query)), None)


def active(store: Store, market: str) -> Rollout | None:
    """The rollout in front of traffic; None where there is none."""
    return next(iter(_listed(store, _of(market).where(RolloutRow.state.in_(sorted(ACTIVE))))), None)


def queued(store: Store, market: str) -> list[Rollout]:
    """The rollouts that wait, oldest first."""
    return _listed(store, _of(market).where(RolloutRow.state == "queued").order_by(RolloutRow.id))


def newest(store: Store, market: str, n: int) -> list[Rollout]:
    """The last `n` rollouts, newest first."""
    return _listed(store, _of(market).order_by(RolloutRow.id.desc()).limit(n))


def events(store: Store, rollout_id: int) -> list[Event]:
    """What happened to a rollout, oldest first."""
    query = select(RolloutEventRow).where(RolloutEventRow.rollout_id == rollout_id).order_by(RolloutEventRow.revision)
    with reading(store) as session:
        return [
            Event(
                row.revision, cast(State, row.state), row.step, row.analysis, row.generation, row.reason,
                row.judgement, row.at,
            )
            for row in session.scalars(query)
        ]  # fmt: skip


def serving(store: Store, market: str) -> Serving:
    """What a bid service has to serve now."""
    with reading(store) as session:
        live = champion.current(session, market)
        target = None if live is None else restorable(session, market, live)
        return Serving(live, target.digest if target else None, active(session, market))


def restorable(store: Store, market: str, live: champion.Champion) -> champion.Champion | None:
    """The newest champion before this one that is another bundle and is not barred; None where there is none."""
    with reading(store) as session:
        kept_out = {one.digest for one in bars.standing(session, market)}
        former = [one for one in champion.history(session, market) if one.generation < live.generation]
        good = [one for one in former if one.digest != live.digest and one.digest not in kept_out]
        return good[-1] if good else None


def measure(store: Store, rollout: Rollout, measures: Mapping[str, Any], at: datetime) -> None:
    """Write what matured outcomes say of a rollout's present analysis, over what was said before."""
    key = {"rollout_id": rollout.id, "analysis": rollout.analysis}
    with writing(store) as session:
        upsert(session, RolloutMeasureRow, key, {"measures": dict(measures), "measured_at": at})


def measures(store: Store, rollout: Rollout) -> tuple[Mapping[str, Any], datetime] | None:
    """What matured outcomes say of the present analysis, and since when; None where nothing is known."""
    with reading(store) as session:
        row = session.get(RolloutMeasureRow, (rollout.id, rollout.analysis), populate_existing=True)
        return None if row is None else (row.measures, row.measured_at)


def as_json(rollout: Rollout) -> dict[str, Any]:
    """A rollout for people and programs."""
    plain = asdict(rollout)
    return plain | {name: plain[name].isoformat() for name in ("day", "began_at", "ticked_at")}


def _of(market: str) -> Select[RolloutRow]:
    return select(RolloutRow).where(RolloutRow.market == market)


def _listed(store: Store, query: Select[RolloutRow]) -> list[Rollout]:
    with reading(store) as session:
        return [_rollout(row) for row in session.scalars(query)]


def _event(session: Session, now: Rollout, at: datetime) -> None:
    session.add(
        RolloutEventRow(
            rollout_id=now.id, revision=now.revision, state=now.state, step=now.step, analysis=now.analysis,
            generation=now.generation, reason=now.reason, judgement=now.judgement, at=at,
        )
    )  # fmt: skip
    session.flush()


def _rollout(row: RolloutRow) -> Rollout:
    return Rollout(
        id=row.id,
        market=row.market,
        candidate=Digest(row.candidate),
        first_decision_id=row.first_decision_id,
        decision_id=row.decision_id,
        day=row.day,
        state=cast(State, row.state),
        step=row.step,
        analysis=row.analysis,
        generation=row.generation,
        revision=row.revision,
        salt=row.salt,
        baseline_share=row.baseline_share,
        canary_share=row.canary_share,
        policy_digest=Digest(row.policy_digest),
        watched_ms=row.watched_ms,
        held_ms=row.held_ms,
        reason=row.reason,
        judgement=row.judgement,
        began_at=row.began_at,
        ticked_at=row.ticked_at,
    )
