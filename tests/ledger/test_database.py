from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from ml.core.errors import UsageError
from ml.ledger import stages, watermarks
from ml.ledger.database import Database
from ml.ledger.stages import StageKey
from ml.ledger.tables import StageRow

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
DAY = date(2026, 1, 5)
ROOT = Path(__file__).parents[2]


def test_opening_a_database_touches_nothing(tmp_path: Path) -> None:
    Database.open(f"sqlite:///{tmp_path / 'new.db'}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "bad",
    ["", "no url", "mysql://host/name", "sqlite://", "sqlite:///:memory:", "nosuch://x", "sqlite:///a.db?mode=ro"],
)
def test_a_url_that_cannot_be_a_platform_database_is_a_usage_error(bad: str) -> None:
    with pytest.raises(UsageError, match="database"):
        Database.open(bad)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_way_to_write_postgresql_uses_psycopg_3_and_never_shows_the_password(scheme: str) -> None:
    database = Database.open(f"{scheme}://bidwright:hunter2@127.0.0.1/name")
    assert database.kind == "postgresql"
    assert "psycopg:" in repr(database)
    assert "hunter2" not in repr(database)


def test_an_error_inside_a_session_leaves_nothing(db: Database) -> None:
    with pytest.raises(ZeroDivisionError), db.session() as session:
        watermarks.advance(session, "m", "v", DAY, AT)
        assert watermarks.get(session, "m", "v") == DAY
        _ = 1 / 0
    assert watermarks.get(db, "m", "v") is None


def test_a_reading_transaction_cannot_write(db: Database) -> None:
    with pytest.raises(Exception, match="read-only"), db.reading() as session:
        watermarks.advance(session, "m", "v", DAY, AT)
    assert watermarks.get(db, "m", "v") is None


def test_a_reader_keeps_its_snapshot_and_does_not_block_a_writer(db: Database) -> None:
    watermarks.advance(db, "m", "v", DAY, AT)
    with db.reading() as page:
        assert watermarks.get(page, "m", "v") == DAY
        watermarks.advance(db, "m", "v", date(2026, 1, 6), AT)  # commits while the page still reads
        assert watermarks.get(page, "m", "v") == DAY
    assert watermarks.get(db, "m", "v") == date(2026, 1, 6)


def test_a_writer_does_not_block_a_reader(db: Database) -> None:
    watermarks.advance(db, "m", "v", DAY, AT)
    with db.session() as writer:
        watermarks.advance(writer, "m", "v", date(2026, 1, 6), AT)
        assert watermarks.get(db, "m", "v") == DAY
    assert watermarks.get(db, "m", "v") == date(2026, 1, 6)


def test_within_one_session_what_was_just_written_is_what_is_read(db: Database) -> None:
    key = StageKey("m", "train", DAY)
    with db.session() as session:
        stages.record(session, key, status="done", result={}, at=AT)
        remembered = session.get(StageRow, ("m", "train", DAY))  # the session keeps an entity that is in use
        assert remembered is not None
        for number in range(3):
            stages.record(session, key, status="done", result={"number": number}, at=AT)
            read = stages.for_day(session, "m", DAY)["train"]
            assert read.result == {"number": number}
            assert stages.get(session, key) == read


COUNT = """
from ml.ledger.database import Database
from sqlalchemy import text
db = Database.open(url)
start()
for _ in range(25):
    with db.session() as session:
        seen = session.execute(text("SELECT revision FROM partitions FOR UPDATE" if db.kind == "postgresql" else
                                    "SELECT revision FROM partitions")).scalar_one()
        session.execute(text("UPDATE partitions SET revision = :n"), {"n": seen + 1})
    with db.reading() as session:
        session.execute(text("SELECT count(*) FROM partitions")).scalar_one()
db.close()
print("done")
"""


def test_processes_that_read_and_then_write_never_collide_or_lose_a_write(
    db: Database, url: str, race: Callable[[str, int, str], list[str]]
) -> None:
    with db.session() as session:
        session.execute(
            text(
                "INSERT INTO partitions (market, table_name, day, revision, digest, rows_in, accepted, quarantined,"
                " reasons, landed_at) VALUES ('m', 't', '2026-01-05', 0, 'd', 0, 0, 0, '{}', '2026-01-05 12:00:00')"
            )
        )
    assert race(COUNT, 3, url) == ["done"] * 3
    with db.reading() as session:
        assert session.execute(text("SELECT revision FROM partitions")).scalar_one() == 75


FORK = """
import os, sys
from datetime import UTC, date, datetime, timedelta
from ml.ledger import watermarks
from ml.ledger.database import Database
db = Database.open(sys.argv[1])
at = datetime(2026, 1, 5, tzinfo=UTC)
watermarks.advance(db, "m", "parent", date(2026, 1, 5), at)
child = os.fork()
me, other = ("parent", "child") if child else ("child", "parent")
for days in range(1, 31):
    watermarks.advance(db, "m", me, date(2026, 1, 5) + timedelta(days=days), at)
    assert watermarks.get(db, "m", me) == date(2026, 1, 5) + timedelta(days=days)
    watermarks.get(db, "m", other)
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(watermarks.all_views(db, "m"))
db.close()
"""


def test_a_database_used_before_a_fork_works_in_parent_and_child(url: str) -> None:
    """Airflow forks every task from a process that may have used the same handle."""
    end = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK, url], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert end.stderr == ""
    assert end.stdout.strip() == str({"child": date(2026, 2, 4), "parent": date(2026, 2, 4)})


def test_sqlite_keeps_a_write_ahead_log_and_checks_foreign_keys(sqlite_file: Path) -> None:
    with Database.open(f"sqlite:///{sqlite_file}").session() as session:
        assert session.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert session.execute(text("PRAGMA foreign_keys")).scalar_one() == 1
        assert session.execute(text("PRAGMA synchronous")).scalar_one() == 2
        assert session.execute(text("PRAGMA busy_timeout")).scalar_one() == 30_000


def test_importing_the_ledger_loads_no_migrations_no_driver_and_no_data_frames() -> None:
    code = (
        "import sys; from ml.ledger import champion, decisions, incidents, outbox, partitions, publications, reports,"
        " stages, versions, watermarks; print([name for name in ('alembic', 'psycopg', 'pandas', 'airflow', 'mako')"
        " if name in sys.modules])"
    )
    end = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert end.stdout.strip() == "[]"
