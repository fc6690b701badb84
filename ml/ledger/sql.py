"""What SQLAlchemy spells per database: insert-on-conflict, whether a statement wrote, and a lock on a key."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Insert, Update, func, literal_column, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ml.ledger.tables import Base


def insert(session: Session, table: type[Base]) -> sqlite.Insert | postgresql.Insert:
    """An INSERT of the session's own dialect, which knows ON CONFLICT."""
    return sqlite.insert(table) if session.get_bind().dialect.name == "sqlite" else postgresql.insert(table)


def wrote(session: Session, statement: Insert | Update) -> bool:
    """Run a conditional write of at most one row; whether it wrote. (Row counts differ per driver.)"""
    return session.execute(statement.returning(literal_column("1"))).first() is not None


def upsert(session: Session, table: type[Base], key: dict[str, Any], values: dict[str, Any]) -> None:
    """Write the row of a primary key, whether it is there or not."""
    statement = insert(session, table).values(**key, **values)
    session.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))


def lock_key(session: Session, *parts: str) -> None:
    """Let one transaction at a time read and then write under a key; it ends with the transaction.

    On SQLite a writing transaction is alone anyway. Unique constraints stand behind every use of it, so
    that correctness never rests on this lock.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("/".join(parts), 0))))
