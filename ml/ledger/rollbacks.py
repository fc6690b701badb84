"""What was rolled back: canaries that were stopped, and champions that were taken back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from ml.core.digests import Digest
from ml.ledger.database import Store, reading
from ml.ledger.rollout_tables import RollbackRow
from ml.ledger.sql import lock_key


@dataclass(frozen=True)
class Rollback:
    """A rollback. Of a canary: `rollout_id`, and both generations are the champion's; of a champion: `decision_id`.

    Attributes:
        failed: the digest that no longer answers.
        restored: the digest that answers in its place.
        automatic: whether the judge did it, and no person.
    """

    id: int
    market: str
    rollout_id: int | None
    decision_id: int | None
    from_generation: int
    to_generation: int
    failed: Digest
    restored: Digest
    automatic: bool
    by: str
    why: str
    at: datetime


def lock(session: Session, market: str) -> None:
    """Let one rollback of a market at a time look whether it was done before; a unique constraint stands behind it."""
    lock_key(session, "rollback", market)


def write(
    session: Session,
    *,
    market: str,
    rollout_id: int | None = None,
    decision_id: int | None = None,
    from_generation: int,
    to_generation: int,
    failed: Digest,
    restored: Digest,
    automatic: bool,
    by: str,
    why: str,
    at: datetime,
) -> Rollback:
    """Write a rollback, in the transaction that carries it out."""
    row = RollbackRow(
        market=market, rollout_id=rollout_id, decision_id=decision_id, from_generation=from_generation,
        to_generation=to_generation, failed=failed, restored=restored, automatic=automatic, rolled_back_by=by,
        why=why, rolled_back_at=at,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return _rollback(row)


def newest(store: Store, market: str, n: int) -> list[Rollback]:
    """The last `n` rollbacks, newest first."""
    with reading(store) as session:
        return [_rollback(row) for row in session.scalars(_of(market).order_by(RollbackRow.id.desc()).limit(n))]


def last(store: Store, market: str) -> Rollback | None:
    """The last rollback; None where there was none."""
    return next(iter(newest(store, market, 1)), None)


def of_champion(store: Store, market: str, from_generation: int) -> Rollback | None:
    """The rollback that took a generation of the champion back; None where none did."""
    query = _of(market).where(RollbackRow.from_generation == from_generation, RollbackRow.decision_id.is_not(None))
    with reading(store) as session:
        row = session.scalars(query).first()
        return None if row is None else _rollback(row)


def count_automatic(store: Store, market: str, *, since: datetime) -> int:
    """How many rollbacks the judge did since an instant."""
    query = select(func.count()).where(
        RollbackRow.market == market, RollbackRow.automatic, RollbackRow.rolled_back_at > since
    )
    with reading(store) as session:
        return int(session.scalar(query) or 0)


def _of(market: str) -> Select[RollbackRow]:
    return select(RollbackRow).where(RollbackRow.market == market)


def _rollback(row: RollbackRow) -> Rollback:
    return Rollback(
        id=row.id,
        market=row.market,
        rollout_id=row.rollout_id,
        decision_id=row.decision_id,
        from_generation=row.from_generation,
        to_generation=row.to_generation,
        failed=Digest(row.failed),
        restored=Digest(row.restored),
        automatic=row.automatic,
        by=row.rolled_back_by,
        why=row.why,
        at=row.rolled_back_at,
    )
