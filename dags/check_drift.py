"""### Is this day like the days the champion learned from?

**What it does.** First the completeness guards (rows, nulls, infinities, columns, types), then the drift of features
and predictions, then the calibration of the champion on bookings whose outcome is certain. One verdict: `PASS`,
`HOLD` (it could not be judged) or `FAIL`.

**Woken by** `features`, with the same key.

**Writes** the verdict and its numbers in the ledger and the HTML report in the blob store; opens, updates or resolves an
incident and mails it; then emits `drift_checked`, whatever the verdict.

**Drift is not a failure**: the run succeeds and the incident tells. When the run itself **fails**, nothing was judged:
clear the task, or trigger the same key again.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, task

from lifecycle import DRIFT_CHECKED, FEATURES, LIFECYCLE, deadline, run_stage


@dag(schedule=PartitionedAssetTimetable(assets=FEATURES), doc_md=__doc__, deadline=deadline(), **LIFECYCLE)
def check_drift() -> None:
    """Judge the day against the days the champion learned from."""

    @task(outlets=[DRIFT_CHECKED])
    def drift(*, dag_run: Any, outlet_events: Any) -> dict[str, Any]:
        from ml import pipeline

        outlet_events[DRIFT_CHECKED].extra = verdict = run_stage(pipeline.check_drift, dag_run)
        return verdict

    drift()


check_drift()
