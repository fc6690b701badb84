"""What an incident is, and its row; for people who use it see `ml.ledger.incidents`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from ml.core.errors import NoData
from ml.ledger.columns import storable
from ml.ledger.incident_tables import IncidentRow, NoteRow

Severity = Literal["critical", "warning", "info"]

LARGEST_NUMBER = 2**31 - 1
"""Of an incident; more does not fit in the column."""


@dataclass(frozen=True)
class Incident:
    """An incident: what stands (`title`, `details`, from its last report) and between which days and instants.

    `resolved_at` and `resolved_day` are None while it is open; `resolution` is then empty. `opened_at` and
    `first_day` are of its first opening, `reopened` counts the others.

    Attributes:
        owner: who sees to it, a person or a role; empty where nobody does.
        at_stake_micros: money that it costs by what was measured last; None where nobody could say.
        acknowledged_at, acknowledged_by: who took it first; None and empty until somebody does, and after a reopening.
        snoozed_until: until when it keeps quiet; None when it is not snoozed.
        alarmed_at: since when somebody should have looked: opened, reopened, worsened, or its snooze ended.
        escalated_at: when others were told because nobody did; None while not, or since it last alarmed.
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
    owner: str = ""
    at_stake_micros: int | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    snoozed_until: datetime | None = None
    reopened: int = 0
    last_reopened_at: datetime | None = None
    alarmed_at: datetime | None = None
    escalated_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing resolved it yet."""
        return self.resolved_at is None

    @property
    def open_since(self) -> datetime:
        """When it was opened, or reopened last."""
        return self.last_reopened_at or self.opened_at

    def sleeps(self, at: datetime) -> bool:
        """Whether it is snoozed at an instant."""
        return self.snoozed_until is not None and self.snoozed_until > at


def row_of(session: Session, market: str, number: int, *, for_update: bool = False) -> IncidentRow:
    """The row of an incident, for the modules of this package. NoData when there is none."""
    query = select(IncidentRow).where(IncidentRow.market == market, IncidentRow.id == number)
    row = None
    if 0 < number <= LARGEST_NUMBER:
        row = session.scalars(query.with_for_update() if for_update else query).first()
    if row is None:
        raise NoData(
            f"there is no incident {number} in {market}",
            left="nothing was changed",
            next="list them with: bidwright incidents list --state all",
        )
    return row


def incident_of(row: IncidentRow) -> Incident:
    """What a row says, for the modules of this package."""
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
        owner=row.owner,
        at_stake_micros=row.at_stake_micros,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
        snoozed_until=row.snoozed_until,
        reopened=row.reopened,
        last_reopened_at=row.last_reopened_at,
        alarmed_at=row.alarmed_at,
        escalated_at=row.escalated_at,
    )


def note_down(session: Session, incident_id: int, kind: str, by: str, at: datetime, text: str) -> None:
    """Add a line to the story of an incident, for the modules of this package."""
    session.add(NoteRow(incident_id=incident_id, kind=kind, noted_by=storable(by), noted_at=at, body=storable(text)))
