"""Engines: how a connection is opened and how a transaction begins, for SQLite and for PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
import weakref
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, NullPool, Pool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from ml.core.errors import UsageError

LOCK_TIMEOUT_S = 30.0
READING = "bidwright_reading"
"""Execution option of a connection whose transaction only reads."""

_LOST_LINK = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""A server that the network no longer reaches is given up after 25 s; Linux by itself takes a quarter of an hour where something was
sent, and two hours where only an answer is waited for. The last is in milliseconds."""

_POSTGRESQL_DRIVER = "postgresql+psycopg"
_HOW = "write sqlite:////path/to/file.db or postgresql://user@host/name"


def parse_url(text: str) -> URL:
    """Read a database URL: a SQLite file, or PostgreSQL through psycopg 3.

    Raises:
        UsageError: not a URL, another kind of database, or SQLite in memory (each connection would see its own).
    """
    try:
        url = make_url(text)
        kind = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise UsageError("the database URL cannot be read", next=_HOW) from error
    if kind in {"postgresql", "postgres"}:
        if "@" in (url.host or ""):  # it would be told as a part of the host's name
            raise UsageError("the database URL has an @ in its password", next="write it as %40")
        if "password" in url.query:
            raise UsageError("the database URL has its password behind the ?", next="write it as user:password@host")
        return url.set(drivername=_POSTGRESQL_DRIVER)
    if kind != "sqlite":
        raise UsageError(f"the platform database cannot be {kind}", next=_HOW)
    if not url.database or url.database == ":memory:" or url.query:
        raise UsageError("the platform database must be a plain file, so that every process sees it", next=_HOW)
    return url


def make_engine(url: URL) -> Engine:
    """An engine for a parsed URL; opens nothing."""
    return _sqlite_engine(url) if url.get_backend_name() == "sqlite" else _postgresql_engine(url)


def _sqlite_engine(url: URL) -> Engine:
    # One connection per transaction: a SQLite connection must never cross a fork, and Airflow forks every task.
    # mode=rw: a mistyped path is an error, not a new empty database.
    address = f"file:{quote(url.database or '')}?mode=rw"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            address, uri=True, timeout=LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    engine = create_engine(url, creator=connect, poolclass=NullPool)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_sqlite(connection: Connection) -> None:
    if connection.get_execution_options().get(READING):
        connection.exec_driver_sql("PRAGMA query_only = ON")
        connection.exec_driver_sql("BEGIN")
    else:
        # The write lock is taken first: a transaction that reads and then writes can otherwise fail at once
        # with "database is locked", because no waiting would make its snapshot current again.
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _postgresql_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        pool_size=2,
        max_overflow=4,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 10, "prepare_threshold": None, **_LOST_LINK},
    )
    _forget_pool_in_children(engine)
    return engine


_INHERITED: list[Pool] = []
"""Pools whose connections belong to the process that this one was forked from."""


def _forget_pool_in_children(engine: Engine) -> None:
    reference = weakref.ref(engine)

    def forget() -> None:
        if (mine := reference()) is not None:
            # Kept, and never used again: what is collected in the child would complain that it is still open.
            _INHERITED.append(mine.pool)
            mine.dispose(close=False)

    os.register_at_fork(after_in_child=forget)
