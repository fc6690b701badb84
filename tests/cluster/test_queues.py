"""Which queue a task goes to, that nothing waits on a worker's slot, and that Celery can be imported at all."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.cluster.topology import WORKERS

ROOT = Path(__file__).parents[2]
HEAVY = {("train_bid_model", "train")}
ONLINE = {("materialize_features", "put_online")}


def tasks(dagbag: Any) -> dict[tuple[str, str], Any]:
    return {(dag.dag_id, task.task_id): task for dag in dagbag.dags.values() for task in dag.tasks}


def test_trainings_are_heavy_online_writes_have_one_slot_and_all_else_is_default(dagbag: Any) -> None:
    queues = {key: task.queue for key, task in tasks(dagbag).items()}
    assert {key for key, queue in queues.items() if queue == "heavy"} == HEAVY
    assert {key for key, queue in queues.items() if queue == "online"} == ONLINE
    assert {queue for key, queue in queues.items() if key not in HEAVY | ONLINE} == {"default"}


def test_each_queue_has_a_worker_and_the_two_special_ones_one_slot(dagbag: Any) -> None:
    slots = dict(WORKERS.values())
    assert set(slots) == {task.queue for task in tasks(dagbag).values()}
    assert slots["heavy"] == slots["online"] == 1


def test_no_task_waits_on_a_slot(dagbag: Any) -> None:
    """Waiting is Airflow's (a question), the triggerer's (a rollout), or an asset's: no sensor that holds a worker."""
    from airflow.sdk import BaseSensorOperator

    every = tasks(dagbag)
    assert [key for key, task in every.items() if isinstance(task, BaseSensorOperator)] == []
    waiting = {key: type(task).__name__ for key, task in every.items() if key[0] == "promote_bid_model"}
    assert waiting[("promote_bid_model", "approve")] == "HITLOperator"
    assert waiting[("promote_bid_model", "promote")] == "CarryOut"  # defers: tests/dags/test_rollout_dag.py


def test_celery_is_pinned_below_the_version_that_its_provider_cannot_import() -> None:
    assert "celery[redis]<5.7" in (ROOT / "requirements.in").read_text().splitlines()
    installed = pytest.importorskip("celery", reason="the lock has celery, this environment not yet").__version__
    assert tuple(int(part) for part in installed.split(".")[:2]) < (5, 7)


def test_the_executor_of_the_provider_imports() -> None:
    """With celery 5.7 it would not, and neither `airflow version` nor a DAG would tell."""
    pytest.importorskip("celery", reason="the lock has celery, this environment not yet")
    importlib.metadata.version("apache-airflow-providers-celery")
    code = "from airflow.providers.celery.executors import celery_executor as c; print(c.CeleryExecutor.__name__, c.app.main)"
    said = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert said.returncode == 0 and said.stdout.splitlines()[-1].startswith("CeleryExecutor"), said.stderr[-2000:]
