"""### Settle what became known

**What it does.** Brings together late bookings, cancellations, stays and restated reports that became known on the
market day, compares the realised value with the predicted one, and counts what the day spent and earned.

**Woken by** `market_day`, with the same key.

**Writes** the settlement of the day in the ledger. Nothing waits for it.

**When it fails.** Nothing is lost: clear the task, or trigger the same key again.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, task

from lifecycle import LIFECYCLE, MARKET_DAY, deadline, run_stage


@dag(schedule=PartitionedAssetTimetable(assets=MARKET_DAY), doc_md=__doc__, deadline=deadline(), **LIFECYCLE)
def settle_outcomes() -> None:
    """Settle what became known."""

    @task
    def settle(*, dag_run: Any) -> dict[str, Any]:
        from ml import pipeline

        return run_stage(pipeline.settle, dag_run)

    settle()


settle_outcomes()
