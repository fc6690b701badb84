"""Messages to send, by mail or by another channel. A key makes each wish unique; a lease lets one sender at a time try it.

A sender reads `due`, and for each message calls `claim`, sends, then `mark_sent` or `mark_failed`. A sender that
dies holds its message only until the lease ends. Every try carries the same Message-ID, or key, so that a server or
reader that saw the first can drop the second.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, Select, func, select, update
from sqlalchemy.orm import Session, defer

from ml.core.digests import digest_bytes
from ml.core.errors import UsageError
from ml.core.units import day_start, known_by
from ml.ledger.columns import storable
from ml.ledger.database import Store, reading, writing
from ml.ledger.sql import insert, wrote
from ml.ledger.tables import AttachmentRow, MailRow

LEASE = timedelta(minutes=5)
FIRST_DELAY = timedelta(minutes=1)
LONGEST_DELAY = timedelta(hours=1)

MAIL, WEBHOOK = "mail", "webhook"
"""Channels. What a webhook gets has the webhook's name in `to` and its words in `text`; its address is nowhere here."""

Attachment = tuple[str, str, bytes]
"""Content id, MIME type, bytes."""


@dataclass(frozen=True)
class Mail:
    """A message in the outbox. `attempts` counts the claims so far; `next_at` is when it may be tried again.

    `last_error` is empty until a try failed; `sent_at` is None until it went out.
    """

    id: int
    key: str
    to: str
    subject: str
    text: str
    html: str
    attachments: tuple[Attachment, ...]
    incident_id: int | None
    market_day: date | None
    message_id: str
    created_at: datetime
    next_at: datetime
    attempts: int
    last_error: str
    sent_at: datetime | None
    channel: str = MAIL


@dataclass(frozen=True)
class Delivery:
    """What became of the last message to one address about an incident.

    `state` is `sent` (`at`: when), `held` until quiet hours end, `waiting` for its first try, or `retrying` after one
    that failed (`at`: when it may be tried next); `last_error` is why that failed.
    """

    channel: str
    to: str
    subject: str
    created_at: datetime
    state: Literal["sent", "held", "waiting", "retrying"]
    at: datetime
    attempts: int
    last_error: str


def put(
    store: Store,
    *,
    key: str,
    to: str,
    subject: str,
    text: str,
    html: str,
    attachments: Sequence[Attachment] = (),
    incident_id: int | None = None,
    market_day: date | None = None,
    at: datetime,
    channel: str = MAIL,
    not_before: datetime | None = None,
) -> bool:
    """Wish a message to be sent; False when its key was put before, and then nothing changes.

    `to` is one or several addresses separated by commas, or the name of a webhook; `market_day` is the day that the
    message is about. With `not_before` it is held until then.
    """
    with writing(store) as session:
        statement = insert(session, MailRow).values(
            key=key,
            recipients=to,
            subject=storable(subject),
            body_text=storable(text),
            body_html=storable(html),
            incident_id=incident_id,
            market_day=market_day,
            message_id=f"<{digest_bytes(key.encode())[:32]}@bidwright>",
            created_at=at,
            next_at=at if not_before is None else max(at, not_before),
            attempts=0,
            last_error="",
            channel=channel,
        )
        if not wrote(session, statement.on_conflict_do_nothing(index_elements=["key"])):
            return False
        mail_id = session.scalars(select(MailRow.id).where(MailRow.key == key)).one()
        for position, (cid, mime, data) in enumerate(attachments):
            session.add(AttachmentRow(mail_id=mail_id, position=position, cid=cid, mime=mime, data=data))
        session.flush()
        return True


def due(store: Store, now: datetime) -> list[Mail]:
    """The mails that may be tried now: not sent, not waiting for a later try, not held by a sender; oldest first."""
    return _listed(store, select(MailRow).where(MailRow.sent_at.is_(None), MailRow.next_at <= now))


