"""S5, PostgreSQL 15: what docker/postgres/roles.sql lets each of the four roles do, tried by each of them."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql

from ml.core.errors import BidwrightError
from ml.ledger.database import Database
from ml.ledger.outbox import release
from ml.ledger.serving_stamp import serving_stamp
from ml.ledger.tables import Base
from tests.security.conftest import PASSWORDS, POSTGRES_ROLES, Roles

DATABASES = ("airflow", "bidwright", "feast", "postgres", "template1")
MAY_CONNECT = {
    ("airflow", "airflow"),
    ("bidwright", "bidwright"),
    ("bidwright_reader", "bidwright"),
    ("feast", "feast"),
}
TABLES = sorted({*Base.metadata.tables, "alembic_version"})
CHANGES = {
    "insert": "INSERT INTO {table} DEFAULT VALUES",
    "delete in a query": "WITH one AS (DELETE FROM {table} RETURNING 1) SELECT * FROM one",
    "delete": "DELETE FROM {table}",
    "truncate": "TRUNCATE {table} CASCADE",
    "drop": "DROP TABLE {table} CASCADE",
    "alter": "ALTER TABLE {table} ADD COLUMN mine text",
    "index": "CREATE INDEX mine ON {table} ((1))",
    "trigger": "CREATE TRIGGER mine AFTER INSERT ON {table} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "read to change": "SELECT * FROM {table} FOR UPDATE",
    "lock": "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE",
    "own": "ALTER TABLE {table} OWNER TO bidwright_reader",
}
FORBIDDEN_TO_ALL = {
    "make a role": "CREATE ROLE mine",
    "make a superuser": "ALTER ROLE CURRENT_USER SUPERUSER",
    "become the superuser": "SET ROLE postgres",
    "make a database": "CREATE DATABASE mine",
    "read a file": "SELECT pg_read_file('postgresql.conf')",
    "copy from a file": "COPY pg_temp.mine FROM '/etc/passwd'",
    "run a program": "CREATE TEMP TABLE mine (line text); COPY mine FROM PROGRAM 'id'",
    "change the server": "ALTER SYSTEM SET log_statement = 'none'",
    "read passwords": "SELECT rolpassword FROM pg_authid",
    "load a library": "LOAD 'plpython3u'",
    "an extension that reads files": "CREATE EXTENSION file_fdw",
    "stop another's work": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
}
FORBIDDEN_TO_THE_READER = {
    "make a table": "CREATE TABLE mine (x int)",
    "make a temporary table": "CREATE TEMP TABLE mine (x int)",
    "make a schema": "CREATE SCHEMA mine",
    "make a function": "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "become the writer": "SET ROLE bidwright",
    "own the database": "ALTER DATABASE bidwright OWNER TO bidwright_reader",
    "use a sequence": "SELECT nextval(oid::regclass) FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace",
    "write a large object": "SELECT lo_from_bytea(0, 'x')",
}


def refused(roles: Roles, role: str, database: str, statement: str) -> str:
    """What the server said no with; fails where it said yes, or anything else."""
    with roles.connect(role, database) as connection:
        connection.execute("SET default_transaction_read_only = off")  # as an attacker would
        with pytest.raises(psycopg.Error) as error:
            connection.execute(statement.encode())
    return str(error.value.sqlstate)


NOT_ALLOWED = {"42501"}  # insufficient privilege


@pytest.mark.ml_test_score("data5")
@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("role", POSTGRES_ROLES)
def test_a_role_connects_to_its_own_database_and_to_no_other(roles: Roles, role: str, database: str) -> None:
    if (role, database) in MAY_CONNECT:
        with roles.connect(role, database) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        return
    with pytest.raises(psycopg.OperationalError, match=f'permission denied for database "{database}"'):
        roles.connect(role, database)


@pytest.mark.parametrize("change", CHANGES)
def test_the_reader_changes_no_table_of_the_platform(roles: Roles, change: str) -> None:
    for table in TABLES:
        assert refused(roles, "bidwright_reader", "bidwright", CHANGES[change].format(table=table)) in NOT_ALLOWED


def test_the_reader_hands_itself_no_right(roles: Roles) -> None:
    with roles.connect("bidwright_reader", "bidwright") as connection:
        connection.execute("SET default_transaction_read_only = off")
        for table in TABLES:
            connection.execute(
                sql.SQL("GRANT INSERT, UPDATE, DELETE ON {} TO bidwright_reader").format(sql.Identifier(table))
            )
            for right in ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER", "REFERENCES"):
                assert connection.execute("SELECT has_table_privilege(%s, %s)", (table, right)).fetchone() == (False,)


@pytest.mark.parametrize("what", FORBIDDEN_TO_THE_READER)
def test_the_reader_makes_nothing_and_becomes_nobody(roles: Roles, what: str) -> None:
    assert refused(roles, "bidwright_reader", "bidwright", FORBIDDEN_TO_THE_READER[what]) in NOT_ALLOWED


@pytest.mark.parametrize("what", FORBIDDEN_TO_ALL)
@pytest.mark.parametrize(("role", "database"), sorted(MAY_CONNECT))
def test_no_role_rules_the_server_or_runs_code_on_it(roles: Roles, role: str, database: str, what: str) -> None:
    assert refused(roles, role, database, FORBIDDEN_TO_ALL[what]) in NOT_ALLOWED


def test_the_reader_reads_what_the_bid_service_reads_and_what_later_migrations_make(roles: Roles) -> None:
    with closing(Database.open(roles.url("bidwright_reader", "bidwright"))) as database:
        database.check()
        assert serving_stamp(database, "simulator") is not None
    with roles.connect("bidwright", "bidwright") as owner:
        owner.execute("CREATE TABLE of_a_later_migration (x int)")
        try:
            with roles.connect("bidwright_reader", "bidwright") as reader:
                assert reader.execute("SELECT count(*) FROM of_a_later_migration").fetchone() == (0,)
        finally:
            owner.execute("DROP TABLE of_a_later_migration")


def test_a_ledger_opened_as_the_reader_says_no_in_one_sentence(roles: Roles) -> None:
    with closing(Database.open(roles.url("bidwright_reader", "bidwright"))) as database, pytest.raises(BidwrightError):
        release(database, 1, datetime(2026, 3, 2, tzinfo=UTC))


def test_the_roles_can_be_made_again_over_data_and_passwords_can_be_changed(roles: Roles) -> None:
    new = {**PASSWORDS, "BIDWRIGHT_READER_PASSWORD": "another-password-of-a-test"}
    assert roles.run_roles(**new).returncode == 0
    try:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            roles.connect("bidwright_reader", "bidwright")
        with roles.connect("bidwright", "bidwright") as connection:
            assert connection.execute("SELECT version_num FROM alembic_version").fetchone() is not None
    finally:
        assert roles.run_roles(**PASSWORDS).returncode == 0
    with roles.connect("bidwright_reader", "bidwright"):
        pass


@pytest.mark.parametrize("name", PASSWORDS)
@pytest.mark.parametrize("value", [None, "", "short"])
def test_no_role_is_made_without_a_password_worth_the_name(roles: Roles, name: str, value: str | None) -> None:
    given = {key: password for key, password in PASSWORDS.items() if key != name}
    done = roles.run_roles(**given, **({} if value is None else {name: value}))
    assert done.returncode != 0
    assert f"not set, or shorter than 16 characters: {name}" in done.stderr
    with roles.connect("bidwright_reader", "bidwright"):
        pass  # nothing was changed


def test_no_password_reaches_the_log_of_the_server_or_the_screen(roles: Roles) -> None:
    roles.server.execute("ALTER SYSTEM SET log_statement = 'all'")
    roles.server.execute("SELECT pg_reload_conf()")
    try:
        done = roles.run_roles(**PASSWORDS)
    finally:
        roles.server.execute("ALTER SYSTEM RESET log_statement")
        roles.server.execute("SELECT pg_reload_conf()")
    assert done.returncode == 0
    log = (roles.server.folder / "log").read_text()
    assert "ALTER SYSTEM RESET" in log or "SET log_statement" in log  # the server did log statements
    assert [password for password in PASSWORDS.values() if password in log + done.stdout + done.stderr] == []
