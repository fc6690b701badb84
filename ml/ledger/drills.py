"""Rehearsals of rolling back and forward: when, how long they took, and whether they went well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from ml.ledger.database import Store, reading, writing
from ml.ledger.rollout_tables import DrillRow


@dataclass(frozen=True)
class Drill:
    """One rehearsal; `details` is small JSON, `took_ms` the time of one way."""

    market: str
    at: datetime
    took_ms: int
    ok: bool
    details: Mapping[str, Any]


def record(store: Store, drill: Drill) -> None:
    """Write a rehearsal."""
    with writing(store) as session:
        session.add(
            DrillRow(
                market=drill.market,
                drilled_at=drill.at,
                took_ms=drill.took_ms,
                ok=drill.ok,
                details=dict(drill.details),
            )
        )


def last_drill(store: Store, market: str) -> Drill | None:
    """The last rehearsal, well or not; None where there was none."""
    query = select(DrillRow).where(DrillRow.market == market).order_by(DrillRow.id.desc()).limit(1)
    with reading(store) as session:
        row = session.scalars(query).first()
        return None if row is None else Drill(row.market, row.drilled_at, row.took_ms, row.ok, row.details)
