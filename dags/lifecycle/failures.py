"""A failed task opens an incident and mails it; the mail goes through the outbox, so none is lost."""

from __future__ import annotations

import logging
from typing import Any

_log = logging.getLogger(__name__)


def report_failure(context: Any) -> None:
    """Open an incident for a task that failed for good, and send its mail.

    Args:
        context: the Airflow context of the failure. Airflow calls this in the task's own process; for a
            task that was killed it calls it in the dag processor.

    A run without a market day is its caller's mistake, told in the task's log; it opens no incident.
    """
    key = getattr(context.get("dag_run"), "partition_key", None)
    if not key:
        return
    from lifecycle.stages import open_platform
    from ml import pipeline
    from ml.core.units import parse_day

    task = context.get("task_instance") or context.get("ti")
    error = context.get("exception") or "the task's process ended without an answer"
    try:
        platform = open_platform()
        pipeline.fail(platform, parse_day(key), task.task_id, error)
        pipeline.deliver_mail(platform)
    except Exception:  # noqa: BLE001  (Airflow would hide it; the task's own failure must stay the one that is seen)
        _log.exception("the failure of %s on %s could not be written to the ledger", task.task_id, key)
