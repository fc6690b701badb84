"""A failed task opens an incident and mails it; the mail goes through the outbox, so none is lost."""

from __future__ import annotations

import logging
from typing import Any

_log = logging.getLogger(__name__)


def report_failure(context: Any) -> None:
    """Open an incident for a task that failed for good, and send its mail.

    Args:
        context: the Airflow context of the failure. Airflow calls this in the task's own process; for a
            task that was killed it calls it in the dag processor, and then there is no exception in it.

    A run without a market day is its caller's mistake, told in the task's log; it opens no incident.
    """
    run = context.get("dag_run")
    if run is None or not run.partition_key:
        return
    task_id = context["ti"].task_id
    from lifecycle.stages import market_day, open_platform
    from ml import pipeline

    error = context.get("exception") or f"the process of the task {task_id} ended without an answer"
    try:
        pipeline.fail(open_platform(), market_day(run), task_id, error, run_id=run.run_id)
    except Exception:  # noqa: BLE001  (the last door)
        # Airflow would swallow it; the failure of the task itself must stay the one that is seen.
        _log.exception("the failure of %s on %s could not be written to the ledger", task_id, run.partition_key)
