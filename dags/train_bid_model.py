"""### Train a bid model, when one is due

**What it does.** Asks the ledger whether a retrain is due (no champion yet, its age, an open drift incident). If so, it
fits the models on what was known at the end of the market day, evaluates them on outcomes that are certain, writes the
bundle, signs it and registers a candidate. A candidate is not live.

**Signs** with `BIDWRIGHT_SIGNING_KEY`, else with the password of the connection `bidwright_signing`; on a machine whose
settings name no keys, with the working folder's development key.

**Woken by** `drift_checked`, with the same key.

**Writes** the bundle in the blob store, the version in the ledger, the run in MLflow; then emits `bid_candidate`. On a day
without a candidate the task is **skipped**, its log says why, and no event is emitted.

**When it fails.** The champion stays. Whether a retrain is due is asked again the next day; to train at once, clear the
task.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from lifecycle import CANDIDATE, DRIFT_CHECKED, HEAVY_QUEUE, LIFECYCLE, deadline, run_stage, signing_settings


@dag(schedule=PartitionedAssetTimetable(assets=DRIFT_CHECKED), doc_md=__doc__, deadline=deadline(), **LIFECYCLE)
def train_bid_model() -> None:
    """Train a bid model, when one is due."""

    @task(outlets=[CANDIDATE], queue=HEAVY_QUEUE)
    def train(*, dag_run: Any, outlet_events: Any) -> dict[str, Any]:
        from ml import pipeline

        trained = run_stage(pipeline.train, dag_run, settings=signing_settings())
        if trained["candidate"] is None:
            raise AirflowSkipException(trained["reason"])
        outlet_events[CANDIDATE].extra = trained
        return trained

    train()


train_bid_model()
