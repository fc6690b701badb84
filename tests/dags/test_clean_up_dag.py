"""The DAG that removes what nobody needs, and Airflow's own database cleaned by Airflow's own command."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from lifecycle.metadata import ADDRESS, clean_metadata
from ml.core.errors import StoreUnavailable
from ml.core.settings import load_settings
from ml.ledger import upkeep
from ml.ledger.database import Database


@pytest.fixture
def db(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, migrated: Path) -> Iterator[Database]:
    monkeypatch.setenv("BIDWRIGHT_HOME", str(tmp_path))
    shutil.copyfile(migrated, tmp_path / migrated.name)
    with closing(Database.open(load_settings().database)) as database:
        yield database


def test_a_run_measures_the_space_and_skips_airflow_s_database_where_it_has_no_address(
    run_day: Callable[..., Any], db: Database, dagbag: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ADDRESS, raising=False)
    outcome = run_day("clean_up", None)
    assert outcome.state == "success"
    done = upkeep.last(db, "clean_up", "simulator")
    assert done is not None
    assert done.result["space"]["platform database"]["bytes"] > 0
    assert dagbag.get_dag("clean_up").timetable.expression == "30 5 * * *"


def test_nothing_is_cleaned_where_everything_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIDWRIGHT_KEEP_AIRFLOW_DAYS", "0")
    with pytest.raises(AirflowSkipException, match="everything is kept"):
        clean_metadata()


def test_rows_of_airflow_s_database_that_are_older_than_the_setting_go_and_the_others_stay(
    airflow_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.configuration import conf
    from airflow.models.log import Log
    from airflow.utils.session import create_session
    from sqlalchemy import delete, select

    now = datetime.now(UTC)
    with create_session() as session:
        session.execute(delete(Log))
        for days in (1, 89, 91, 400):
            log = Log(event=f"aged {days}")
            log.dttm = now - timedelta(days=days)
            session.add(log)
    monkeypatch.setenv(ADDRESS, conf.get("database", "sql_alchemy_conn"))
    for section in ("DATABASE", "CORE"):  # what Airflow does in a task's process
        monkeypatch.setenv(f"AIRFLOW__{section}__SQL_ALCHEMY_CONN", "airflow-db-not-allowed:///")
    clean_metadata(now)
    clean_metadata(now)
    monkeypatch.undo()
    with create_session() as session:
        found = {event for event in session.scalars(select(Log.event)) if event.startswith("aged")}
    assert found == {"aged 1", "aged 89"}


def test_a_database_that_cannot_be_cleaned_is_said_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "postgresql+psycopg2://airflow:secret@127.0.0.1:1/airflow"
    monkeypatch.setenv(ADDRESS, address)
    with pytest.raises(StoreUnavailable, match="airflow db clean ended with 1") as told:
        clean_metadata()
    assert "secret" not in str(told.value)
