"""Kill switches: who stopped which bids, why, and who let them go again. At most one stands for a market and scope."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from ml.core.errors import UsageError
from ml.ledger.database import Store, reading, writing
from ml.ledger.sql import lock_key
from ml.ledger.tables import SwitchRow

EVERYWHERE = "everywhere"


@dataclass(frozen=True)
class Scope:
    """Where a switch holds: at a partner, in a travel market (point of sale), or both; empty text is all of them."""

    partner: str = ""
    point_of_sale: str = ""

    def __str__(self) -> str:
        at = [f"at {self.partner}"] if self.partner else []
        return " ".join([*at, *([f"in {self.point_of_sale}"] if self.point_of_sale else [])]) or EVERYWHERE


@dataclass(frozen=True)
class Switch:
    """A kill switch: its level (0 to 3), where it holds, the market `day` whose bids it changed first, who and why.

    `released_at` is None while it stands; `released_by` and `released_why` are then empty.
    """

    id: int
    market: str
    scope: Scope
    level: int
    day: date
    why: str
    set_by: str
    set_at: datetime
    released_at: datetime | None
    released_by: str
    released_why: str

    @property
    def is_active(self) -> bool:
        """Whether nobody released it yet."""
        return self.released_at is None


def pull(
    store: Store, market: str, scope: Scope, *, level: int, day: date, why: str, by: str, at: datetime
) -> tuple[Switch, bool]:
    """Let a switch stand; the second value is True when this call set it.

    The level that stands already is left as it is, so that a retry is harmless; another level takes its place, and
    the former one is released in the same transaction.

    Raises:
        UsageError: `by` or `why` is empty: a switch that nobody can be asked about is not set.
    """
    explained(by, why)
    with writing(store) as session:
        lock_key(session, "switch", market, scope.partner, scope.point_of_sale)
        former = _active_row(session, market, scope)
        if former is not None and former.level == level:
            return _switch(former), False
        if former is not None:
            _release(former, by=by, why=f"replaced by level {level}: {why}", at=at)
            session.flush()
        row = SwitchRow(
            market=market, partner=scope.partner, point_of_sale=scope.point_of_sale, level=level, day=day, why=why,
            set_by=by, set_at=at, released_at=None, released_by="", released_why="",
        )  # fmt: skip
        session.add(row)
        session.flush()
        return _switch(row), True


def release(store: Store, market: str, scope: Scope, *, why: str, by: str, at: datetime) -> Switch | None:
    """Let the switch of exactly this scope go; None when none stands. Raises as `pull`."""
    explained(by, why)
    with writing(store) as session:
        lock_key(session, "switch", market, scope.partner, scope.point_of_sale)
        row = _active_row(session, market, scope)
        if row is None:
            return None
        _release(row, by=by, why=why, at=at)
        session.flush()
        return _switch(row)


def active(store: Store, market: str) -> list[Switch]:
    """The switches that stand in a market, oldest first."""
    return _listed(store, _of(market).where(SwitchRow.released_at.is_(None)).order_by(SwitchRow.id))


def history(store: Store, market: str, n: int) -> list[Switch]:
    """The last `n` switches of a market, released or not, newest first."""
    return _listed(store, _of(market).order_by(SwitchRow.id.desc()).limit(n))


def explained(by: str, why: str) -> None:
    """UsageError where nobody, or no reason, is given."""
    if not (by.strip() and why.strip()):
        raise UsageError(
            "a kill switch needs to know who and why", left="nothing was changed", next="give a name and a reason"
        )


def _release(row: SwitchRow, *, by: str, why: str, at: datetime) -> None:
    row.released_at, row.released_by, row.released_why = at, by, why


def _of(market: str) -> Select[SwitchRow]:
    return select(SwitchRow).where(SwitchRow.market == market)


def _active_row(session: Session, market: str, scope: Scope) -> SwitchRow | None:
    query = _of(market).where(
        SwitchRow.partner == scope.partner,
        SwitchRow.point_of_sale == scope.point_of_sale,
        SwitchRow.released_at.is_(None),
    )
    return session.scalars(query).first()


def _listed(store: Store, query: Select[SwitchRow]) -> list[Switch]:
    with reading(store) as session:
        return [_switch(row) for row in session.scalars(query)]


def _switch(row: SwitchRow) -> Switch:
    return Switch(
        id=row.id,
        market=row.market,
        scope=Scope(row.partner, row.point_of_sale),
        level=row.level,
        day=row.day,
        why=row.why,
        set_by=row.set_by,
        set_at=row.set_at,
        released_at=row.released_at,
        released_by=row.released_by,
        released_why=row.released_why,
    )
