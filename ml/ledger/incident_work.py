"""What people do with an incident: take it, quiet it for a while, say something, hand it over; and what was noted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from ml.core.errors import UsageError
from ml.ledger.columns import storable
from ml.ledger.database import Store, reading, writing
from ml.ledger.incident_record import Incident, incident_of, note_down, row_of
from ml.ledger.incident_tables import IncidentRow, NoteRow

LONGEST_TEXT = 10_000
LONGEST_NAME = 200
LONGEST_SNOOZE = timedelta(days=30)
"""What is quiet for longer should be resolved, or its limit changed."""


@dataclass(frozen=True)
class Note:
    """A line of an incident's story. `kind` is opened, worsened, acknowledged, snoozed, woken, comment, assigned,
    escalated, resolved or reopened; `by` is a person, or `bidwright` itself.
    """  # fmt: skip

    kind: str
    by: str
    at: datetime
    text: str


def notes(store: Store, market: str, number: int) -> list[Note]:
    """The story of an incident, oldest first. NoData when there is no such incident."""
    with reading(store) as session:
        row = row_of(session, market, number)
        query = select(NoteRow).where(NoteRow.incident_id == row.id).order_by(NoteRow.id)
        return [Note(note.kind, note.noted_by, note.noted_at, note.body) for note in session.scalars(query)]


def acknowledge(store: Store, market: str, number: int, *, by: str, at: datetime, note: str = "") -> Incident:
    """Take an incident, so that nobody else is called; the first who does so counts, others are noted.

    The same person again, without a note, changes nothing. UsageError when it is resolved, NoData when there is none.
    """
    by, note = _name(by), _text(note, "note")
    with writing(store) as session:
        row = _open(row_of(session, market, number, for_update=True), "acknowledged")
        if row.acknowledged_at is not None and row.acknowledged_by == by and not note:
            return incident_of(row)
        if row.acknowledged_at is None:
            row.acknowledged_at, row.acknowledged_by = at, by
        row.updated_at = at
        note_down(session, row.id, "acknowledged", by, at, note)
        session.flush()
        return incident_of(row)


def snooze(store: Store, market: str, number: int, *, until: datetime, by: str, at: datetime, why: str) -> Incident:
    """Keep an incident quiet until an instant: it is brought up to date, and mails nothing unless it becomes critical.

    UsageError when the end is not ahead, is more than 30 days ahead, or the incident is resolved; NoData as `get`.
    """
    by, why = _name(by), _text(why, "reason")
    if not at < until <= at + LONGEST_SNOOZE:
        raise UsageError(
            f"a snooze must end later than now and within {LONGEST_SNOOZE.days} days, not at {until.isoformat()}",
            left="nothing was changed",
            next="give another end",
        )
    with writing(store) as session:
        row = _open(row_of(session, market, number, for_update=True), "snoozed")
        row.snoozed_until, row.updated_at = until, at
        ends = f"until {until.isoformat(timespec='minutes')}"
        note_down(session, row.id, "snoozed", by, at, f"{ends}: {why}" if why else ends)
        session.flush()
        return incident_of(row)


def comment(store: Store, market: str, number: int, *, by: str, at: datetime, text: str) -> Note:
    """Say something of an incident, open or resolved. UsageError for none, or more than 10,000 characters."""
    by, text = _name(by), _text(text, "comment")
    if not text:
        raise UsageError("a comment without words is none", left="nothing was written", next="give a text")
    with writing(store) as session:
        row = row_of(session, market, number, for_update=True)
        row.updated_at = at
        note_down(session, row.id, "comment", by, at, text)
        session.flush()
        return Note("comment", by, at, text)


def assign(store: Store, market: str, number: int, *, owner: str, by: str, at: datetime) -> Incident:
    """Hand an incident to a person or a role; the same owner again changes nothing. NoData when there is none."""
    by, owner = _name(by), _name(owner)
    with writing(store) as session:
        row = row_of(session, market, number, for_update=True)
        if row.owner == owner:
            return incident_of(row)
        row.owner, row.updated_at = owner, at
        note_down(session, row.id, "assigned", by, at, owner)
        session.flush()
        return incident_of(row)


def snoozed(store: Store, market: str) -> list[Incident]:
    """The incidents with a snooze that was not told over, open or resolved meanwhile, oldest first."""
    query = select(IncidentRow).where(IncidentRow.market == market, IncidentRow.snoozed_until.is_not(None))
    with reading(store) as session:
        return [incident_of(row) for row in session.scalars(query.order_by(IncidentRow.id))]


def wake(store: Store, market: str, number: int, *, by: str, at: datetime, why: str) -> Incident | None:
    """End the snooze of an incident, which alarms anew; None when it is not snoozed, so that a retry is harmless."""
    with writing(store) as session:
        row = row_of(session, market, number, for_update=True)
        if row.snoozed_until is None:
            return None
        row.snoozed_until, row.updated_at = None, at
        row.alarmed_at, row.escalated_at = at, None
        note_down(session, row.id, "woken", by, at, why)
        session.flush()
        return incident_of(row)


def escalated(store: Store, market: str, number: int, *, by: str, at: datetime, text: str) -> Incident | None:
    """Note that others are told because nobody acknowledged an incident.

    None when that was done since it alarmed, or somebody acknowledged, snoozed or resolved it meanwhile.
    """
    with writing(store) as session:
        row = row_of(session, market, number, for_update=True)
        stamps = (row.escalated_at, row.acknowledged_at, row.snoozed_until, row.resolved_at)
        if any(stamp is not None for stamp in stamps):
            return None
        row.escalated_at = at
        note_down(session, row.id, "escalated", by, at, text)
        session.flush()
        return incident_of(row)


def _open(row: IncidentRow, what: str) -> IncidentRow:
    if row.resolved_at is not None:
        raise UsageError(
            f"incident {row.id} is resolved since {row.resolved_at.isoformat(timespec='minutes')}: it cannot be {what}",
            left="nothing was changed",
            next=f"read it with: bidwright incidents show {row.id}",
        )
    return row


def _name(name: str) -> str:
    name = storable(" ".join(name.split()))
    if not name or len(name) > LONGEST_NAME:
        raise UsageError(
            "a name is missing" if not name else f"a name has {len(name):,} characters",
            left="nothing was written",
            next=f"give a name of 1 to {LONGEST_NAME} characters",
        )
    return name


def _text(text: str, what: str) -> str:
    text = storable(text.strip())
    if len(text) > LONGEST_TEXT:
        raise UsageError(
            f"the {what} has {len(text):,} characters",
            left="nothing was written",
            next=f"shorten it to {LONGEST_TEXT:,}, and link to the rest",
        )
    return text
