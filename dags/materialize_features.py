"""### Build and materialise the day's features

**What it does.** Computes every feature view from what was known at the end of the market day, materialises it into
the online store, reads a sample back and compares it with the offline tables, and only then moves the watermark.

**Woken by** `market_day`, with the same key.

The views are spread over as many mapped tasks as the setting `materialize_tasks` says; the last task records the day.

**Writes** the offline feature tables of the day, the online store, the watermark of each view; then emits `features`.
Each view has one writer: the pool `online_store` has a single slot; give it as many as there are mapped tasks.

**When it waits** in the state *scheduled* for ever, the pool is missing: `airflow pools set online_store 1 "one writer"`.

**When it fails.** The watermark stays where it was, so readers see that the online features are old. Clear the task or
trigger the same key again.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, task

from lifecycle import (
    FEATURES,
    LIFECYCLE,
    MARKET_DAY,
    ONLINE_QUEUE,
    ONLINE_STORE_POOL,
    deadline,
    materialize_parts,
    run_stage,
)


@dag(schedule=PartitionedAssetTimetable(assets=MARKET_DAY), doc_md=__doc__, deadline=deadline(), **LIFECYCLE)
def materialize_features() -> None:
    """Build and materialise the day's features."""
    parts = materialize_parts()

    @task(pool=ONLINE_STORE_POOL, queue=ONLINE_QUEUE)
    def put_online(part: int, *, dag_run: Any) -> dict[str, Any]:
        from ml import pipeline

        return run_stage(pipeline.materialize_part, dag_run, part=part, parts=len(parts))

    @task(outlets=[FEATURES])
    def materialize(results: Any, *, dag_run: Any, outlet_events: Any) -> dict[str, Any]:
        from ml import pipeline

        outlet_events[FEATURES].extra = built = run_stage(pipeline.materialized, dag_run, results=list(results))
        return built

    materialize(put_online.expand(part=parts))


materialize_features()
