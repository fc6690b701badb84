"""The tables of incidents: what stands, when each of them was open, and what people and the platform noted."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from ml.ledger.base import Base


class IncidentRow(Base):
    """Something a person should know; at most one is open for a market and cause."""

    __tablename__ = "incidents"
    __table_args__ = (
        CheckConstraint("severity IN ('critical', 'warning', 'info')", name="severity"),
        CheckConstraint("(resolved_at IS NULL) = (resolved_day IS NULL)", name="resolved"),
        Index(
            "uq_incidents_open",
            "market",
            "cause",
            unique=True,
            sqlite_where=text("resolved_at IS NULL"),
            postgresql_where=text("resolved_at IS NULL"),
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    market: Mapped[str]
    cause: Mapped[str]
    severity: Mapped[str]
    title: Mapped[str]
    details: Mapped[Any]
    first_day: Mapped[date]
    last_day: Mapped[date]
    opened_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    resolved_day: Mapped[date | None]
    resolved_at: Mapped[datetime | None]
    resolution: Mapped[str]
    owner: Mapped[str] = mapped_column(server_default="")
    at_stake_micros: Mapped[int | None] = mapped_column(BigInteger)
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str] = mapped_column(server_default="")
    snoozed_until: Mapped[datetime | None]
    reopened: Mapped[int] = mapped_column(server_default="0")
    last_reopened_at: Mapped[datetime | None]
    alarmed_at: Mapped[datetime | None]
    escalated_at: Mapped[datetime | None]


class SpanRow(Base):
    """One time that an incident was open: from its first market day until resolved; a new one with each reopening."""

    __tablename__ = "incident_spans"
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    first_day: Mapped[date]
    resolved_day: Mapped[date | None]


class NoteRow(Base):
    """What somebody did with an incident, or said of it; never changed or removed."""

    __tablename__ = "incident_notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"), index=True)
    kind: Mapped[str]
    noted_by: Mapped[str]
    noted_at: Mapped[datetime]
    body: Mapped[str] = mapped_column(Text)
