"""Living through one market day: start it, watch the scheduler carry it through every DAG, know when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from local.client import AirflowClient, DagRun
from ml.core.errors import PermanentError, StoreUnavailable

StageResults = Mapping[str, Mapping[str, Any]]
"""The result of each stage that has been recorded for a day."""

DAG_OF_STAGE = {
    "ingest": "ingest_market",
    "settle": "settle_outcomes",
    "materialize": "materialize_features",
    "drift": "check_drift",
    "train": "train_bid_model",
    "promote": "promote_bid_model",
    "publish": "publish_bids",
}
"""The stages of a day in the order in which one waits for another, and who runs them."""

_POLL_S = 0.6
_HELP_LIMIT = 2

_OUTAGE_S = 120.0
"""So long may Airflow or the ledger not answer: enough for a killed api-server to be up again."""


class DayFailed(PermanentError):
    """A DAG run of a market day failed."""


def missing_stages(results: StageResults) -> list[str]:
    """The stages that have still to be recorded before a day is over, in order.

    >>> missing_stages({"ingest": {}, "settle": {}, "materialize": {}, "drift": {}, "publish": {}})
    ['train']
    """
    due = [stage for stage in DAG_OF_STAGE if stage != "promote"]
    missing = [stage for stage in due if stage not in results]
    if results.get("train", {}).get("candidate") is None:
        return missing
    promoted = results.get("promote")
    if promoted is None or (promoted.get("verdict") == "PASS" and "moved" not in promoted):
        return [*missing, "promote"]
    # A champion that moved publishes again: the day is over when its own bids are out.
    if promoted.get("moved") and "publish" in results:
        published = results["publish"].get("generation", 0)
        return missing if published >= promoted.get("generation", 0) else [*missing, "publish"]
    return missing


@dataclass
class DayRunner:
    """Runs market days through a live scheduler.

    Attributes:
        client: the api-server.
        results: reads the recorded stages of a day.
        revive: starts services that have died, and names them.
        logs: Airflow's folder of task logs, to point at.
        notice: told what is at work, and what had to be helped.
        quiet_s: so long may a day have no run at work before its next one is asked for; longer than any scheduler's pause.
    """

    client: AirflowClient
    results: Callable[[date], StageResults]
    revive: Callable[[], list[str]]
    logs: Path
    notice: Callable[[str], None]
    quiet_s: float = 30.0
    _helped: dict[str, int] = field(default_factory=dict)

    def run(self, day: date) -> StageResults:
        """Carry a day through every DAG; one that was begun before is taken up where it stands.

        Raises:
            DayFailed: a run failed, or the day stopped moving.
            StoreUnavailable: Airflow or the ledger did not answer for two minutes.
        """
        self._helped = {}
        answered = moved = time.monotonic()
        asked = False
        while True:
            self._revive()
            try:
                if not asked:
                    asked = self._start(day)
                active, missing = self._look(day)
                answered = time.monotonic()
                if not active and not missing:
                    return self.results(day)
                if active:
                    moved = answered
                elif answered - moved > self.quiet_s:
                    self._help(day.isoformat(), missing[0])
                    moved = answered
            except StoreUnavailable:
                if time.monotonic() - answered > _OUTAGE_S:
                    raise
                self.notice("waiting for Airflow to answer")
            time.sleep(_POLL_S)

    def _start(self, day: date) -> bool:
        """Ask for the first thing that is missing, unless something is at work already."""
        missing = missing_stages(self.results(day))
        if missing and not self._at_work(day.isoformat()):
            self._help(day.isoformat(), missing[0])
        return True

    def _look(self, day: date) -> tuple[bool, list[str]]:
        """Whether runs of the day are at work, and what it still lacks."""
        runs = self.client.runs(day.isoformat())
        active = sorted({run.dag_id for run in runs if not run.ended})
        missing = missing_stages(self.results(day))
        if active:
            self.notice(", ".join(active))
        else:
            self._refuse_failures(runs, missing)
        return bool(active), missing

    def _at_work(self, key: str) -> bool:
        return any(not run.ended for run in self.client.runs(key))

    def _revive(self) -> None:
        for name in self.revive():
            self.notice(f"{name} had died; it was started again")

    def _help(self, key: str, stage: str) -> None:
        """Ask for the first stage that is missing; whatever follows it is woken by its asset."""
        self._helped[stage] = self._helped.get(stage, 0) + 1
        if self._helped[stage] > _HELP_LIMIT:
            raise DayFailed(
                f"{key} stands still: {DAG_OF_STAGE[stage]} was asked for twice and left no result",
                left="everything that was recorded stays",
                next=f"read the logs in {self.logs / f'dag_id={DAG_OF_STAGE[stage]}'}",
            )
        self.client.trigger(DAG_OF_STAGE[stage], key)

    def _refuse_failures(self, runs: list[DagRun], missing: list[str]) -> None:
        """Raise for a DAG whose newest run failed, unless this command asked for another and it is on its way."""
        waiting = {DAG_OF_STAGE[stage] for stage in missing}
        for dag_id in sorted(waiting):
            own = sorted((run for run in runs if run.dag_id == dag_id), key=lambda run: run.run_id.split("__")[-1])
            if own and own[-1].state == "failed":
                tasks = ", ".join(self.client.failed_tasks(own[-1])) or "a task"
                raise DayFailed(
                    f"{dag_id} failed on {own[-1].key}, in {tasks}",
                    left="the champion and everything published before stay as they were",
                    next=f"read {self.logs / f'dag_id={dag_id}' / f'run_id={own[-1].run_id}'}; "
                    "run the same command again once the cause is gone",
                )
