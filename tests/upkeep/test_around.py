"""Before anything is started on Airflow's database and broker, what is wrong with them is said in one sentence, and is over with its cause."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis

from local.around import _known, check_airflow_database, check_broker
from ml.core.errors import StoreUnavailable
from tests.features.online.feast_repo import redis_server, why_no_redis
from tests.ledger.conftest import PostgresServer

ROOT = Path(__file__).parents[2]
needs_redis = pytest.mark.skipif(bool(why_no_redis()), reason=why_no_redis() or "")


@pytest.fixture
def airflow_url(postgres: PostgresServer) -> Iterator[str]:
    """A database of Airflow's with a user of its own, as Airflow's settings name it."""
    postgres.execute("CREATE DATABASE airflow_around")
    postgres.execute("CREATE ROLE {} LOGIN PASSWORD 'right'", "around")
    try:
        yield f"postgresql+psycopg://around:right@127.0.0.1:{postgres.port}/airflow_around"
    finally:
        postgres.execute("DROP DATABASE airflow_around WITH (FORCE)")
        postgres.execute("DROP ROLE {}", "around")


def test_a_wrong_password_of_airflows_database_is_said_without_it_and_is_over_once_it_is_right(
    airflow_url: str,
) -> None:
    with pytest.raises(StoreUnavailable, match=r"^Airflow's database .* refused the login") as refused:
        check_airflow_database(airflow_url.replace(":right@", ":wrong-one@"))
    assert "wrong-one" not in str(refused.value)
    assert "AIRFLOW_DB_PASSWORD" in refused.value.next
    assert check_airflow_database(airflow_url) == "no tables yet"


def test_a_database_of_a_newer_airflow_is_refused_and_one_of_this_airflow_is_not(
    airflow_url: str, postgres: PostgresServer
) -> None:
    import psycopg
    from airflow.utils.db import _REVISION_HEADS_MAP

    assert set(_REVISION_HEADS_MAP.values()) <= _known(), "each of Airflow's own versions"
    known = list(_REVISION_HEADS_MAP.values())[-1]
    with psycopg.connect(postgres.dsn("airflow_around"), autocommit=True) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num text)")
        connection.execute("GRANT SELECT ON alembic_version TO around")
        connection.execute("INSERT INTO alembic_version VALUES ('ffff00000000')")
        with pytest.raises(StoreUnavailable, match=r"revision ffff00000000, .* newer than this code"):
            check_airflow_database(airflow_url)
        connection.execute("UPDATE alembic_version SET version_num = %s", (known,))
    assert check_airflow_database(airflow_url) == f"revision {known}"


@needs_redis
def test_a_queue_that_refuses_the_login_or_takes_no_writes_is_said_and_is_over_with_its_cause(tmp_path: Path) -> None:
    with ExitStack() as ending:
        port = ending.enter_context(redis_server(tmp_path))
        client = ending.enter_context(Redis("127.0.0.1", port))
        client.acl_setuser(
            "airflow", enabled=True, passwords=["+right"], keys=["_kombu.*"], commands=["+set", "+select"]
        )
        right = f"redis://airflow:right@127.0.0.1:{port}/1"
        with pytest.raises(StoreUnavailable, match="refused the login") as refused:
            check_broker(right.replace(":right@", ":wrong-one@"))
        assert "wrong-one" not in str(refused.value)
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreUnavailable, match="takes no writes"):
            check_broker(right)
        client.config_set("maxmemory", 0)
        assert check_broker(right) == f"127.0.0.1:{port}"
    with pytest.raises(StoreUnavailable, match="takes no writes"):
        check_broker(right)


def test_preparing_a_cluster_ends_with_that_one_sentence_and_starts_nothing(airflow_url: str, tmp_path: Path) -> None:
    wrong = airflow_url.replace(":right@", ":wrong-one@")
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "AIRFLOW_HOME": str(tmp_path),
        "BIDWRIGHT_HOME": str(tmp_path),
        "AIRFLOW_ADMIN_PASSWORD": "x" * 24,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": wrong,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": wrong.replace("+psycopg:", "+psycopg_async:"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "local.prepare"], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("bidwright: Airflow's database ")
    assert "wrong-one" not in done.stderr
