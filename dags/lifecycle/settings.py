"""What all DAGs of the lifecycle have in common: owner, retries, what happens on a failure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from airflow.sdk import CronPartitionTimetable, ExceptionRetryPolicy, PartitionedAtRuntime, RetryAction, RetryRule

from lifecycle.failures import report_failure
from ml.core.errors import PermanentError, UsageError
from ml.core.settings import load_settings

KEY_FORMAT: Final = "%Y-%m-%d"
"""How a market day is written as a partition key."""

ONLINE_STORE_POOL: Final = "online_store"
"""A pool with one slot: two writers of the online store could overwrite each other."""

RETRY_POLICY: Final = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=[PermanentError, UsageError],
            action=RetryAction.FAIL,
            reason="trying again cannot help; see the message",
        )
    ]
)

LIFECYCLE: Final[dict[str, Any]] = {
    "start_date": datetime(2016, 1, 1, tzinfo=UTC),
    "catchup": False,
    "max_active_runs": 1,
    "tags": ["bidwright", "bid model"],
    "default_args": {
        "owner": "bid-team",
        "retries": 3,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=5),
        "retry_policy": RETRY_POLICY,
        "on_failure_callback": report_failure,
    },
}
"""Arguments of every lifecycle DAG. One run at a time, so that days follow one another."""


def market_calendar() -> CronPartitionTimetable | PartitionedAtRuntime:
    """When `ingest_market` starts by itself: by the setting `schedule`, each run for the day before it.

    `none` starts no run; the partition key of a run asked for by hand is then its market day.
    """
    cron = load_settings().schedule
    if cron == "none":
        return PartitionedAtRuntime()
    return CronPartitionTimetable(cron, timezone="UTC", run_offset=-1, key_format=KEY_FORMAT)


def rehearsal_calendar() -> str | None:
    """When `rehearse_rollback` starts by itself: Mondays at 04:00 UTC, or never where the setting `schedule` is `none`."""
    return None if load_settings().schedule == "none" else "0 4 * * 1"


def materialize_parts() -> list[int]:
    """The parts that the feature views of a day are spread over, by the setting `materialize_tasks`."""
    return list(range(load_settings().materialize_tasks))
