"""Faults of the database itself: each test proves that its fault happened, and that nothing was lost or left half."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from ml.core.errors import RetryableError, StoreUnavailable
from ml.ledger import engine, incidents, outbox, watermarks
from ml.ledger.database import Database

AT = datetime(2026, 1, 6, tzinfo=UTC)
DAY = date(2026, 1, 5)


class Server(Protocol):
    """What these tests do to the PostgreSQL server of the conftest."""

    port: int
    password: str

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def execute(self, statement: str, *names: str) -> None: ...
    def dsn(self, database: str) -> str: ...


def open_file(file: Path) -> Database:
    return Database.open(f"sqlite:///{file}")


def uses(db: Database) -> list[Callable[[], object]]:
    """A check, a read and a write."""
    return [db.check, partial(watermarks.get, db, "m", "v"), partial(watermarks.advance, db, "m", "v", DAY, AT)]


def driver_error(error: BaseException) -> BaseException:
    """The driver's own error under one of ours."""
    cause = error.__cause__
    assert isinstance(cause, DBAPIError)
    assert cause.orig is not None
    return cause.orig


def sqlite_code(error: BaseException) -> str:
    own = driver_error(error)
    assert isinstance(own, sqlite3.Error)
    return own.sqlite_errorname


def test_a_file_that_is_not_there_says_to_migrate_and_is_not_created(tmp_path: Path) -> None:
    db = open_file(tmp_path / "new.db")
    for use in uses(db):
        with pytest.raises(StoreUnavailable, match=r"new\.db does not exist yet; run: bidwright migrate"):
            use()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "no" / "such"
    db = open_file(missing / "ledger.db")
    for use in (db.check, db.migrate):
        with pytest.raises(StoreUnavailable, match=rf"the folder {missing} does not exist; check BIDWRIGHT_HOME"):
            use()
    assert list(tmp_path.iterdir()) == []


def test_migrating_makes_the_working_folder_itself_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "home" / "ledger.db"
    open_file(file).migrate()
    open_file(file).check()
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"not a database, " * 512, b"SQLite format 3\x00" + bytes(range(256)) * 32])
def test_a_file_of_garbage_is_named_and_left_as_it_was(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "ledger.db"
    file.write_bytes(content)
    db = open_file(file)
    for use in (*uses(db), db.migrate):
        with pytest.raises(StoreUnavailable, match=r"is not a readable database.*; restore it from a backup") as caught:
            use()
        assert sqlite_code(caught.value) in {"SQLITE_NOTADB", "SQLITE_CORRUPT"}
    assert file.read_bytes() == content


def test_a_damaged_page_is_an_error_and_never_an_answer(sqlite_file: Path) -> None:
    db = open_file(sqlite_file)
    for day in range(1, 29):
        watermarks.advance(db, "m", f"view {day}" + "x" * 400, date(2026, 1, day), AT)
    whole = sqlite_file.read_bytes()
    sqlite_file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(StoreUnavailable, match="is not a readable database") as caught:
        watermarks.all_views(db, "m")
    assert sqlite_code(caught.value) == "SQLITE_CORRUPT"


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"cannot be opened.*; check that it is a file") as caught:
        open_file(tmp_path).check()
    assert sqlite_code(caught.value).startswith("SQLITE_CANTOPEN")


