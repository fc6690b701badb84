"""### Publish the day's bids

**What it does.** Turns the champion's expected values into bids (or, for a market without clicks, into a table of values),
holds them within caps and daily change limits, and writes one file per partner and day.

**Woken by** `drift_checked`, and once more by `bid_champion` on a day whose champion moved; each with the same key.

**Writes** Parquet, CSV and a manifest per partner, and the publication in the ledger. The same day again overwrites
itself. Without a champion, or on a day that was held, nothing is published and the result says why.

**When it fails.** The bids of the day before stay in force. Clear the task or trigger the same key again.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, task

from lifecycle import CHAMPION, DRIFT_CHECKED, LIFECYCLE, deadline, run_stage


@dag(
    schedule=PartitionedAssetTimetable(assets=DRIFT_CHECKED | CHAMPION),
    doc_md=__doc__,
    deadline=deadline(),
    **LIFECYCLE,
)
def publish_bids() -> None:
    """Publish the day's bids."""

    @task
    def publish(*, dag_run: Any) -> dict[str, Any]:
        from ml import pipeline

        return run_stage(pipeline.publish_bids, dag_run)

    publish()


publish_bids()
