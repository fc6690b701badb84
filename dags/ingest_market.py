"""### Land one market day

**What it does.** Fetches the delivery of one market day, checks every table against the data contract, puts each bad
row into quarantine with its reason, and lands the rest in the lake.

**Woken by** the calendar, every day for the day before. By hand: *Trigger*, with the market day as *Partition key*
(`2026-03-02`). A run without a key fails and says so.

**Writes** the lake partitions of the day and their digests in the ledger; then emits `market_day`.

**When it fails.** A renamed or missing column, an unreadable file or too many bad rows stop the day: nothing of it is
landed, nothing is trained on it, and a mail names the cause. Have the delivery corrected, then clear the failed task
or trigger the same key again: a day overwrites itself and never doubles.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task

from lifecycle import LIFECYCLE, MARKET_DAY, deadline, market_calendar, run_stage


@dag(schedule=market_calendar(), doc_md=__doc__, deadline=deadline(), **LIFECYCLE)
def ingest_market() -> None:
    """Land one market day."""

    @task(outlets=[MARKET_DAY])
    def ingest(*, dag_run: Any, outlet_events: Any) -> dict[str, Any]:
        from ml import pipeline

        outlet_events[MARKET_DAY].extra = landed = run_stage(pipeline.ingest, dag_run)
        return landed

    ingest()


ingest_market()
