"""A task that carries out a decision and, where there is a rollout, waits for its end without a worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from lifecycle.assets import CHAMPION
from lifecycle.stages import open_platform, run_stage

Asked = Callable[[Mapping[str, Any]], dict[str, Any]]


class CarryOut(BaseOperator):
    """Runs `ml.pipeline.promote`; defers while the rollout goes on; skipped when the champion did not move.

    A task that is killed, cleared or tried again calls the same use case, which answers from the ledger how far it is.

    Args:
        asked: from the task's context to the arguments of `ml.pipeline.promote`.
    """

    def __init__(self, *, asked: Asked, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.asked = asked

    def execute(self, context: Any) -> dict[str, Any]:
        """Carry the decision out, and wait where that takes a rollout."""
        from ml import pipeline

        asked = self.asked(context)
        moved = run_stage(pipeline.promote, context["dag_run"], **asked)
        if not moved.get("rollout", {"over": True})["over"]:
            from rollout_trigger import RolloutTrigger

            self.defer(trigger=RolloutTrigger(asked["decision_id"]), method_name="go_on")
        if not moved["moved"]:
            raise AirflowSkipException(moved.get("reason", "the champion did not move"))
        context["outlet_events"][CHAMPION].extra = moved
        return moved

    def go_on(self, context: Any, event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """After waiting: judge the candidate anew where the champion changed, then see how far it is."""
        from ml import rollout as use

        if event is not None and event.get("state") == "judge":
            use.tend(open_platform())
        return self.execute(context)
