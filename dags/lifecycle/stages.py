"""Running one use case of `ml.pipeline` inside a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

from ml.core.errors import UsageError

if TYPE_CHECKING:
    from ml.platform import Platform


class Run(Protocol):
    """What a stage needs to know of its Airflow run."""

    dag_id: str
    run_id: str
    partition_key: str | None


def market_day(run: Run) -> date:
    """The market day of a run: its partition key.

    Raises:
        UsageError: the run has no key. Airflow itself would let it succeed and wake nothing.
    """
    from ml.core.units import parse_day

    if not run.partition_key:
        raise UsageError(
            f"this run of {run.dag_id} has no market day",
            left="nothing was read or written",
            next="trigger it again with the day as its partition key: in the web UI under Trigger, 'Partition key'; "
            f"or: airflow dags trigger {run.dag_id} --partition-key 2026-03-02",
        )
    return parse_day(run.partition_key)


def open_platform(**settings: object) -> Platform:
    """The platform as the settings describe it, with those given here in front, on the machine's clock.

    A worker whose tables, clock or code are not those of the others is refused (`ml.preflight`); its task is tried again.
    """
    from ml.preflight import refuse_harm

    platform = open_unchecked(**settings)
    refuse_harm(platform)
    return platform


def open_unchecked(**settings: object) -> Platform:
    """The same without a look at this machine: for telling that something failed, which even a refused worker may do."""
    from ml.platform import Platform

    return Platform.from_environment(**settings)


def dag_version() -> str:
    """The version of the DAG bundle that the running task was read from, such as a commit; empty where it has none."""
    from airflow.sdk import get_current_context

    try:
        task = get_current_context()["ti"]
    except RuntimeError:  # called outside of a task
        return ""
    return str(getattr(getattr(task, "bundle_instance", None), "version", None) or "")


def run_stage(
    use_case: Callable[..., dict[str, Any]], run: Run, *, settings: Mapping[str, object] | None = None, **arguments: Any
) -> dict[str, Any]:
    """Run a use case for the run's market day and return its result, small enough for an XCom."""
    from ml.core.code_version import DAG_VERSION

    day = market_day(run)
    DAG_VERSION.set(dag_version())
    return use_case(open_platform(**(settings or {})), day, run_id=run.run_id, **arguments)
