"""Gate decisions with every number they rest on; written before anything moves, and never rewritten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from ml.core.digests import Digest
from ml.core.errors import UsageError
from ml.core.verdict import Verdict
from ml.ledger import versions
from ml.ledger.database import Store, reading, writing
from ml.ledger.sql import insert, lock_key
from ml.ledger.tables import DecisionRow

APPROVED = "approve"
"""The answer that lets a promotion go on, in any case of letters; every other one stops it."""
PROMOTION = "promotion"
ROLLBACK = "rollback"


@dataclass(frozen=True)
class Decision:
    """Whether `candidate` may replace `champion`, which stood at `generation` (0 and None: no champion yet).

    `gates` is one JSON mapping per gate; `approval` is None where no person was asked, else what was asked and,
    once given, `answer`, `by` and `at`. `id` and `recorded_at` are filled in by the ledger. `kind` tells a rollback,
    whose candidate was champion before, from a promotion.
    """

    market: str
    day: date
    candidate: Digest
    champion: Digest | None
    generation: int
    verdict: Verdict
    gates: Sequence[Mapping[str, Any]]
    policy_digest: Digest
    approval: Mapping[str, Any] | None
    id: int | None = None
    recorded_at: datetime | None = None
    kind: str = PROMOTION


def record(store: Store, decision: Decision, at: datetime) -> int:
    """Write a decision and return its id.

    A second one for the same market, day, candidate and generation changes nothing and returns the id of the
    first: what a retry computed does not rewrite what was decided. Read the verdict back with `get`.

    Raises:
        UsageError: the candidate is not a registered version.
    """
    key = {
        "market": decision.market,
        "day": decision.day,
        "candidate": decision.candidate,
        "generation": decision.generation,
    }
    with writing(store) as session:
        if versions.get(session, decision.market, decision.candidate) is None:
            raise UsageError(
                f"the candidate {decision.candidate[:12]} is not a registered version of {decision.market}",
                left="no decision was written",
                next="register it first",
            )
        statement = insert(session, DecisionRow).values(
            **key,
            champion=decision.champion,
            verdict=decision.verdict.value,
            gates=[dict(gate) for gate in decision.gates],
            policy_digest=decision.policy_digest,
            approval=None if decision.approval is None else dict(decision.approval),
            recorded_at=at,
            kind=decision.kind,
        )
        session.execute(statement.on_conflict_do_nothing(index_elements=list(key)))
        return session.scalars(select(DecisionRow.id).filter_by(**key)).one()


def get(store: Store, decision_id: int) -> Decision:
    """A decision as it was written. UsageError when there is none with this id."""
    with reading(store) as session:
        return _decision(_row(session, decision_id))


def for_version(store: Store, market: str, digest: Digest) -> list[Decision]:
    """Every decision about a version, oldest first."""
    query = (
        select(DecisionRow)
        .where(DecisionRow.market == market, DecisionRow.candidate == digest)
        .order_by(DecisionRow.id)
    )
    with reading(store) as session:
        return [_decision(row) for row in session.scalars(query)]


def latest(store: Store, market: str, n: int) -> list[Decision]:
    """The last `n` decisions, newest first."""
    query = select(DecisionRow).where(DecisionRow.market == market).order_by(DecisionRow.id.desc()).limit(n)
    with reading(store) as session:
        return [_decision(row) for row in session.scalars(query)]


def summaries(store: Store, market: str, n: int) -> list[Decision]:
    """The last `n` decisions, newest first, without their gates: these are large, and a list needs none of them."""
    columns = [column for column in DecisionRow.__table__.columns if column.name != "gates"]
    query = select(*columns).where(DecisionRow.market == market).order_by(DecisionRow.id.desc()).limit(n)
    with reading(store) as session:
        return [_decision(row, gates=()) for row in session.execute(query)]


def last_look(store: Store, market: str, *, generation: int, day: date, candidate: Digest) -> date | None:
    """The last market day on which any candidate was held against the champion of a generation, but for this candidate on `day`."""
    query = select(func.max(DecisionRow.day)).where(
        DecisionRow.market == market,
        DecisionRow.generation == generation,
        or_(DecisionRow.day < day, and_(DecisionRow.day == day, DecisionRow.candidate != candidate)),
    )
    with reading(store) as session:
        return session.scalars(query).one()


def refusals(store: Store, market: str, digest: Digest) -> list[Decision]:
    """Decisions about a version that were answered with anything but "approve", oldest first; silence was an answer too."""
    return [
        decision
        for decision in for_version(store, market, digest)
        if decision.approval is not None and str(decision.approval.get("answer", APPROVED)).casefold() != APPROVED
    ]


def record_approval(store: Store, decision_id: int, *, answer: str, by: str, at: datetime) -> None:
    """Add a person's answer to a decision. The same answer again changes nothing.

    Raises:
        UsageError: no such decision, or it was answered otherwise already.
    """
    with writing(store) as session:
        lock_key(session, "approval", str(decision_id))
        row = _row(session, decision_id)
        asked = dict(row.approval or {})
        if asked.get("answer") not in (None, answer):
            raise UsageError(
                f"decision {decision_id} was answered {asked['answer']!r} by {asked['by']} already",
                left="that answer stands",
                next="judge the candidate again for another answer",
            )
        if "answer" not in asked:
            row.approval = {**asked, "answer": answer, "by": by, "at": at.isoformat()}


def _row(session: Session, decision_id: int) -> DecisionRow:
    row = session.get(DecisionRow, decision_id, populate_existing=True)
    if row is None:
        raise UsageError(f"there is no decision {decision_id}", next="list them with: bidwright status")
    return row


def _decision(row: Any, gates: Sequence[Mapping[str, Any]] | None = None) -> Decision:
    return Decision(
        market=row.market,
        day=row.day,
        candidate=Digest(row.candidate),
        champion=None if row.champion is None else Digest(row.champion),
        generation=row.generation,
        verdict=Verdict(row.verdict),
        gates=row.gates if gates is None else gates,
        policy_digest=Digest(row.policy_digest),
        approval=row.approval,
        id=row.id,
        recorded_at=row.recorded_at,
        kind=row.kind,
    )
