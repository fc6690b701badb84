"""The ledger out of a dump: into an empty database, all of it or nothing, whatever its kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from ml.core.errors import CorruptArtefact, UsageError
from ml.ledger import schema
from ml.ledger.database import Database
from ml.ledger.dump import Columns, Part, kinds, reader, reflected
from ml.ledger.tables import Base

_BATCH_ROWS = 200
_DEPLOYED = "kind <> 'deployed'"
"""That a new platform was deployed is written down before anything else, and makes it no less new."""


def contents(db: Database) -> dict[str, int]:
    """How many rows each table has; nothing for an empty platform, or one that has no tables yet.

    Raises:
        StoreUnavailable: the database cannot be read.
    """
    if not db.exists():
        return {}
    with db.reading() as session:
        return _contents(session.connection())


def load(db: Database, *, revision: str, columns: Mapping[str, Columns], parts: Iterable[Part]) -> int:
    """Write a dump into an empty database, bring it to this code's revision, and say how many rows it has.

    Args:
        db: where to; its tables are made if they are not there.
        revision: of the tables, when the dump was made.
        columns: of each table, as the dump has them.
        parts: of each table after those that it refers to.

    Raises:
        UsageError: the database is not empty, or the dump is newer than this code; nothing was written.
        CorruptArtefact: a part is not of the form that was promised; nothing was written.
    """
    if revision not in schema.REVISIONS:
        raise UsageError(
            f"the backup is of revision {revision}, newer than this code ({schema.HEAD})",
            left="nothing was written",
            next="restore it with the version of bidwright that made it, or a newer one",
        )
    db.migrate()
    with db.session() as session:
        connection = session.connection()
        schema.lock(connection)
        if held := _contents(connection):
            raise not_empty(held)
        connection.execute(sa.text("DELETE FROM upkeep"))
        if revision != schema.HEAD:
            schema.downgrade(connection, revision)
        tables = {table.name: table for table in reflected(connection, list(columns))}
        ways = {name: _ways(tables, name, promised) for name, promised in columns.items()}
        rows = sum(_insert(connection, tables[part.table], ways[part.table], part) for part in parts)
        for table in tables.values():
            _go_on_counting(connection, table)
        schema.upgrade(connection)
    return rows


def not_empty(held: Mapping[str, int]) -> UsageError:
    """The refusal to write into a platform that has something."""
    some = ", ".join(f"{rows:,} rows of {name}" for name, rows in list(held.items())[:3])
    return UsageError(
        f"the platform is not empty: it has {some}",
        left="nothing was written",
        next="restore into an empty database: set BIDWRIGHT_DATABASE_URL (or BIDWRIGHT_HOME) to a new one",
    )


def _contents(connection: Connection) -> dict[str, int]:
    there = set(sa.inspect(connection).get_table_names())
    found = {}
    for name in (name for name in Base.metadata.tables if name in there):
        query = sa.select(sa.func.count()).select_from(sa.table(name))
        query = query.where(sa.text(_DEPLOYED)) if name == "upkeep" else query
        if rows := connection.execute(query).scalar_one():
            found[name] = int(rows)
    return found


def _ways(tables: Mapping[str, sa.Table], name: str, promised: Columns) -> list[tuple[str, Callable[[Any], Any]]]:
    if name not in tables or dict(kinds(tables[name])) != dict(promised):
        raise CorruptArtefact(
            f"the backup's table {name} is not the one of its revision",
            left="nothing was written",
            next="take another backup",
        )
    return [(column, reader(kind)) for column, kind in promised.items()]


def _insert(connection: Connection, table: sa.Table, ways: list[tuple[str, Callable[[Any], Any]]], part: Part) -> int:
    lines = part.data.splitlines()
    for start in range(0, len(lines), _BATCH_ROWS):
        rows = [_row(connection, json.loads(line), ways) for line in lines[start : start + _BATCH_ROWS]]
        connection.execute(table.insert(), rows)
    return len(lines)


def _row(connection: Connection, values: list[Any], ways: list[tuple[str, Callable[[Any], Any]]]) -> dict[str, Any]:
    found = {name: None if v is None else way(v) for (name, way), v in zip(ways, values, strict=True)}
    if connection.dialect.name != "sqlite":
        return found
    # SQLite has no time zones, and would keep the offset as part of the text.
    return {k: v.astimezone(UTC).replace(tzinfo=None) if isinstance(v, datetime) else v for k, v in found.items()}


def _go_on_counting(connection: Connection, table: sa.Table) -> None:
    """PostgreSQL's sequences go on after the highest id; SQLite does so by itself."""
    if connection.dialect.name != "postgresql" or "id" not in table.columns:
        return
    highest = connection.execute(sa.select(sa.func.max(table.c.id))).scalar()
    if highest is not None:
        connection.execute(sa.select(sa.func.setval(sa.func.pg_get_serial_sequence(table.name, "id"), highest)))
