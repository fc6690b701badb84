"""What fails, or is late, in Airflow itself opens an incident and is told like any other; one per DAG, or step, not per task."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date
from typing import Any

_log = logging.getLogger(__name__)

KEYLESS = frozenset({"clean_up", "rehearse_rollback", "tend_incidents"})
"""DAGs whose runs are about no market day."""


def report_failure(context: Any) -> None:
    """Open an incident for a task that failed for good, and tell it.

    Args:
        context: the Airflow context of the failure. Airflow calls this in the task's own process; for a
            task that was killed it calls it in the dag processor, and then there is no exception in it.

    A run of the lifecycle without a market day is its caller's mistake, told in the task's log; it opens no incident.
    """
    run = context.get("dag_run")
    if run is None or not (run.partition_key or run.dag_id in KEYLESS):
        return
    task_id = context["ti"].task_id
    from lifecycle.stages import market_day, open_unchecked
    from ml import incidents, pipeline

    error = context.get("exception") or f"the process of the task {task_id} ended without an answer"
    try:
        if run.dag_id in KEYLESS:
            incidents.task_failed(
                open_unchecked(), dag=run.dag_id, task=task_id, day=_day_of(run), error=error, run_id=run.run_id
            )
        else:
            pipeline.fail(open_unchecked(), market_day(run), task_id, error, run_id=run.run_id)
    except Exception:  # noqa: BLE001  (the last door)
        # Airflow would swallow it; the failure of the task itself must stay the one that is seen.
        _log.exception("the failure of %s in %s could not be written to the ledger", task_id, run.run_id)


def report_dag_failure(context: Any) -> None:
    """Open an incident for a DAG run that failed although no task did: it timed out, or its tasks wait for each other.

    Airflow calls this in the dag processor. Where a task failed, `report_failure` has told it.
    """
    run, reason = context.get("dag_run"), str(context.get("reason") or "")
    if run is None or reason == "task_failure":
        return
    from lifecycle.stages import open_unchecked
    from ml import incidents

    said = f"the run failed without a task that did: {reason.replace('_', ' ') or 'no reason was given'}"
    try:
        incidents.dag_failed(open_unchecked(), dag=run.dag_id, day=_day_of(run), reason=said, run_id=run.run_id)
    except Exception:  # noqa: BLE001  (the last door)
        _log.exception("the failure of the run %s of %s could not be written to the ledger", run.run_id, run.dag_id)


def report_missed_deadline(context: Mapping[str, Any]) -> None:
    """Open an incident for a DAG run that takes too long. Airflow calls this in the executor, with plain JSON.

    A run that finished just before this was called is late all the same; its success ends no incident, the next one's does.
    """
    from lifecycle.stages import open_unchecked
    from ml import incidents

    run, deadline = context["dag_run"], context.get("deadline") or {}
    incidents.deadline_missed(
        open_unchecked(),
        dag=str(run["dag_id"]),
        day=_day(run.get("partition_key"), run.get("run_after")),
        deadline=f"{str(deadline.get('deadline_time', ''))[:16].replace('T', ' ')} UTC",
        run_id=str(run["dag_run_id"]),
    )


def _day_of(run: Any) -> date:
    return _day(run.partition_key, run.run_after)


def _day(key: Any, run_after: Any) -> date:
    """The market day of a run, or its date where it has none."""
    from ml.core.units import parse_day

    return parse_day(str(key or run_after)[:10])
