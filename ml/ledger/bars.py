"""Bundles that are not offered again until a person says so, and markets in which nothing is (a freeze)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from ml.core.digests import Digest
from ml.core.errors import PermanentError, UsageError
from ml.ledger.database import Store, reading, writing
from ml.ledger.rollout_tables import BarRow
from ml.ledger.sql import lock_key

EVERYTHING: Final = Digest("*")
"""In place of a digest: no candidate of the market moves by itself. What is live stays live."""


@dataclass(frozen=True)
class Bar:
    """A bar: what it is about, why, and who set it; `lifted_at` is None while it stands, and then the rest is empty."""

    id: int
    market: str
    digest: Digest
    reason: str
    by: str
    at: datetime
    lifted_at: datetime | None
    lifted_by: str
    lifted_why: str

    @property
    def is_freeze(self) -> bool:
        """Whether it bars every candidate of the market."""
        return self.digest == EVERYTHING


def bar(store: Store, market: str, digest: Digest, reason: str, by: str, at: datetime) -> Bar:
    """Let a bar stand and return it; one that stands already stays as it is, with its first reason.

    Raises:
        UsageError: `by` or `reason` is empty.
    """
    _explained(by, reason)
    with writing(store) as session:
        lock(session, market, digest)
        row = _standing_row(session, market, digest)
        if row is None:
            row = BarRow(
                market=market, digest=digest, reason=reason, barred_by=by, barred_at=at,
                lifted_at=None, lifted_by="", lifted_why="",
            )  # fmt: skip
            session.add(row)
            session.flush()
        return _bar(row)


def lock(session: Session, market: str, digest: Digest) -> None:
    """Let a candidate be barred before or after the caller's transaction, not during it."""
    lock_key(session, "bar", market, digest)
    if digest != EVERYTHING:
        lock_key(session, "bar", market, EVERYTHING)


def barred(store: Store, market: str, digest: Digest) -> Bar | None:
    """The bar that keeps a candidate from being offered: its own, else the market's freeze; None where it may be."""
    with reading(store) as session:
        row = _standing_row(session, market, digest) or _standing_row(session, market, EVERYTHING)
        return None if row is None else _bar(row)


def refuse_barred(store: Store, market: str, digest: Digest) -> None:
    """PermanentError where a candidate itself is barred: it is not offered again until a person lifts that."""
    found = barred(store, market, digest)
    if found is not None and not found.is_freeze:
        raise PermanentError(
            f"candidate {digest[:12]} is barred by {found.by}: {found.reason}",
            left="it is not judged again, and the champion stays",
            next=f'lift the bar: bidwright bars lift {digest[:12]} --why "..."',
        )


def frozen(store: Store, market: str) -> Bar | None:
    """The freeze of a market; None where there is none."""
    with reading(store) as session:
        row = _standing_row(session, market, EVERYTHING)
        return None if row is None else _bar(row)


def lift(store: Store, market: str, digest: Digest, *, why: str, by: str, at: datetime) -> Bar | None:
    """Lift a bar for good; None where none stands. UsageError as `bar`."""
    _explained(by, why)
    with writing(store) as session:
        lock_key(session, "bar", market, digest)
        row = _standing_row(session, market, digest)
        if row is None:
            return None
        row.lifted_at, row.lifted_by, row.lifted_why = at, by, why
        session.flush()
        return _bar(row)


def standing(store: Store, market: str) -> list[Bar]:
    """The bars that stand, oldest first."""
    with reading(store) as session:
        query = _of(market).where(BarRow.lifted_at.is_(None)).order_by(BarRow.id)
        return [_bar(row) for row in session.scalars(query)]


def history(store: Store, market: str, n: int) -> list[Bar]:
    """The last `n` bars, lifted or not, newest first."""
    with reading(store) as session:
        return [_bar(row) for row in session.scalars(_of(market).order_by(BarRow.id.desc()).limit(n))]


def _of(market: str) -> Select[BarRow]:
    return select(BarRow).where(BarRow.market == market)


def _standing_row(session: Session, market: str, digest: Digest) -> BarRow | None:
    return session.scalars(_of(market).where(BarRow.digest == digest, BarRow.lifted_at.is_(None))).first()


def _explained(by: str, why: str) -> None:
    if not (by.strip() and why.strip()):
        raise UsageError("a bar needs to know who and why", left="nothing was changed", next="give a name and a reason")


def _bar(row: BarRow) -> Bar:
    return Bar(
        id=row.id,
        market=row.market,
        digest=Digest(row.digest),
        reason=row.reason,
        by=row.barred_by,
        at=row.barred_at,
        lifted_at=row.lifted_at,
        lifted_by=row.lifted_by,
        lifted_why=row.lifted_why,
    )
