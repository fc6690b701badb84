"""Which revision of the tables a database has, and how it gets to the newest.

To change a table: change `ml.ledger.tables`, write the step as migrations/versions/NNNN_what_it_does.py, and add
NNNN to `REVISIONS`. A test compares the migrated tables with the models on each kind of database.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

if TYPE_CHECKING:
    from alembic.config import Config

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
"""Every revision this code knows, oldest first (the names of the files in migrations/versions)."""

HEAD = REVISIONS[-1]
MIGRATIONS = Path(__file__).parent / "migrations"

_LOCK_KEY = 7_204_771_190_226_001  # any number that nobody else uses in the same PostgreSQL database


def revision(connection: Connection) -> str | None:
    """The revision a database is at; None when it has never been migrated."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def lock(connection: Connection) -> None:
    """Let one process migrate at a time; SQLite's write transaction does so by itself."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})


def upgrade(connection: Connection, to: str = HEAD) -> None:
    """Run the missing migrations up to revision `to` inside the connection's transaction: all of them, or none."""
    from alembic import command

    command.upgrade(_config(connection), to)


def downgrade(connection: Connection, to: str) -> None:
    """Undo the migrations after revision `to` inside the connection's transaction; what only they can hold is lost."""
    from alembic import command

    command.downgrade(_config(connection), to)


def _config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
