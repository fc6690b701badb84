"""Incidents: what a person should know. At most one is open for a market and cause.

A cause that returns within a week reopens its incident, so that one trouble keeps one number and one conversation.
What people do with an incident is written in `ml.ledger.incident_work` and can be called from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Literal, get_args

from sqlalchemy import Select, exists, or_, select
from sqlalchemy.orm import Session

from ml.core.errors import UsageError
from ml.ledger.columns import storable
from ml.ledger.database import Store, reading, writing
from ml.ledger.incident_record import LARGEST_NUMBER, incident_of, note_down, row_of
from ml.ledger.incident_record import Incident as Incident
from ml.ledger.incident_record import Severity as Severity
from ml.ledger.incident_tables import IncidentRow, SpanRow
from ml.ledger.incident_work import LONGEST_TEXT as LONGEST_TEXT
from ml.ledger.incident_work import Note as Note
from ml.ledger.incident_work import acknowledge as acknowledge
from ml.ledger.incident_work import assign as assign
from ml.ledger.incident_work import comment as comment
from ml.ledger.incident_work import escalated as escalated
from ml.ledger.incident_work import notes as notes
from ml.ledger.incident_work import snooze as snooze
from ml.ledger.incident_work import snoozed as snoozed
from ml.ledger.incident_work import wake as wake
from ml.ledger.sql import lock_key

State = Literal["open", "acknowledged", "snoozed", "resolved", "all"]

RANK: Mapping[str, int] = {"info": 0, "warning": 1, "critical": 2}
"""Severities from the least to the worst."""

REOPENS_WITHIN = timedelta(days=7)
PLATFORM = "bidwright"
"""Who did what nobody did by hand."""


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
    at_stake_micros: int | None = None,
    owner: str = "",
) -> tuple[Incident, bool]:
    """Open the incident of a cause, or bring the open one up to date; the second value is True when it was opened.

    An incident of the cause that was resolved at most a week ago, by the clock and by market days, is opened again
    (True as well): it keeps its number, and `reopened` counts. Nobody has acknowledged it then. `at_stake_micros`
    None leaves what was known; `owner` counts where it has none.

    Give a session to write its mail to the outbox in the same transaction. UsageError for another severity.
    """
    if severity not in get_args(Severity):
        raise UsageError(f"{severity!r} is no severity", next="use one of " + ", ".join(get_args(Severity)))
    with writing(store) as session:
        lock_key(session, "incident", market, cause)
        row = _open_row(session, market, cause)
        opened = row is None
        if row is None:
            row = _reopen(session, market, cause, day, at, title) or _new(
                session, market, cause, day, at, severity, title
            )
        elif RANK[severity] > RANK[row.severity]:
            note_down(session, row.id, "worsened", PLATFORM, at, f"{row.severity} to {severity}: {title}")
            row.alarmed_at, row.escalated_at = at, None
        row.first_day, row.last_day = min(row.first_day, day), max(row.last_day, day)
        span = _span(session, row)
        span.first_day = min(span.first_day, day)
        row.severity, row.title, row.details, row.updated_at = severity, storable(title), dict(details), at
        row.at_stake_micros = row.at_stake_micros if at_stake_micros is None else at_stake_micros
        row.owner = row.owner or owner
        session.flush()
        return incident_of(row), opened


def concerned(store: Store, market: str, cause: str, *, day: date, at: datetime) -> Incident | None:
    """The incident that `raise_incident` would bring up to date or reopen now; None where it would open a new one."""
    with reading(store) as session:
        row = _of_cause(session, market, cause, day, at)
        return None if row is None else incident_of(row)


def resolve(
    store: Store, market: str, cause: str, *, day: date, at: datetime, reason: str, by: str = PLATFORM
) -> Incident | None:
    """Close the open incident of a cause and say why; None when none is open, so that a retry is harmless."""
    with writing(store) as session:
        lock_key(session, "incident", market, cause)
        row = _open_row(session, market, cause)
        if row is None:
            return None
        row.resolved_day, row.resolved_at, row.updated_at, row.resolution = day, at, at, storable(reason)
        _span(session, row).resolved_day = day
        note_down(session, row.id, "resolved", by, at, reason)
        session.flush()
        return incident_of(row)


def get(store: Store, market: str, number: int) -> Incident:
    """The incident of a market with this number. NoData when there is none."""
    with reading(store) as session:
        return incident_of(row_of(session, market, number))


def find(
    store: Store, market: str, *, state: State = "all", severity: Severity | None = None, limit: int = 100
) -> list[Incident]:
    """Incidents of a market, newest first, at most `limit`.

    `acknowledged` and `snoozed` are open ones (a snooze that has ended counts until it was told). UsageError for a
    state or severity that there is not, or a limit below 1.
    """
    for value, kind in ((state, State), (severity, Severity)):
        if value is not None and value not in get_args(kind):
            raise UsageError(f"{value!r} is no state or severity of incidents", next="use " + ", ".join(get_args(kind)))
    if limit < 1:
        raise UsageError(f"a list of {limit} incidents is none", next="give a limit of 1 or more")
    is_open = IncidentRow.resolved_at.is_(None)
    wanted = {
        "open": (is_open,),
        "acknowledged": (is_open, IncidentRow.acknowledged_at.is_not(None)),
        "snoozed": (is_open, IncidentRow.snoozed_until.is_not(None)),
        "resolved": (IncidentRow.resolved_at.is_not(None),),
        "all": (),
    }[state]
    query = _of(market).where(*wanted).limit(min(limit, LARGEST_NUMBER))
    return _listed(store, query if severity is None else query.where(IncidentRow.severity == severity))


def open_incidents(store: Store, market: str) -> list[Incident]:
    """The open incidents of a market, newest first."""
    return _listed(store, _of(market).where(IncidentRow.resolved_at.is_(None)))


def open_on(store: Store, market: str, day: date) -> list[Incident]:
    """The incidents that stood open at the end of a market day, newest first: from a first day on, until resolved."""
    resolved_later = or_(SpanRow.resolved_day.is_(None), SpanRow.resolved_day > day)
    stood = exists().where(SpanRow.incident_id == IncidentRow.id, SpanRow.first_day <= day, resolved_later)
    return _listed(store, _of(market).where(stood))


def all_incidents(store: Store, market: str, n: int) -> list[Incident]:
    """The last `n` incidents of a market, open or resolved, newest first."""
    return _listed(store, _of(market).limit(n))


def _new(
    session: Session, market: str, cause: str, day: date, at: datetime, severity: Severity, title: str
) -> IncidentRow:
    row = IncidentRow(
        market=market, cause=cause, severity=severity, title=storable(title), details={}, first_day=day, last_day=day,
        opened_at=at, updated_at=at, resolution="", resolved_day=None, resolved_at=None, owner="", acknowledged_by="",
        reopened=0, alarmed_at=at,
    )  # fmt: skip
    session.add(row)
    session.flush()
    session.add(SpanRow(incident_id=row.id, number=0, first_day=day, resolved_day=None))
    note_down(session, row.id, "opened", PLATFORM, at, title)
    return row


def _reopen(session: Session, market: str, cause: str, day: date, at: datetime, title: str) -> IncidentRow | None:
    """The last incident of a cause, open again; None where there is none, or it was over for more than a week."""
    row = _of_cause(session, market, cause, day, at)
    if row is None:
        return None
    row.resolved_day, row.resolved_at, row.resolution = None, None, ""
    row.reopened, row.last_reopened_at = row.reopened + 1, at
    row.acknowledged_at, row.acknowledged_by = None, ""
    row.alarmed_at, row.escalated_at = at, None
    session.add(SpanRow(incident_id=row.id, number=row.reopened, first_day=day, resolved_day=None))
    note_down(session, row.id, "reopened", PLATFORM, at, title)
    return row


def _of_cause(session: Session, market: str, cause: str, day: date, at: datetime) -> IncidentRow | None:
    row = session.scalars(_of(market).where(IncidentRow.cause == cause).limit(1)).first()
    if row is None or row.resolved_at is None or row.resolved_day is None:
        return row
    returned = at - row.resolved_at <= REOPENS_WITHIN and abs(day - row.resolved_day) <= REOPENS_WITHIN
    return row if returned else None


def _span(session: Session, row: IncidentRow) -> SpanRow:
    return session.get_one(SpanRow, (row.id, row.reopened))


def _of(market: str) -> Select[IncidentRow]:
    return select(IncidentRow).where(IncidentRow.market == market).order_by(IncidentRow.id.desc())


def _listed(store: Store, query: Select[IncidentRow]) -> list[Incident]:
    with reading(store) as session:
        return [incident_of(row) for row in session.scalars(query)]


def _open_row(session: Session, market: str, cause: str) -> IncidentRow | None:
    query = _of(market).where(IncidentRow.cause == cause, IncidentRow.resolved_at.is_(None))
    return session.scalars(query).first()
