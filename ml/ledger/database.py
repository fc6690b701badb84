"""The platform database: transactions, migrations, and one clear sentence when it cannot be used."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from sqlalchemy import URL, Connection, Engine, func, select
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.orm import Session

from ml.core.errors import BidwrightError, StoreUnavailable
from ml.core.hidden import hidden
from ml.ledger import failures, schema
from ml.ledger.engine import LOCK_TIMEOUT_S, READING, make_engine, parse_url

_WAL_RETRY_S = 0.05
# Within one transaction, plain statements write and entities are read: never answer from a remembered entity.
_FRESH = {"populate_existing": True}


class Database:
    """A handle on the platform database; making one opens nothing.

    Safe to share between threads, and between a parent and the children it forks.
    """

    def __init__(self, url: URL, engine: Engine) -> None:
        self._url = url
        self._engine = engine
        self._readers = engine.execution_options(**self._reader_options())

    @classmethod
    def open(cls, url: str) -> Database:
        """A handle on `sqlite:///file` or `postgresql://...`; UsageError for anything else."""
        parsed = parse_url(url)
        return cls(parsed, make_engine(parsed))

    def __repr__(self) -> str:
        return f"Database({hidden(self._url.render_as_string())!r})"

    @property
    def shown(self) -> str:
        """Its address for a person, without the password."""
        return hidden(self._url.render_as_string()) if self.kind != "sqlite" else f"sqlite:///{self._url.database}"

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._url.get_backend_name()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction that may write: committed on exit, rolled back on an error.

        On SQLite it waits up to 30 s for the one write lock, so that two processes never collide half-way.

        Raises:
            StoreUnavailable: the database is absent, unreadable, unreachable, locked, full or not migrated.
        """
        with self._explained(), self._begin(self._engine) as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that only reads, from one snapshot; it never makes a writer wait. Raises as `session`."""
        with self._explained(), self._begin(self._readers) as session:
            yield session

    def exists(self) -> bool:
        """Whether there is a file, where the database is one; a server is asked only when it is used."""
        return self.kind != "sqlite" or Path(self._url.database or "").exists()

    def migrate(self) -> None:
        """Bring the tables to the newest revision; idempotent, and safe when several processes do it at once.

        Makes the SQLite file and its own folder where they are missing, but no folder above that.

        Raises:
            StoreUnavailable: as `session`, or when the database is newer than this code.
        """
        self._create_file()
        with self._explained(), self._readers.begin() as connection:
            at = schema.revision(connection)
        if at == schema.HEAD:
            return
        self._use_write_ahead_log()
        with self._explained(), self._engine.begin() as connection:
            schema.lock(connection)
            self._refuse_newer(schema.revision(connection))
            schema.upgrade(connection)

    def check(self) -> None:
        """Show that the database can be read and has the tables that this code expects.

        Raises:
            StoreUnavailable: it cannot, with what is wrong and what to do.
        """
        with self._explained(), self._readers.begin() as connection:
            self._expect_head(connection)

    def size(self) -> int:
        """Bytes that the database takes on its disk. Raises as `session`."""
        if self.kind == "sqlite":
            file = Path(self._url.database or "")
            parts = (file, file.with_name(f"{file.name}-wal"))
            return sum(part.stat().st_size for part in parts if part.exists())
        with self._explained(), self._readers.begin() as connection:
            return int(connection.execute(select(func.pg_database_size(func.current_database()))).scalar_one())

    def server_time(self) -> datetime | None:
        """What the database's own machine takes for now; None where the database is a file. Raises as `session`."""
        if self.kind == "sqlite":
            return None
        with self._explained(), self._readers.begin() as connection:
            at: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return at.astimezone(UTC)

    def close(self) -> None:
        """Close pooled connections; the handle stays usable."""
        self._engine.dispose()

    @contextmanager
    def _begin(self, engine: Engine) -> Iterator[Session]:
        with Session(engine, expire_on_commit=False, execution_options=_FRESH) as session, session.begin():
            yield session

    def _reader_options(self) -> dict[str, object]:
        if self.kind == "sqlite":
            return {READING: True}
        return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

    def _expect_head(self, connection: Connection) -> None:
        at = schema.revision(connection)
        self._refuse_newer(at)
        if at is None:
            raise StoreUnavailable(
                f"{failures.describe(self._url)} has no tables of this platform yet", next=failures.MIGRATE
            )
        if at != schema.HEAD:
            raise StoreUnavailable(
                f"{failures.describe(self._url)} is at revision {at}, older than this code ({schema.HEAD})",
                next=failures.MIGRATE,
            )

    def _refuse_newer(self, at: str | None) -> None:
        if at is not None and at not in schema.REVISIONS:
            raise StoreUnavailable(
                f"{failures.describe(self._url)} is at revision {at}: the database is newer than this code "
                f"({schema.HEAD})",
                left="nothing was changed",
                next="run the newer version of bidwright, or restore an older backup",
            )

    def _create_file(self) -> None:
        if self.kind != "sqlite":
            return
        file = Path(self._url.database or "")
        if file.exists():
            return
        try:
            file.parent.mkdir(exist_ok=True, mode=0o700)
            file.touch(mode=0o600)
        except FileNotFoundError:
            raise failures.absent(self._url) from None
        except OSError as error:
            raise StoreUnavailable(
                f"{failures.describe(self._url)} cannot be created: {error.strerror}",
                next="check the folder and its disk, then " + failures.MIGRATE,
            ) from error

    def _use_write_ahead_log(self) -> None:
        """Switch a SQLite file to write-ahead logging, where readers and the writer do not block each other."""
        if self.kind != "sqlite":
            return
        give_up = time.monotonic() + LOCK_TIMEOUT_S
        with self._explained():
            while True:
                connection = self._engine.raw_connection()
                try:
                    connection.cursor().execute("PRAGMA journal_mode = WAL")
                    return
                except sqlite3.OperationalError as error:
                    # SQLite does not wait for the lock that this one statement needs; another process is switching.
                    if "locked" not in str(error) or time.monotonic() > give_up:
                        raise
                    time.sleep(_WAL_RETRY_S)
                finally:
                    connection.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            meant = failures.explain(cause or error, self._url)
            if meant is None:
                raise
            raise meant from error
        except StatementError as error:
            if isinstance(error.orig, BidwrightError):
                raise error.orig from None
            raise


Transaction: TypeAlias = Session
"""A transaction that several ledger functions take part in; all of what they write happens, or nothing."""

Store: TypeAlias = Database | Session
"""Where a ledger function works: a database (its own transaction) or a session (the caller's transaction)."""


def writing(store: Store) -> AbstractContextManager[Session]:
    """The caller's session as it is, or a new transaction that may write."""
    return nullcontext(store) if isinstance(store, Session) else store.session()


def reading(store: Store) -> AbstractContextManager[Session]:
    """The caller's session as it is, or a new transaction that only reads."""
    return nullcontext(store) if isinstance(store, Session) else store.reading()
