"""The part of Airflow's REST API that the local stack uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from ml.core.errors import StoreUnavailable

ENDED = frozenset({"success", "failed"})
"""The states in which a DAG run stays."""


@dataclass(frozen=True)
class DagRun:
    """One run of a DAG for one market day (`key`)."""

    dag_id: str
    run_id: str
    key: str
    state: str

    @property
    def ended(self) -> bool:
        """Whether the run has reached its last state."""
        return self.state in ENDED


class AirflowClient:
    """Speaks to one api-server; asks for a token when it has none, and again when it is refused."""

    def __init__(self, url: str, *, user: str, password: str) -> None:
        self.url = url
        self._login = {"username": user, "password": password}
        self._http = httpx.Client(base_url=url, timeout=30.0, trust_env=False)
        self._token = ""

    def __enter__(self) -> AirflowClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def unhealthy(self) -> list[str]:
        """The components that are not healthy yet; all of them while the server does not answer."""
        parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
        try:
            answer = self._http.get("/api/v2/monitor/health")
            health = answer.json() if answer.status_code == httpx.codes.OK else {}
        except (httpx.HTTPError, ValueError):
            health = {}
        return [part for part in parts if (health.get(part) or {}).get("status") != "healthy"]

    def dags(self) -> list[str]:
        """The ids of every DAG that is parsed and not paused."""
        found = self.get("/dags", tags=["bidwright"], paused=False, limit=100)["dags"]
        return sorted(dag["dag_id"] for dag in found if not dag["is_stale"])

    def import_errors(self) -> list[str]:
        """What Airflow could not import, one text an error."""
        return [error["stack_trace"] for error in self.get("/importErrors")["import_errors"]]

    def trigger(self, dag_id: str, key: str) -> DagRun:
        """Start a run of a DAG for a market day."""
        return _run(self.post(f"/dags/{dag_id}/dagRuns", {"logical_date": None, "partition_key": key}))

    def runs(self, key: str) -> list[DagRun]:
        """Every run, of any DAG, for a market day."""
        found = self.get("/dags/~/dagRuns", partition_key_prefix_pattern=key, limit=100)["dag_runs"]
        return [_run(run) for run in found]

    def failed_tasks(self, run: DagRun) -> list[str]:
        """The ids of a run's failed tasks."""
        found = self.get(f"/dags/{run.dag_id}/dagRuns/{run.run_id.replace('+', '%2B')}/taskInstances")
        return [task["task_id"] for task in found["task_instances"] if task["state"] == "failed"]

    def keep_pool(self, name: str, *, slots: int, description: str) -> None:
        """Make a pool if it is not there yet."""
        if any(pool["name"] == name for pool in self.get("/pools", limit=100)["pools"]):
            return
        self.post("/pools", {"name": name, "slots": slots, "description": description, "include_deferred": False})

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """GET below /api/v2."""
        return self._ask("GET", path, params=query)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST a JSON body below /api/v2."""
        return self._ask("POST", path, json=dict(body))

    def _ask(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer = self._send(method, path, **arguments)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                self._token = ""
                answer = self._send(method, path, **arguments)
        except httpx.HTTPError as error:
            raise StoreUnavailable(f"Airflow at {self.url} does not answer: {error}") from error
        if answer.is_error:
            raise StoreUnavailable(f"Airflow refused {method} {path}: {answer.status_code} {answer.text[:300]}")
        result: dict[str, Any] = answer.json()
        return result

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        if not self._token:
            granted = self._http.post("/auth/token", json=self._login)
            granted.raise_for_status()
            self._token = granted.json()["access_token"]
        return self._http.request(
            method, f"/api/v2{path}", headers={"Authorization": f"Bearer {self._token}"}, **arguments
        )


def _run(found: Mapping[str, Any]) -> DagRun:
    return DagRun(found["dag_id"], found["dag_run_id"], found["partition_key"] or "", found["state"])