def claim(store: Store, mail_id: int, now: datetime, *, lease: timedelta = LEASE) -> Mail | None:
    """Take a mail for one sender until `now + lease`; None when it went out, waits, or another sender holds it."""
    free: list[ColumnElement[bool]] = [MailRow.id == mail_id, MailRow.sent_at.is_(None), MailRow.next_at <= now]
    with writing(store) as session:
        taken = update(MailRow).where(*free).values(attempts=MailRow.attempts + 1, next_at=now + lease)
        if not wrote(session, taken):
            return None
        return _mail(_row(session, mail_id), _attachments(session, [mail_id])[mail_id])


def mark_sent(store: Store, mail_id: int, message_id: str, at: datetime) -> None:
    """Say that a mail went out, under which Message-ID; the first time counts. UsageError for an unknown id."""
    with writing(store) as session:
        _row(session, mail_id)
        sent = update(MailRow).where(MailRow.id == mail_id, MailRow.sent_at.is_(None))
        session.execute(sent.values(sent_at=at, message_id=message_id, last_error=""))


def mark_failed(
    store: Store, mail_id: int, error: str, at: datetime, *, attempt: int | None = None, delay: timedelta | None = None
) -> None:
    """Say that a try failed; the mail waits `delay`, else 1, 2, 4, ... minutes, at most an hour, and is never given up.

    With `attempt` (the `attempts` of the claimed mail) a sender whose lease ended and whose mail another took
    changes nothing. A mail that went out stays sent. UsageError for an unknown id.
    """
    with writing(store) as session:
        row = _row(session, mail_id, for_update=True)
        if row.sent_at is not None or (attempt is not None and attempt != row.attempts):
            return
        row.last_error, row.next_at = storable(error), at + (delay or retry_delay(row.attempts))


def retry_delay(attempts: int) -> timedelta:
    """How long a mail waits after its n-th failed try.

    >>> [str(retry_delay(n)) for n in (1, 2, 6, 7, 1000)]
    ['0:01:00', '0:02:00', '0:32:00', '1:00:00', '1:00:00']
    """
    doublings = min(max(attempts - 1, 0), 16)
    return min(FIRST_DELAY * (1 << doublings), LONGEST_DELAY)


def release(store: Store, incident_id: int, at: datetime) -> None:
    """Let what quiet hours hold about an incident go now, so that what cannot wait does not overtake it."""
    held = update(MailRow).where(MailRow.incident_id == incident_id, MailRow.sent_at.is_(None), MailRow.attempts == 0)
    with writing(store) as session:
        session.execute(held.where(MailRow.next_at > at).values(next_at=at))


def told(store: Store, incident_id: int) -> list[tuple[str, str]]:
    """Who heard, or will hear, of an incident: channel and address of every message about it, in order."""
    query = select(MailRow.channel, MailRow.recipients).where(MailRow.incident_id == incident_id).order_by(MailRow.id)
    with reading(store) as session:
        return list(dict.fromkeys((channel, to) for channel, to in session.execute(query)))


def deliveries(store: Store, incident_ids: Sequence[int], now: datetime) -> dict[int, list[Delivery]]:
    """What became of the last message to each address about these incidents, the newest message first."""
    found: dict[int, dict[tuple[str, str], Delivery]] = {}
    bare = select(MailRow).options(defer(MailRow.body_text), defer(MailRow.body_html))
    query = bare.where(MailRow.incident_id.in_(incident_ids)).order_by(MailRow.id.desc())
    with reading(store) as session:
        for row in session.scalars(query):
            found.setdefault(row.incident_id or 0, {}).setdefault((row.channel, row.recipients), _delivery(row, now))
    return {number: list(last.values()) for number, last in found.items()}


def known(store: Store, key: str) -> bool:
    """Whether a message of this key was ever put."""
    with reading(store) as session:
        return session.scalars(select(MailRow.id).where(MailRow.key == key)).first() is not None


def waiting_keys(store: Store, now: datetime) -> list[str]:
    """The keys of what has not gone out and may not be tried yet."""
    query = select(MailRow.key).where(MailRow.sent_at.is_(None), MailRow.next_at > now).order_by(MailRow.id)
    with reading(store) as session:
        return list(session.scalars(query))


