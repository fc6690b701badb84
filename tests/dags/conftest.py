"""Every DAG in process, by `dag.test()` with a partition key, with the use cases replaced by recording fakes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pendulum
import pytest

from ml.ledger.database import Database

CANDIDATE = "c" * 64


@dataclass
class RecordedPipeline:
    """Answers in place of `ml.pipeline`, and remembers what it was asked."""

    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    answers: dict[str, Any] = field(
        default_factory=lambda: {
            "ingest": {"accepted": 10, "quarantined": 1},
            "settle": {"outcomes": 3},
            "materialize_part": {"rows": 4},
            "materialized": {"rows": 4},
            "check_drift": {"verdict": "PASS"},
            "train": {"due": True, "reason": "no champion yet", "candidate": CANDIDATE},
            "judge": {
                "decision_id": 7,
                "candidate": CANDIDATE,
                "champion": None,
                "generation": 0,
                "policy": "p" * 64,
                "reasons": ["first promotion of this market"],
                "slices": [{"model": "value", "slice": "device mobile", "rows": 900, "change": 0.012, "error": 0.01}],
                "verdict": "PASS",
                "needs_approval": False,
                "gates": [{"gate": "calibration", "verdict": "PASS", "number": 1.01, "reason": "within | limits"}],
            },
            "promote": {"moved": True, "generation": 1},
            "publish_bids": {"published": 5},
            "fail": {},
        }
    )

    def function(self, name: str) -> Callable[..., Any]:
        def answer(platform: Any, day: Any, *given: Any, **arguments: Any) -> Any:
            if given:
                arguments["given"] = given
            self.calls.append((name, day.isoformat(), arguments))
            result = self.answers[name]
            if isinstance(result, BaseException):
                raise result
            return result

        return answer

    def names(self) -> list[str]:
        return [name for name, _, _ in self.calls]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A platform database with tables and no rows; a task refuses one without."""
    file = tmp_path_factory.mktemp("platform") / "bidwright.db"
    with closing(Database.open(f"sqlite:///{file}")) as db:
        db.migrate()
    return file


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, migrated: Path) -> RecordedPipeline:
    from ml import pipeline as real

    monkeypatch.setenv("BIDWRIGHT_HOME", str(tmp_path))
    shutil.copyfile(migrated, tmp_path / migrated.name)
    recorded = RecordedPipeline()
    for name in recorded.answers:
        monkeypatch.setattr(real, name, recorded.function(name))
    return recorded


@dataclass(frozen=True)
class Outcome:
    """What became of a run: its state, each task's state, and the assets it touched."""

    state: str
    tasks: dict[str, str | None]
    events: list[tuple[str, str | None, dict[str, Any]]]


@pytest.fixture
def run_day(dagbag: Any) -> Callable[..., Outcome]:
    """Run a DAG for a market day; None runs it as somebody does who gave no partition key."""

    def go(dag_id: str, key: str | None, **arguments: Any) -> Outcome:
        from airflow.serialization.definitions.dag import SerializedDAG

        original = SerializedDAG.create_dagrun

        def create(self: Any, **values: Any) -> Any:
            # `dag.test()` has no argument for it.
            given = {"partition_key": key, "partition_date": pendulum.parse(key)} if key else {}
            return original(self, **values | given)

        dag = dagbag.get_dag(dag_id)
        # With a deadline `dag.test()` ends in an error once the tasks are over: it looks for the deadline where only a
        # scheduler's copy of the DAG has it (Airflow 3.3.2).
        with patch.object(SerializedDAG, "create_dagrun", create), patch.object(dag, "deadline", None):
            run = dag.test(logical_date=None, **arguments)
        return Outcome(str(run.state), {ti.task_id: ti.state for ti in run.get_task_instances()}, _events(run))

    return go


def _events(run: Any) -> list[tuple[str, str | None, dict[str, Any]]]:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(AssetEvent).where(AssetEvent.source_run_id == run.run_id, AssetEvent.source_dag_id == run.dag_id)
        return [(e.asset.name, e.partition_key, e.extra) for e in session.scalars(query)]
