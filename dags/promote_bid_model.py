"""### Judge the candidate; promote it if it earned it

**What it does.** `judge` runs every gate on the candidate and writes the decision with all its evidence. If the verdict is
`PASS`, `promote` makes the candidate the champion; if the policy asks for a person, `approve` waits for the answer
first (*Browse, Required Actions*) and takes silence for *Reject*. With the setting `rollout` at `canary`, `promote` begins
the rollout and waits for its end, **deferred**, without a worker.

**Woken by** `bid_candidate`, with the same key.

**Writes** the decision, the approval, and the champion by compare-and-set, each in the ledger; emits `bid_champion` only
when the champion moved. A candidate that did not pass leaves `approve` and `promote` **skipped**: that is a judgement, not
a failure.

**When it fails.** The champion stays as it was. `promote` fails if the champion moved in the meantime: clear `judge`, so that
the candidate is compared with the new one.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import PartitionedAssetTimetable, TriggerRule, dag, task

from lifecycle import CANDIDATE, CHAMPION, LIFECYCLE, canary_rollouts, deadline, run_stage
from lifecycle.approval import APPROVAL_BODY, DECISION, answered, evidence_table, slice_table
from lifecycle.rollout import CarryOut
from ml.pipeline import ANSWER_WITHIN_HOURS


@dag(
    schedule=PartitionedAssetTimetable(assets=CANDIDATE),
    doc_md=__doc__,
    # A canary takes as long as it takes; the rollout's own judge looks after that.
    deadline=[] if canary_rollouts() else deadline(more_hours=ANSWER_WITHIN_HOURS),
    **LIFECYCLE,
)
def promote_bid_model() -> None:
    """Judge the candidate; promote it if it earned it."""

    @task.branch
    def judge(*, dag_run: Any, ti: Any) -> str | None:
        from ml import pipeline

        decision = run_stage(pipeline.judge, dag_run)
        ti.xcom_push(
            key=DECISION, value=decision | {"table": evidence_table(decision), "slice_table": slice_table(decision)}
        )
        if decision["verdict"] != "PASS":
            return None
        return "approve" if decision["needs_approval"] else "promote"

    # A plain HITLOperator and not ApprovalOperator: that one skips what follows on Reject and leaves no answer
    # behind, and the ledger keeps a refusal as it keeps a consent.
    approve = HITLOperator(
        task_id="approve",
        subject="Promote the bid model of {{ dag_run.partition_key }}?",
        body=APPROVAL_BODY,
        options=["Approve", "Reject"],
        defaults="Reject",
        response_timeout=timedelta(hours=ANSWER_WITHIN_HOURS),
        on_failure_callback=None,
    )

    promoted = CarryOut(
        task_id="promote",
        asked=answered,
        outlets=[CHAMPION],
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
    )

    chosen = judge()
    chosen >> approve >> promoted
    chosen >> promoted


promote_bid_model()
