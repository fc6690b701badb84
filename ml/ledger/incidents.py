"""Incidents: what a person should know. At most one is open for a market and cause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, cast, get_args

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from ml.core.errors import UsageError
from ml.ledger.database import Store, reading, writing
from ml.ledger.sql import lock_key
from ml.ledger.tables import IncidentRow

Severity = Literal["critical", "warning", "info"]


@dataclass(frozen=True)
class Incident:
    """An incident: what stands (`title`, `details`, from its last report) and between which days and instants.

    `resolved_at` and `resolved_day` are None while it is open; `resolution` is then empty.
    """

    id: int
    market: str
    cause: str
    severity: Severity
    title: str
    details: Mapping[str, Any]
    first_day: date
    last_day: date
    opened_at: datetime
    updated_at: datetime
    resolved_day: date | None
    resolved_at: datetime | None
    resolution: str

    @property
    def is_open(self) -> bool:
        """Whether nothing resolved it yet."""
        return self.resolved_at is None


def raise_incident(
    store: Store,
    market: str,
    cause: str,
    *,
    day: date,
    severity: Severity,
    title: str,
    details: Mapping[str, Any],
    at: datetime,
) -> tuple[Incident, bool]:
    """Open an incident, or bring the open one of this cause up to date; the second value is True when it was opened.

    Give a session to write its mail to the outbox in the same transaction. UsageError for another severity.
    """
    if severity not in get_args(Severity):
        raise UsageError(f"{severity!r} is no severity", next="use one of " + ", ".join(get_args(Severity)))
    with writing(store) as session:
        lock_key(session, "incident", market, cause)
        row = _open_row(session, market, cause)
        opened = row is None
        if row is None:
            row = IncidentRow(
                market=market, cause=cause, first_day=day, last_day=day, opened_at=at, resolution="",
                resolved_day=None, resolved_at=None,
            )  # fmt: skip
            session.add(row)
        row.first_day, row.last_day = min(row.first_day, day), max(row.last_day, day)
        row.severity, row.title, row.details, row.updated_at = severity, title, dict(details), at
        session.flush()
        return _incident(row), opened


def resolve(store: Store, market: str, cause: str, *, day: date, at: datetime, reason: str) -> Incident | None:
    """Close the open incident of a cause and say why; None when none is open, so that a retry is harmless."""
    with writing(store) as session:
        lock_key(session, "incident", market, cause)
        row = _open_row(session, market, cause)
        if row is None:
            return None
        row.resolved_day, row.resolved_at, row.updated_at, row.resolution = day, at, at, reason
        session.flush()
        return _incident(row)


def open_incidents(store: Store, market: str) -> list[Incident]:
    """The open incidents of a market, newest first."""
    return _listed(store, _of(market).where(IncidentRow.resolved_at.is_(None)))


def open_on(store: Store, market: str, day: date) -> list[Incident]:
    """The incidents that stood open at the end of a market day, newest first: from their first day on, until resolved."""
    resolved_later = or_(IncidentRow.resolved_day.is_(None), IncidentRow.resolved_day > day)
    return _listed(store, _of(market).where(IncidentRow.first_day <= day, resolved_later))


def all_incidents(store: Store, market: str, n: int) -> list[Incident]:
    """The last `n` incidents of a market, open or resolved, newest first."""
    return _listed(store, _of(market).limit(n))


def _of(market: str) -> Select[IncidentRow]:
    return select(IncidentRow).where(IncidentRow.market == market).order_by(IncidentRow.id.desc())


def _listed(store: Store, query: Select[IncidentRow]) -> list[Incident]:
    with reading(store) as session:
        return [_incident(row) for row in session.scalars(query)]


def _open_row(session: Session, market: str, cause: str) -> IncidentRow | None:
    query = _of(market).where(IncidentRow.cause == cause, IncidentRow.resolved_at.is_(None))
    return session.scalars(query).first()


def _incident(row: IncidentRow) -> Incident:
    return Incident(
        id=row.id,
        market=row.market,
        cause=row.cause,
        severity=cast(Severity, row.severity),
        title=row.title,
        details=row.details,
        first_day=row.first_day,
        last_day=row.last_day,
        opened_at=row.opened_at,
        updated_at=row.updated_at,
        resolved_day=row.resolved_day,
        resolved_at=row.resolved_at,
        resolution=row.resolution,
    )
