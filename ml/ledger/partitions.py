"""Which rows a market day landed with: an append-only log, whose newest entry for a table and day is current."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Select, and_, func, select
from sqlalchemy.orm import Session

from ml.core.digests import Digest, digest_json
from ml.ledger.database import Store, reading, writing
from ml.ledger.sql import lock_key
from ml.ledger.tables import PartitionRow


@dataclass(frozen=True)
class PartitionEntry:
    """What one table's delivery of a day became: `accepted + quarantined = rows_in`; reasons count the quarantined."""

    table: str
    digest: Digest
    rows_in: int
    accepted: int
    quarantined: int
    reasons: Mapping[str, int]


@dataclass(frozen=True)
class Partition:
    """One landing in the log; `replaced` is the digest that was current before it, `revision` counts from 1."""

    market: str
    table: str
    day: date
    revision: int
    digest: Digest
    replaced: Digest | None
    rows_in: int
    accepted: int
    quarantined: int
    reasons: Mapping[str, int]
    landed_at: datetime


def land(store: Store, market: str, day: date, entries: Sequence[PartitionEntry], at: datetime) -> None:
    """Log the landing of a market day, all its tables in one transaction.

    An entry equal to the current one adds nothing; another one becomes current and names the digest it replaced.
    """
    with writing(store) as session:
        lock_key(session, "partitions", market, day.isoformat())
        stand = _current_rows(session, market, day)
        for entry in entries:
            before = stand.get(entry.table)
            if before is None or _entry(before) != entry:
                stand[entry.table] = _next_row(before, market, day, entry, at)
                session.add(stand[entry.table])
        session.flush()


def current(store: Store, market: str, table: str, day: date) -> Partition | None:
    """The current partition of a table's day; None when it never landed."""
    with reading(store) as session:
        row = _current_row(session, market, table, day)
        return None if row is None else _partition(row)


def history(store: Store, market: str, table: str, day: date) -> list[Partition]:
    """Every landing of a table's day, oldest first."""
    query = (
        select(PartitionRow)
        .where(PartitionRow.market == market, PartitionRow.table_name == table, PartitionRow.day == day)
        .order_by(PartitionRow.revision)
    )
    with reading(store) as session:
        return [_partition(row) for row in session.scalars(query)]


def accepted(store: Store, market: str, table: str, *, first: date, last: date) -> dict[date, int]:
    """Accepted rows of a table's current partitions, for each day from `first` to `last` that landed."""
    query = (
        select(PartitionRow.day, PartitionRow.accepted)
        .where(PartitionRow.market == market, PartitionRow.table_name == table)
        .where(PartitionRow.day >= first, PartitionRow.day <= last)
        .order_by(PartitionRow.day, PartitionRow.revision)
    )
    with reading(store) as session:
        return {row.day: row.accepted for row in session.execute(query)}  # the last revision of a day remains


def digests(store: Store, market: str, day: date) -> dict[str, Digest]:
    """The current digest of every table that landed for a market day."""
    query = _current_digests(market).where(PartitionRow.day == day)
    with reading(store) as session:
        return {table: Digest(digest) for table, _, digest in session.execute(query)}


def newest_day(store: Store, market: str) -> date | None:
    """The newest market day that landed; None before the first."""
    with reading(store) as session:
        return session.scalar(select(func.max(PartitionRow.day)).where(PartitionRow.market == market))


def data_digest(store: Store, market: str, *, last: date) -> Digest:
    """One digest over every current partition up to `last`: equal digests mean equal data."""
    query = _current_digests(market).where(PartitionRow.day <= last)
    with reading(store) as session:
        rows = [[table, day.isoformat(), digest] for table, day, digest in session.execute(query)]
    return digest_json(sorted(rows))


def _next_row(before: PartitionRow | None, market: str, day: date, entry: PartitionEntry, at: datetime) -> PartitionRow:
    return PartitionRow(
        market=market,
        table_name=entry.table,
        day=day,
        revision=1 if before is None else before.revision + 1,
        digest=entry.digest,
        replaced=None if before is None else before.digest,
        rows_in=entry.rows_in,
        accepted=entry.accepted,
        quarantined=entry.quarantined,
        reasons=dict(entry.reasons),
        landed_at=at,
    )


def _current_rows(session: Session, market: str, day: date) -> dict[str, PartitionRow]:
    query = select(PartitionRow).where(PartitionRow.market == market, PartitionRow.day == day)
    return {row.table_name: row for row in session.scalars(query.order_by(PartitionRow.revision))}


def _current_row(session: Session, market: str, table: str, day: date) -> PartitionRow | None:
    return session.scalars(
        select(PartitionRow)
        .where(PartitionRow.market == market, PartitionRow.table_name == table, PartitionRow.day == day)
        .order_by(PartitionRow.revision.desc())
        .limit(1)
    ).first()


def _current_digests(market: str) -> Select[str, date, str]:
    newest = (
        select(PartitionRow.table_name, PartitionRow.day, func.max(PartitionRow.revision).label("revision"))
        .where(PartitionRow.market == market)
        .group_by(PartitionRow.table_name, PartitionRow.day)
        .subquery()
    )
    return (
        select(PartitionRow.table_name, PartitionRow.day, PartitionRow.digest)
        .join(
            newest,
            and_(
                PartitionRow.table_name == newest.c.table_name,
                PartitionRow.day == newest.c.day,
                PartitionRow.revision == newest.c.revision,
            ),
        )
        .where(PartitionRow.market == market)
    )


def _counts(row: PartitionRow) -> dict[str, Any]:
    return {
        "table": row.table_name,
        "digest": Digest(row.digest),
        "rows_in": row.rows_in,
        "accepted": row.accepted,
        "quarantined": row.quarantined,
        "reasons": row.reasons,
    }


def _entry(row: PartitionRow) -> PartitionEntry:
    return PartitionEntry(**_counts(row))


def _partition(row: PartitionRow) -> Partition:
    return Partition(
        market=row.market,
        day=row.day,
        revision=row.revision,
        replaced=None if row.replaced is None else Digest(row.replaced),
        landed_at=row.landed_at,
        **_counts(row),
    )