def pending(store: Store) -> list[Mail]:
    """Every mail that has not gone out, oldest first."""
    return _listed(store, select(MailRow).where(MailRow.sent_at.is_(None)))


def sent(store: Store, day: date | None = None) -> list[Mail]:
    """The mails that went out, of all time or within one UTC day, oldest first."""
    return _listed(store, _sent_on(day))


def count_pending(store: Store) -> int:
    """How many mails have not gone out."""
    return _count(store, select(MailRow).where(MailRow.sent_at.is_(None)))


def count_sent(store: Store, day: date | None = None) -> int:
    """How many mails went out, of all time or within one UTC day."""
    return _count(store, _sent_on(day))


def count_about(store: Store, market_day: date) -> int:
    """How many mails about a market day went out, whenever that was."""
    return _count(store, _sent_on(None).where(MailRow.market_day == market_day))


def counts_about(store: Store, first: date, last: date) -> dict[date, int]:
    """How many mails about each market day from `first` to `last` went out; days without one are left out."""
    query = (
        select(MailRow.market_day, func.count())
        .where(MailRow.sent_at.is_not(None), MailRow.market_day >= first, MailRow.market_day <= last)
        .group_by(MailRow.market_day)
    )
    with reading(store) as session:
        return {day: count for day, count in session.execute(query) if day is not None}


def _sent_on(day: date | None) -> Select[MailRow]:
    query = select(MailRow).where(MailRow.sent_at.is_not(None))
    return query if day is None else query.where(MailRow.sent_at >= day_start(day), MailRow.sent_at < known_by(day))


def _count(store: Store, query: Select[MailRow]) -> int:
    with reading(store) as session:
        return session.execute(select(func.count()).select_from(query.subquery())).scalar_one()


def _row(session: Session, mail_id: int, *, for_update: bool = False) -> MailRow:
    row = session.get(MailRow, mail_id, with_for_update=for_update, populate_existing=True)
    if row is None:
        raise UsageError(f"there is no mail {mail_id} in the outbox", next="list them with: bidwright status")
    return row


def _listed(store: Store, query: Select[MailRow]) -> list[Mail]:
    with reading(store) as session:
        rows = session.scalars(query.order_by(MailRow.id)).all()
        files = _attachments(session, [row.id for row in rows])
        return [_mail(row, files[row.id]) for row in rows]


def _attachments(session: Session, mail_ids: Sequence[int]) -> defaultdict[int, list[Attachment]]:
    query = (
        select(AttachmentRow)
        .where(AttachmentRow.mail_id.in_(mail_ids))
        .order_by(AttachmentRow.mail_id, AttachmentRow.position)
    )
    files: defaultdict[int, list[Attachment]] = defaultdict(list)
    for row in session.scalars(query):
        files[row.mail_id].append((row.cid, row.mime, row.data))
    return files


def _mail(row: MailRow, files: Sequence[Attachment]) -> Mail:
    return Mail(
        id=row.id,
        key=row.key,
        to=row.recipients,
        subject=row.subject,
        text=row.body_text,
        html=row.body_html,
        attachments=tuple(files),
        incident_id=row.incident_id,
        market_day=row.market_day,
        message_id=row.message_id,
        created_at=row.created_at,
        next_at=row.next_at,
        attempts=row.attempts,
        last_error=row.last_error,
        sent_at=row.sent_at,
        channel=row.channel,
    )


def _delivery(row: MailRow, now: datetime) -> Delivery:
    state: Literal["sent", "held", "waiting", "retrying"] = "retrying"
    if row.sent_at is not None:
        state = "sent"
    elif row.attempts == 0:
        state = "held" if row.next_at > now else "waiting"
    return Delivery(
        channel=row.channel,
        to=row.recipients,
        subject=row.subject,
        created_at=row.created_at,
        state=state,
        at=row.sent_at or row.next_at,
        attempts=row.attempts,
        last_error=row.last_error,
    )
