"""What all DAGs of the lifecycle have in common: owner, retries, what happens on a failure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from airflow.sdk import CronPartitionTimetable, ExceptionRetryPolicy, PartitionedAtRuntime, RetryAction, RetryRule
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from lifecycle.failures import report_dag_failure, report_failure, report_missed_deadline
from ml.core.errors import PermanentError, UsageError
from ml.core.settings import load_settings

KEY_FORMAT: Final = "%Y-%m-%d"
"""How a market day is written as a partition key."""

ONLINE_STORE_POOL: Final = "online_store"
"""A pool with one slot: two writers of the online store could overwrite each other."""

HEAVY_QUEUE: Final = "heavy"
"""The Celery queue of trainings: its worker has one slot and the memory. Executors without queues ignore it."""

ONLINE_QUEUE: Final = "online"
"""The Celery queue of writes into the online store: one worker with one slot, on the machine that has the store."""

RETRY_POLICY: Final = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=[PermanentError, UsageError],
            action=RetryAction.FAIL,
            reason="trying again cannot help; see the message",
        )
    ]
)


def task_limit() -> timedelta | None:
    """How long a task may work before it is stopped and tried again, by the setting `task_hours`; None where that is 0.

    Time that it spends deferred does not count. Every step may be stopped anywhere: what it writes is idempotent.
    """
    hours = load_settings().task_hours
    return timedelta(hours=hours) if hours else None


LIFECYCLE: Final[dict[str, Any]] = {
    "start_date": datetime(2016, 1, 1, tzinfo=UTC),
    "catchup": False,
    "max_active_runs": 1,
    "tags": ["bidwright", "bid model"],
    "on_failure_callback": report_dag_failure,
    "default_args": {
        "owner": "bid-team",
        "retries": 3,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=5),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": task_limit(),
        "on_failure_callback": report_failure,
    },
}
"""Arguments of every lifecycle DAG. One run at a time, so that days follow one another."""

CALENDAR: Final[dict[str, Any]] = LIFECYCLE | {"start_date": None}
"""Arguments of a DAG that the calendar alone wakes: it waits for its next slot, where one with a start begins with the slot before."""


def deadline(*, more_hours: float = 0.0) -> list[DeadlineAlert]:
    """When a run that was queued must be over: after the setting `deadline_hours`, and `more_hours` for people.

    None where the setting is 0.
    """
    hours = load_settings().deadline_hours
    if not hours:
        return []
    return [
        DeadlineAlert(
            name="late",
            # A run for a partition key has no logical date.
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(hours=hours + more_hours),
            callback=SyncCallback(report_missed_deadline),
        )
    ]


def canary_rollouts() -> bool:
    """Whether a promotion may take days, because a canary comes first."""
    return load_settings().rollout == "canary"


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


def tending_calendar() -> str | None:
    """When `tend_incidents` starts by itself: by the setting `tend_schedule`; never where that is `none`."""
    cron = load_settings().tend_schedule
    return None if cron == "none" else cron


def cleaning_calendar() -> str | None:
    """When `clean_up` starts by itself: by the setting `clean_up_schedule`; never where that is `none`."""
    cron = load_settings().clean_up_schedule
    return None if cron == "none" else cron


def materialize_parts() -> list[int]:
    """The parts that the feature views of a day are spread over, by the setting `materialize_tasks`."""
    return list(range(load_settings().materialize_tasks))
