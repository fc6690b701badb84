"""### Build and materialise the day's features

**What it does.** Computes every feature view from what was known at the end of the market day, materialises it into
the online store, reads a sample back and compares it with the offline tables, and only then moves the watermark.

**Woken by** `market_day`, with the same key.

**Writes** the offline feature tables of the day, the online store, the watermark; then emits `features`. One run at a
time: the pool `online_store` has a single slot.

**When it waits** in the state *scheduled* for ever, the pool is missing: `airflow pools set online_store 1 "one writer"`.

**When it fails.** The watermark stays where it was, so readers see that the online features are old. Clear the task or
trigger the same key again.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, task

from lifecycle import FEATURES, LIFECYCLE, MARKET_DAY, ONLINE_STORE_POOL, run_stage


@dag(schedule=PartitionedAssetTimetable(assets=MARKET_DAY), doc_md=__doc__, **LIFECYCLE)
def materialize_features() -> None:
    """Build and materialise the day's features."""

    @task(outlets=[FEATURES], pool=ONLINE_STORE_POOL)
    def materialize(*, dag_run: Any, outlet_events: Any) -> dict[str, Any]:
        from ml import pipeline

        outlet_events[FEATURES].extra = built = run_stage(pipeline.materialize, dag_run)
        return built

    materialize()


materialize_features()
