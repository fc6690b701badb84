"""A promotion that really waits in Airflow for a person, run in process; for tests of approvals."""

from __future__ import annotations

import signal
import threading
import time
from types import TracebackType
from typing import Any
from unittest.mock import patch

import pendulum

DAG = "promote_bid_model"
DAY = "2026-03-02"


class Asking:
    """`promote_bid_model` up to its question, and on from there once somebody answers; ends by Reject otherwise."""

    def __init__(self, api: Any, dagbag: Any, judged: dict[str, Any]) -> None:
        self._api, self._dag, self._judged = api, dagbag.get_dag(DAG), judged
        self.run_id, self.asked_for_promotion = "", []  # type: str, list[Any]
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Asking:
        self._thread.start()
        for _ in range(600):
            found = [one for one in self._listed() if one["task_instance"]["state"] == "awaiting_input"]
            if found:
                self.run_id = found[0]["task_instance"]["dag_run_id"]
                return self
            if not self._thread.is_alive():
                break
            time.sleep(0.1)
        raise AssertionError(f"nobody was asked: {self.error!r}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._thread.is_alive():
            url = f"/api/v2/dags/{DAG}/dagRuns/{self.run_id.replace('+', '%2B')}/taskInstances/approve/-1/hitlDetails"
            self._api.patch(url, json={"chosen_options": ["Reject"], "params_input": {}})
        self._thread.join(60)
        if error is None and self.error is not None:
            raise self.error

    def finish(self) -> list[Any]:
        """Wait for the run's end; with which approval the promotion was called."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.asked_for_promotion

    def _listed(self) -> list[dict[str, Any]]:
        answer = self._api.get(f"/api/v2/dags/{DAG}/dagRuns/~/hitlDetails", params={"response_received": False})
        found: list[dict[str, Any]] = answer.json()["hitl_details"]
        return found

    def _run(self) -> None:
        from airflow.serialization.definitions.dag import SerializedDAG

        from ml import pipeline

        original = SerializedDAG.create_dagrun

        def create(dag: Any, **values: Any) -> Any:
            return original(dag, **values, partition_key=DAY, partition_date=pendulum.parse(DAY))

        def promote(platform: Any, day: Any, **arguments: Any) -> dict[str, Any]:
            self.asked_for_promotion.append(arguments["approval"])
            return {"moved": False, "reason": "a test"}

        try:
            with (
                patch.object(SerializedDAG, "create_dagrun", create),
                # `dag.test()` cannot end a run of a DAG that has one: it looks for its row under its definition.
                patch.object(self._dag, "deadline", None),
                # A task sets a handler for being killed, which only a main thread may.
                patch.object(signal, "signal", lambda *_: None),
                patch.object(pipeline, "judge", lambda *_, **__: dict(self._judged)),
                patch.object(pipeline, "promote", promote),
            ):
                self._dag.test(logical_date=None)
        except BaseException as error:  # noqa: BLE001  (told to the thread that waits)
            self.error = error
