"""### Look after incidents and the mails about them

**What it does.** Ends snoozes, escalates critical incidents that nobody took, puts the daily digest, and tries again to send what
waits in the outbox.

**Woken by** the calendar, by the setting `tend_schedule` (every five minutes); by hand alone where that is `none`.

**Writes** notes of incidents and messages in the outbox; the market's data and models are not touched.

**When it fails.** Nothing is lost: the next run does what this one did not. Incidents are still opened and told by the steps
that notice them.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task

from lifecycle import CALENDAR, tending_calendar
from lifecycle.stages import open_platform


@dag(schedule=tending_calendar(), doc_md=__doc__, **CALENDAR)
def tend_incidents() -> None:
    """Look after incidents and the mails about them."""

    @task
    def tend(*, dag_run: Any) -> dict[str, Any]:
        from ml import incidents

        platform = open_platform()
        tended = incidents.tend(platform)
        incidents.dag_succeeded(platform, dag=dag_run.dag_id, day=dag_run.run_after.date())
        return tended

    tend()


tend_incidents()
