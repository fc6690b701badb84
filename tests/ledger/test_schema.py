from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Integer, MetaData, inspect, text

from ml.core.errors import StoreUnavailable
from ml.ledger import incidents, outbox, schema
from ml.ledger.database import Database
from ml.ledger.tables import Base


def tables(db: Database) -> set[str]:
    with db.reading() as session:
        return set(inspect(session.connection()).get_table_names())


def set_revision(db: Database, revision: str) -> None:
    with db.session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


@pytest.fixture
def own(empty: Database) -> Database:
    """A migrated database that no other test uses."""
    empty.migrate()
    return empty


def test_the_revisions_this_code_knows_are_the_migration_files() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == schema.REVISIONS
    assert scripts.get_heads() == [schema.HEAD]


def test_migrations_and_models_describe_the_same_tables(db: Database) -> None:
    with db.reading() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_that_comparison_would_see_a_forgotten_migration(db: Database) -> None:
    changed = MetaData(naming_convention=Base.metadata.naming_convention)
    for table in Base.metadata.sorted_tables:
        table.to_metadata(changed)
    changed.tables["stages"].append_column(Column("forgotten", Integer))
    with db.reading() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        assert [difference[0] for difference in compare_metadata(context, changed)] == ["add_column"]


def test_every_constraint_has_a_name_from_the_convention(db: Database) -> None:
    with db.reading() as session:
        inspector = inspect(session.connection())
        for name, table in Base.metadata.tables.items():
            names = [constraint["name"] for constraint in inspector.get_unique_constraints(name)]
            names += [constraint["name"] for constraint in inspector.get_check_constraints(name)]
            names += [constraint["name"] for constraint in inspector.get_foreign_keys(name)]
            names += [inspector.get_pk_constraint(name)["name"]]
            assert {str(constraint.name) for constraint in table.constraints} == set(names)


def test_migrating_makes_the_tables_and_a_second_time_changes_nothing(empty: Database) -> None:
    empty.migrate()
    assert tables(empty) == {*Base.metadata.tables, "alembic_version"}
    empty.migrate()
    empty.check()


MIGRATE = """
from ml.ledger.database import Database
import alembic.command
db = Database.open(url)
start()
db.migrate()
db.check()
db.close()
print("migrated")
"""


def test_processes_that_migrate_at_the_same_time_all_succeed(
    empty: Database, empty_url: str, race: Callable[[str, int, str], list[str]]
) -> None:
    assert race(MIGRATE, 3, empty_url) == ["migrated"] * 3
    empty.check()


def test_a_migration_that_fails_half_way_leaves_no_tables(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = schema.upgrade

    def break_after(connection: object) -> None:
        whole(connection)  # type: ignore[arg-type]
        raise RuntimeError("broke after creating the tables")

    monkeypatch.setattr(schema, "upgrade", break_after)
    with pytest.raises(RuntimeError, match="broke after"):
        empty.migrate()
    assert tables(empty) == set()
    monkeypatch.undo()
    empty.migrate()
    empty.check()


def test_the_migrations_can_be_undone_and_done_again(own: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    with own.session() as session:
        config.attributes["connection"] = session.connection()
        command.downgrade(config, "base")
    assert tables(own) == {"alembic_version"}
    own.migrate()
    own.check()
    assert tables(own) == {*Base.metadata.tables, "alembic_version"}


def test_incidents_and_mails_from_before_people_worked_on_them_keep_all_they_had(own: Database) -> None:
    at, day = datetime(2026, 1, 6, tzinfo=UTC), date(2026, 1, 5)
    for cause in ("drift", "parity"):
        incidents.raise_incident(
            own, "m", cause, day=day, severity="warning", title="t", details={"a": [1]}, at=at, at_stake_micros=7
        )
    incidents.resolve(own, "m", "parity", day=day, at=at, reason="over")
    outbox.put(own, key="k", to="a@x", subject="s", text="t", html="h", incident_id=1, at=at)
    before = incidents.all_incidents(own, "m", 9)
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    with own.session() as session:
        config.attributes["connection"] = session.connection()
        command.downgrade(config, "0005")
    own.migrate()
    assert [replace(i, at_stake_micros=7, alarmed_at=at) for i in incidents.all_incidents(own, "m", 9)] == before
    assert [(mail.key, mail.incident_id) for mail in outbox.pending(own)] == [("k", 1)]
    assert [incident.cause for incident in incidents.open_on(own, "m", day)] == ["drift"]
    reopened, opened = incidents.raise_incident(
        own, "m", "parity", day=day, severity="warning", title="t", details={}, at=at
    )
    assert (reopened.id, opened, reopened.reopened) == (2, True, 1)


def test_a_database_without_tables_says_to_migrate(empty: Database, empty_url: str) -> None:
    if empty_url.startswith("sqlite"):
        Path(empty_url.removeprefix("sqlite:///")).touch()
    with pytest.raises(StoreUnavailable, match=r"no tables of this platform yet; run: bidwright migrate"):
        empty.check()


def test_a_database_that_is_newer_than_this_code_is_left_alone(own: Database) -> None:
    set_revision(own, "9999")
    for use in (own.check, own.migrate):
        with pytest.raises(StoreUnavailable, match="revision 9999: the database is newer than this code"):
            use()
    with own.reading() as session:
        assert schema.revision(session.connection()) == "9999"


def test_a_database_that_is_older_than_this_code_says_to_migrate(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = schema.HEAD
    monkeypatch.setattr(schema, "REVISIONS", (*schema.REVISIONS, "0999"))
    monkeypatch.setattr(schema, "HEAD", "0999")
    with pytest.raises(StoreUnavailable, match=rf"revision {newest}, older than this code .* run: bidwright migrate"):
        db.check()
