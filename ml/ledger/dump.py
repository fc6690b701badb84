"""The whole ledger as text, out of one snapshot: the same bytes from SQLite and from PostgreSQL for equal rows.

Rows are read as the tables hold them, not through the classes of `ml.ledger.tables`, so that a dump says what a revision of
the tables held whatever the code makes of it later.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from ml.core.digests import canonical_json
from ml.ledger import schema
from ml.ledger.database import Database
from ml.ledger.tables import Base

PART_BYTES = 8 << 20
"""A part of a table is closed once it has so many bytes, so that no table has to fit into memory."""

_FETCH_ROWS = 200

_KINDS: tuple[tuple[type[sa.types.TypeEngine[Any]], str], ...] = (
    (sa.Boolean, "bool"),
    (sa.Integer, "int"),
    (sa.Float, "float"),
    (sa.Numeric, "float"),
    (sa.DateTime, "instant"),
    (sa.Date, "date"),
    (sa.LargeBinary, "bytes"),
    (sa.String, "text"),
)
"""What a column holds, by the type that the database reports; the first that fits."""

Columns = Mapping[str, str]
"""The columns of a table in their order, each with its kind."""


@dataclass(frozen=True)
class Part:
    """Some rows of a table: one JSON array a line, values in the order of its columns."""

    table: str
    number: int
    rows: int
    data: bytes


class Snapshot:
    """The ledger as it was at one instant; other functions of the ledger read the same instant through `session`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        connection = session.connection()
        self.revision = str(schema.revision(connection))
        self._tables = reflected(connection, list(Base.metadata.tables))
        self.columns: dict[str, Columns] = {table.name: kinds(table) for table in self._tables}

    def parts(self) -> Iterator[Part]:
        """Every table in parts, each table after those that it refers to; none for an empty table."""
        for table in self._tables:
            yield from self._parts(table)

    def _parts(self, table: sa.Table) -> Iterator[Part]:
        ways = [_WRITE[kind] for kind in self.columns[table.name].values()]
        ordered = sa.select(table).order_by(*table.primary_key.columns)
        found = self.session.connection().execute(ordered, execution_options={"yield_per": _FETCH_ROWS})
        number, lines, size = 0, [], 0
        for row in found:
            lines.append(canonical_json([None if v is None else way(v) for way, v in zip(ways, row, strict=True)]))
            size += len(lines[-1]) + 1
            if size >= PART_BYTES:
                yield _part(table, number, lines)
                number, lines, size = number + 1, [], 0
        if lines:
            yield _part(table, number, lines)


@contextmanager
def snapshot(db: Database) -> Iterator[Snapshot]:
    """One transaction that only reads, and never makes a writer wait; StoreUnavailable unless the tables are this code's."""
    db.check()
    with db.reading() as session:
        yield Snapshot(session)


def reflected(connection: sa.Connection, names: list[str]) -> list[sa.Table]:
    """Those of the named tables that the database has, as it has them, each after those that it refers to."""
    metadata = sa.MetaData()
    there = set(sa.inspect(connection).get_table_names())
    metadata.reflect(connection, only=[name for name in names if name in there])
    return metadata.sorted_tables


def kinds(table: sa.Table) -> Columns:
    """The columns of a table in their order, each with its kind."""
    return {column.name: _kind(column) for column in table.columns}


def reader(kind: str) -> Callable[[Any], Any]:
    """What turns the JSON value of a kind into what the database takes; KeyError for a kind that there is not."""
    return _READ[kind]


def _kind(column: sa.Column[Any]) -> str:
    for known, kind in _KINDS:
        if isinstance(column.type, known):
            return kind
    raise AssertionError(f"{column} has the type {column.type!r}, which a dump has no form for")


def _part(table: sa.Table, number: int, lines: list[bytes]) -> Part:
    return Part(table.name, number, len(lines), b"\n".join(lines) + b"\n")


def _instant(value: datetime) -> str:
    # SQLite has no time zones: what it holds is UTC (ml.ledger.columns).
    utc = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return utc.isoformat(timespec="microseconds")


_WRITE: Mapping[str, Callable[[Any], Any]] = {
    "bool": bool,
    "int": int,
    "float": float,
    "instant": _instant,
    "date": date.isoformat,
    "bytes": lambda value: base64.b64encode(bytes(value)).decode(),
    "text": str,
}
_READ: Mapping[str, Callable[[Any], Any]] = {
    "bool": bool,
    "int": int,
    "float": float,
    "instant": datetime.fromisoformat,
    "date": date.fromisoformat,
    "bytes": base64.b64decode,
    "text": str,
}
