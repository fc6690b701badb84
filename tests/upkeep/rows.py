"""Rows for every table of the ledger, so that what moves the ledger can be asked about all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ml.ledger.columns import CanonicalJson
from ml.ledger.database import Database
from ml.ledger.tables import Base

AT = datetime(2026, 3, 2, 1, 2, 3, 456789, tzinfo=UTC)
DAY = date(2026, 3, 2)
DIGESTS = ("a" * 64, "b" * 64)

# In the second row whatever may be absent is there; a few columns have to fit that, or each other.
SAID: Mapping[tuple[str, str], Sequence[Any]] = {
    ("partitions", "rows_in"): (5, 6),
    ("partitions", "accepted"): (4, 6),
    ("partitions", "quarantined"): (1, 0),
    ("stages", "stage"): ("ingest", "settle"),
    ("stages", "status"): ("done", "held"),
    ("decisions", "verdict"): ("PASS", "HOLD"),
    ("decisions", "kind"): ("promotion", "rollback"),
    ("drift_reports", "verdict"): ("PASS", "FAIL"),
    ("incidents", "severity"): ("critical", "info"),
    ("incidents", "at_stake_micros"): (None, 1 << 40),
    ("outbox", "channel"): ("mail", "mail"),
    ("switches", "level"): (0, 3),
    ("switches", "released_by"): ("", "anna"),
    ("bars", "lifted_by"): ("", "anna"),
    ("rollouts", "state"): ("shadow", "promoted"),
    ("rollouts", "baseline_share"): (0.1, 0.05),
    ("rollouts", "canary_share"): (0.1, 0.30000000000000004),
    ("rollbacks", "rollout_id"): (1, None),
    ("rollbacks", "decision_id"): (None, 2),
    ("upkeep", "kind"): ("backup", "clean_up"),
    ("promotions", "generation"): (1, 1),
    ("champions", "generation"): (1, 1),
    ("decisions", "generation"): (0, 0),
    ("decisions", "approval"): (None, {"by": "anna"}),
}


def fill(db: Database, said: Mapping[tuple[str, str], Sequence[Any]] | None = None) -> None:
    """Write two rows into every table; `said` names values of columns, where the test needs its own."""
    known = {**SAID, **(said or {})}
    made: dict[str, list[dict[str, Any]]] = {}
    with db.session() as session:
        for table in Base.metadata.sorted_tables:
            made[table.name] = [_row(table, number, made, known) for number in range(2)]
            for row in made[table.name]:
                session.execute(table.insert().values(row))
            if session.get_bind().dialect.name == "postgresql" and "id" in table.columns:
                session.execute(sa.text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), 2)"))


def _row(
    table: sa.Table,
    number: int,
    made: Mapping[str, list[dict[str, Any]]],
    said: Mapping[tuple[str, str], Sequence[Any]],
) -> dict[str, Any]:
    row = {column.name: _value(table, column, number, said) for column in table.columns}
    for constraint in table.foreign_key_constraints:
        for column, element in zip(constraint.columns, constraint.elements, strict=True):
            if (table.name, column.name) not in said and row[column.name] is not None:
                row[column.name] = made[element.column.table.name][number][element.column.name]
    return row


def _value(table: sa.Table, column: sa.Column[Any], number: int, said: Mapping[tuple[str, str], Sequence[Any]]) -> Any:
    if (table.name, column.name) in said:
        return said[table.name, column.name][number]
    if column.nullable and number == 0:
        return None
    if isinstance(column.type, CanonicalJson):
        return {"text": "ä\u2028\n", "number": number + 0.1, "list": [None, True]}
    if (table.name, column.name) == ("versions", "digest"):
        return DIGESTS[number]
    plain = column.type.impl_instance if isinstance(column.type, sa.TypeDecorator) else column.type
    kind = plain.python_type
    if column.name == "id":
        return number + 1
    if column.name == "market":
        return f"m{number}"
    values: dict[type, Any] = {
        bool: bool(number),
        int: number + 3,
        float: number / 3,
        datetime: AT + timedelta(hours=number),
        date: DAY + timedelta(days=number),
        bytes: bytes(range(256)),
        str: f"{column.name} {number} é\n\r\t\u2029€",
    }
    return values[kind]
