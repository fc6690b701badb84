"""What was done for the platform itself: backups, restores, clean-ups, and the code it was deployed with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import select

from ml.ledger.database import Store, reading, writing
from ml.ledger.upkeep_tables import UpkeepRow

Kind = Literal["backup", "restore", "clean_up", "deployed"]

EVERY_MARKET = ""
"""Stands where a market's name would for what is done for the whole platform."""


@dataclass(frozen=True)
class Upkeep:
    """One thing that was done; `result` is small JSON. `market` is `EVERY_MARKET` for the whole platform."""

    kind: Kind
    market: str
    at: datetime
    result: Mapping[str, Any]


def record(store: Store, done: Upkeep) -> None:
    """Write what was done."""
    with writing(store) as session:
        session.add(UpkeepRow(kind=done.kind, market=done.market, done_at=done.at, result=dict(done.result)))


def last(store: Store, kind: Kind, market: str = EVERY_MARKET) -> Upkeep | None:
    """The last of its kind; None where there was none."""
    query = (
        select(UpkeepRow)
        .where(UpkeepRow.kind == kind, UpkeepRow.market == market)
        .order_by(UpkeepRow.id.desc())
        .limit(1)
    )
    with reading(store) as session:
        row = session.scalars(query).first()
        return None if row is None else Upkeep(cast(Kind, row.kind), row.market, row.done_at, row.result)