def as_ordinary_user(work: Callable[[], object]) -> str:
    """What a StoreUnavailable from `work` says when an ordinary user runs it (root may read and write anything)."""
    if os.geteuid() != 0:
        with pytest.raises(StoreUnavailable) as caught:
            work()
        return str(caught.value)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgid(65534)
        os.setuid(65534)
        try:
            work()
            said = "no error"
        except StoreUnavailable as error:
            said = str(error)
        except BaseException as error:  # noqa: BLE001  (the child must end here whatever happens)
            said = repr(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    assert os.waitpid(child, 0)[1] == 0
    with os.fdopen(reader) as answer:
        return answer.read()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="bidwright-ledger-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_file_that_this_user_may_not_read_is_named(sqlite_file: Path, open_folder: Path) -> None:
    file = open_folder / "ledger.db"
    shutil.copyfile(sqlite_file, file)
    db = open_file(file)
    db.check()
    file.chmod(0)
    said = as_ordinary_user(db.check)
    assert f"{file} cannot be opened" in said
    assert "check that it is a file and that this user may read and write it" in said


def test_a_file_that_this_user_may_only_read_cannot_be_written_and_says_so(
    sqlite_file: Path, open_folder: Path
) -> None:
    file = open_folder / "ledger.db"
    shutil.copyfile(sqlite_file, file)
    db = open_file(file)
    watermarks.advance(db, "m", "v", DAY, AT)
    file.chmod(0o444)
    open_folder.chmod(0o555)
    said = as_ordinary_user(lambda: watermarks.advance(db, "m", "v", date(2026, 1, 6), AT))
    assert "cannot be written: it is read-only" in said or "cannot be opened" in said
    assert watermarks.get(db, "m", "v") == DAY


@contextmanager
def full_disk() -> Iterator[None]:
    """Let SQLite files grow no further: SQLite then reports exactly what it reports on a full disk."""

    def freeze(connection: sqlite3.Connection, _: object) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {int(pages)}")

    event.listen(Engine, "connect", freeze)
    try:
        yield
    finally:
        event.remove(Engine, "connect", freeze)


def test_a_full_disk_says_so_loses_nothing_and_writes_nothing_of_the_step(sqlite_file: Path) -> None:
    db = open_file(sqlite_file)
    watermarks.advance(db, "m", "before", DAY, AT)

    def report() -> None:
        with db.session() as session:
            incident, _ = incidents.raise_incident(
                session, "m", "drift", day=DAY, severity="warning", title="drift", details={}, at=AT
            )
            outbox.put(
                session, key="k", to="a", subject="s", text="t", html="h", incident_id=incident.id, at=AT,
                attachments=[("report", "text/html", b"x" * 1_000_000)],
            )  # fmt: skip

    with full_disk():
        with pytest.raises(
            StoreUnavailable, match="the disk is full; nothing of this step was written; free"
        ) as caught:
            report()
        assert sqlite_code(caught.value) == "SQLITE_FULL"
        assert watermarks.get(db, "m", "before") == DAY
        assert incidents.all_incidents(db, "m", 10) == []
    report()
    assert len(outbox.pending(db)) == len(incidents.open_incidents(db, "m")) == 1


def test_a_full_disk_while_migrating_leaves_no_tables_and_a_later_try_succeeds(tmp_path: Path) -> None:
    db = open_file(tmp_path / "ledger.db")
    with full_disk():
        with pytest.raises(StoreUnavailable, match="the disk is full"):
            db.migrate()
        with pytest.raises(StoreUnavailable, match="no tables"):
            db.check()
    db.migrate()
    db.check()


def test_a_database_that_another_process_keeps_locked_says_so_and_works_again_afterwards(
    sqlite_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LOCK_TIMEOUT_S", 0.05)
    db = open_file(sqlite_file)
    with closing(sqlite3.connect(sqlite_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="stayed locked by another process; nothing of this step") as caught:
            watermarks.advance(db, "m", "v", DAY, AT)
        assert sqlite_code(caught.value) == "SQLITE_BUSY"
        assert watermarks.get(db, "m", "v") is None  # reading still works
        other.execute("ROLLBACK")
    watermarks.advance(db, "m", "v", DAY, AT)
    assert watermarks.get(db, "m", "v") == DAY


def test_a_database_without_tables_says_to_migrate_whatever_is_asked_of_it(empty: Database, empty_url: str) -> None:
    if empty.kind == "sqlite":
        Path(empty_url.removeprefix("sqlite:///")).touch()
    for use in uses(empty)[1:]:
        with pytest.raises(StoreUnavailable, match=r"has no tables of this platform yet.*; run: bidwright migrate"):
            use()


def test_a_mistake_in_our_own_sql_is_not_dressed_up_as_a_fault_of_the_store(db: Database) -> None:
    with pytest.raises((OperationalError, ProgrammingError)), db.session() as session:
        session.execute(text("SELEKT 1"))


def test_every_fault_of_the_store_may_pass_and_is_retried() -> None:
    assert issubclass(StoreUnavailable, RetryableError)


def test_a_server_that_is_down_is_named_without_its_password_and_comes_back(
    postgres: Server, postgres_migrated: str
) -> None:
    with closing(Database.open(postgres_migrated)) as db:
        db.check()  # leaves a connection in the pool, which the stop then breaks
        postgres.stop()
        try:
            with pytest.raises(
                StoreUnavailable, match=rf"127\.0\.0\.1:{postgres.port}/migrated cannot be reached"
            ) as caught:
                db.check()
        finally:
            postgres.start()
        assert postgres.password not in str(caught.value)
        db.check()


def test_a_connection_that_the_server_ends_inside_a_transaction_leaves_nothing(
    postgres: Server, postgres_migrated: str
) -> None:
    with closing(Database.open(postgres_migrated)) as db:
        with pytest.raises(StoreUnavailable, match="nothing of this step was written"), db.session() as session:
            watermarks.advance(session, "m", "cut", DAY, AT)
            pid = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
            postgres.execute(f"SELECT pg_terminate_backend({int(pid)})")
            watermarks.advance(session, "m", "cut", date(2026, 1, 6), AT)
        assert watermarks.get(db, "m", "cut") is None
        watermarks.advance(db, "m", "cut", DAY, AT)
        assert watermarks.get(db, "m", "cut") == DAY


def test_a_server_that_the_network_no_longer_reaches_is_given_up_within_half_a_minute(postgres_migrated: str) -> None:
    """What the kernel is told of the connection; a partition itself is in the fault campaign."""
    with closing(Database.open(postgres_migrated)) as db, db.reading() as session:
        told = session.connection().connection.driver_connection.info.get_parameters()  # type: ignore[union-attr]
    assert int(told["tcp_user_timeout"]) == 25_000
    assert int(told["keepalives_idle"]) + int(told["keepalives_interval"]) * int(told["keepalives_count"]) == 25


def test_a_wrong_password_and_an_unknown_database_are_told_apart(postgres: Server) -> None:
    right = postgres.dsn("nowhere")
    with pytest.raises(StoreUnavailable, match=r'database "nowhere" does not exist|does not exist on its server'):
        Database.open(right).check()
    with pytest.raises(StoreUnavailable, match=r"password authentication failed|refused the login") as caught:
        Database.open(right.replace(postgres.password, "wrong")).check()
    assert "wrong" not in str(caught.value)
