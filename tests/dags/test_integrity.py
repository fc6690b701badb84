"""The house rules that every DAG keeps."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

DAGS = {
    "ingest_market",
    "settle_outcomes",
    "materialize_features",
    "check_drift",
    "train_bid_model",
    "promote_bid_model",
    "publish_bids",
    "rehearse_rollback",
    "tend_incidents",
    "clean_up",
}

HEAVY = {"lightgbm", "pandas", "feast", "evidently", "sklearn", "mlflow", "matplotlib", "pyarrow", "duckdb"}


def test_every_dag_is_there_and_none_fails_to_import(dagbag: Any) -> None:
    assert dagbag.import_errors == {}
    assert set(dagbag.dags) == DAGS


@pytest.mark.parametrize("dag_id", sorted(DAGS))
def test_a_dag_has_an_owner_tags_docs_and_retries_and_runs_one_day_at_a_time(dag_id: str, dagbag: Any) -> None:
    dag = dagbag.get_dag(dag_id)
    assert dag.catchup is False
    assert dag.max_active_runs == 1
    assert "bidwright" in dag.tags
    for heading in ("What it does.", "Woken by", "Writes", "fails"):
        assert heading in dag.doc_md, heading
    for task in dag.tasks:
        assert task.owner == "bid-team"
        assert task.retries == 3
        assert task.retry_exponential_backoff
        assert task.retry_policy is not None
        assert task.execution_timeout == timedelta(hours=3)


def test_the_online_store_has_one_writer(dagbag: Any) -> None:
    assert dagbag.get_dag("materialize_features").get_task("put_online").pool == "online_store"


def test_the_calendar_runs_each_day_for_the_day_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from airflow.timetables.base import TimeRestriction
    from airflow.timetables.trigger import CronPartitionTimetable as Core
    from pendulum import datetime

    from lifecycle.settings import market_calendar

    monkeypatch.setenv("BIDWRIGHT_HOME", str(tmp_path))
    monkeypatch.setenv("BIDWRIGHT_SCHEDULE", "30 1 * * *")
    calendar = market_calendar()
    core = Core(
        calendar.expression,
        timezone="UTC",
        run_offset=calendar.run_offset,
        key_format=calendar.key_format,
    )
    start = TimeRestriction(earliest=datetime(2026, 3, 1), latest=None, catchup=True)
    info = core.next_dagrun_info_v2(last_dagrun_info=None, restriction=start)
    assert info.run_after == datetime(2026, 3, 1, 1, 30)
    assert info.partition_key == "2026-02-28"


@pytest.mark.parametrize("dag_id", ["clean_up", "rehearse_rollback"])
def test_a_new_platform_does_not_begin_with_the_cleaning_of_this_morning(
    dag_id: str, dagbag: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.timetables.base import TimeRestriction
    from airflow.timetables.trigger import CronTriggerTimetable as Core
    from pendulum import datetime

    dag = dagbag.get_dag(dag_id)
    noon = datetime(2026, 3, 4, 12)
    monkeypatch.setattr("airflow.timetables.trigger.utcnow", lambda: noon)
    first = Core(dag.timetable.expression, timezone="UTC").next_dagrun_info(
        last_automated_data_interval=None,
        restriction=TimeRestriction(earliest=dag.start_date, latest=None, catchup=dag.catchup),
    )
    assert first.run_after > noon


def test_without_a_calendar_no_run_starts_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from lifecycle.settings import market_calendar

    monkeypatch.setenv("BIDWRIGHT_HOME", str(tmp_path))
    monkeypatch.setenv("BIDWRIGHT_SCHEDULE", "none")
    assert market_calendar().can_be_scheduled is False


def test_parsing_a_dag_or_loading_a_plugin_imports_nothing_heavy(tmp_path: Path) -> None:
    """LightGBM used before a fork hangs in the child, and Airflow forks every task from a parent that did this."""
    program = f"""
import json, runpy, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "dags")!r}, {str(ROOT / "plugins")!r}]
for name in {sorted(DAGS)!r}:
    runpy.run_path({str(ROOT / "dags")!r} + "/" + name + ".py")
runpy.run_path({str(ROOT / "plugins" / "bidwright_plugin.py")!r})
print(json.dumps(sorted({HEAVY!r} & set(sys.modules))))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout.splitlines()[-1]) == []
