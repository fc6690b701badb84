"""### Rehearse the rollback

**What it does.** Rolls the champion back and forward again on a copy of the market's last two champions, with the same
tables, locks and decisions as the real one, and records how long it took. The live champion is not touched.

**Woken by** the calendar, Mondays at 04:00 UTC; by hand alone where the setting `schedule` is `none`.

**Writes** the drill; a promotion may ask for one that went well within the last 30 days.

**When it fails.** Rolling back would fail too: the log says at which step. Until the market had two champions there is nothing
to go back to; the run is then **skipped**, and the drill recorded as not well.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowSkipException

from lifecycle import CALENDAR, rehearsal_calendar
from lifecycle.stages import open_platform


@dag(schedule=rehearsal_calendar(), doc_md=__doc__, **CALENDAR)
def rehearse_rollback() -> None:
    """Rehearse the rollback."""

    @task
    def rehearse(*, dag_run: Any) -> dict[str, Any]:
        from ml import incidents
        from ml import rollout as use

        platform = open_platform()
        drill = use.rehearse(platform)
        incidents.dag_succeeded(platform, dag=dag_run.dag_id, day=dag_run.run_after.date())
        if not drill["ok"]:
            raise AirflowSkipException(drill["reason"])
        return drill

    rehearse()


rehearse_rollback()
