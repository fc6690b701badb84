"""### Remove what nobody needs any more, and measure the space

**What it does.** Removes files of the lake and the blob store, and MLflow runs, that are older than the settings `keep_...` say and that neither
the champion, an open incident, a window of training or drift, nor a decision that can still be explained needs; measures the space of each
kind; then cleans Airflow's own database.

**Woken by** the calendar, by the setting `clean_up_schedule` (05:30 UTC); by hand alone where that is `none`.
`bidwright clean-up --dry-run` says what would go.

**Writes** what was removed, and the space, for the Overview page and `bidwright status`.

**When it fails.** What was removed stays removed; the next run goes on. Nothing else waits for it. The second task is **skipped** where
`BIDWRIGHT_AIRFLOW_DATABASE_URL` is not set: Airflow hides its own address from tasks.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task

from lifecycle import CALENDAR, cleaning_calendar
from lifecycle.stages import open_platform


@dag(schedule=cleaning_calendar(), doc_md=__doc__, **CALENDAR)
def clean_up() -> None:
    """Remove what nobody needs any more, and measure the space."""

    @task
    def clean_stores(*, dag_run: Any) -> dict[str, Any]:
        from ml import incidents, retention

        platform = open_platform()
        cleaned = retention.clean_up(platform)
        incidents.dag_succeeded(platform, dag=dag_run.dag_id, day=dag_run.run_after.date())
        return {name: cleaned[name] for name in ("newest", "removed", "space")}

    @task
    def clean_airflow() -> dict[str, Any]:
        from lifecycle.metadata import clean_metadata

        return clean_metadata()

    clean_stores() >> clean_airflow()


clean_up()
