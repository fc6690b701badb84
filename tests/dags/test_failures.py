"""What fails or is late in Airflow is an incident that names DAG, task, day and the error's first line; once, not per task."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from lifecycle import failures
from lifecycle.settings import deadline
from ml.core.settings import load_settings
from ml.ledger import incidents, outbox
from ml.ledger.database import Database

DAY = "2026-03-02"
RUN_AFTER = datetime(2026, 3, 3, 4, 0, tzinfo=UTC)


@pytest.fixture
def db(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Database]:
    monkeypatch.setenv("BIDWRIGHT_HOME", str(tmp_path))
    monkeypatch.setenv("BIDWRIGHT_SMTP_PORT", "9")
    with closing(Database.open(load_settings().database)) as database:
        database.migrate()
        yield database


def context(dag_id: str, *, key: str | None = DAY, task: str = "", **more: Any) -> dict[str, Any]:
    run = SimpleNamespace(dag_id=dag_id, run_id="manual__1", partition_key=key, run_after=RUN_AFTER)
    return {"dag_run": run, "ti": SimpleNamespace(task_id=task), **more}


def opened(db: Database) -> list[incidents.Incident]:
    return incidents.open_incidents(db, "simulator")


def test_a_task_of_a_market_day_is_told_with_dag_task_day_and_first_line(db: Database) -> None:
    error = ValueError("\nthe lake\x00 is full\nsecond line")
    for _ in range(2):
        failures.report_failure(context("materialize_features", task="put_online", exception=error))
    (incident,) = opened(db)
    assert incident.cause == "task:materialize"
    (mail,) = outbox.pending(db)
    assert re.search("materialize_features.put_online, 2026-03-02: the lake.? is full", mail.text), mail.text
    assert "\x00" not in mail.text
    assert "second line" not in mail.text
    assert "/dags/materialize_features/runs/manual__1" in mail.text


def test_tasks_and_days_that_fail_for_one_step_are_one_incident_and_one_mail(db: Database) -> None:
    for key in ("2026-03-02", "2026-03-03", "2026-03-04"):
        for task in ("judge", "promote"):
            failures.report_failure(context("promote_bid_model", key=key, task=task, exception=ValueError(key)))
    (incident,) = opened(db)
    assert (incident.first_day.isoformat(), incident.last_day.isoformat()) == ("2026-03-02", "2026-03-04")
    assert len(outbox.pending(db)) == 1


def test_a_task_without_a_market_day_is_told_by_its_dag_and_ends_with_the_next_run(db: Database) -> None:
    from lifecycle.stages import open_platform
    from ml.incidents import dag_succeeded

    failures.report_failure(context("rehearse_rollback", key=None, task="rehearse", exception=OSError("disk full")))
    (incident,) = opened(db)
    assert (incident.cause, incident.severity) == ("dag:rehearse_rollback", "critical")
    assert incident.title == "rehearse_rollback.rehearse failed: disk full"
    assert dag_succeeded(open_platform(), dag="rehearse_rollback", day=RUN_AFTER.date())["ended"] == [incident.id]
    assert opened(db) == []


def test_a_run_of_the_lifecycle_without_a_day_opens_nothing(db: Database) -> None:
    failures.report_failure(context("ingest_market", key=None, task="ingest", exception=ValueError("x")))
    assert opened(db) == []


def test_a_killed_task_left_no_error_and_is_told_all_the_same(db: Database) -> None:
    failures.report_failure(context("train_bid_model", task="train"))
    assert "train_bid_model.train, 2026-03-02: the process of the task train ended" in outbox.pending(db)[0].text


@pytest.mark.parametrize(("reason", "count"), [("task_failure", 0), ("timed_out", 1), ("all_tasks_deadlocked", 1)])
def test_a_run_is_told_only_where_no_task_was(reason: str, count: int, db: Database) -> None:
    for _ in range(2):
        failures.report_dag_failure(context("check_drift", reason=reason))
    assert len(opened(db)) == len(outbox.pending(db)) == count
    if count:
        assert f"without a task that did: {reason.replace('_', ' ')}" in outbox.pending(db)[0].text
        assert "check_drift" in outbox.pending(db)[0].text and DAY in outbox.pending(db)[0].text


def test_what_cannot_be_told_does_not_hide_the_failure(
    db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("BIDWRIGHT_DATABASE_URL", "sqlite:////nowhere/at/all.db")
    failures.report_failure(context("train_bid_model", task="train", exception=ValueError("x")))
    failures.report_dag_failure(context("train_bid_model", reason="timed_out"))
    assert caplog.text.count("could not be written to the ledger") == 2


# --- with Airflow's own deadlines -----------------------------------------------------------------------------------


@pytest.fixture
def late(run_day: Callable[..., Any], pipeline: Any) -> Callable[[str, str], Any]:
    """Make a run of a DAG whose deadline has passed, and do what the scheduler and the executor do then."""

    known: dict[str, tuple[Any, dict[str, Any]]] = {}

    def go(dag_id: str, key: str) -> Any:
        from unittest.mock import patch

        import structlog
        from airflow.models.deadline import Deadline
        from airflow.sdk.execution_time.callback_supervisor import execute_callback
        from airflow.serialization.definitions.dag import SerializedDAG
        from airflow.utils.session import create_session
        from airflow.utils.state import DagRunState
        from sqlalchemy import select

        original = SerializedDAG.create_dagrun

        def remember(self: Any, **values: Any) -> Any:
            known[dag_id] = (self, values)
            return original(self, **values)

        if dag_id not in known:
            # A run as it stands at once; one that is late has waited in the queue.
            with patch.object(SerializedDAG, "create_dagrun", remember):
                run_day(dag_id, None)
        dag, values = known[dag_id]
        dag.deadline = ["in the table of deadline alerts"]
        with create_session() as session:
            about = {"run_id": f"late__{uuid4()}", "partition_key": key, "logical_date": None}
            values = values | about | {"state": DagRunState.QUEUED, "session": session}
            run = dag.create_dagrun(**values)
            session.flush()
            (waiting,) = session.scalars(select(Deadline).where(Deadline.dagrun_id == run.id)).all()
            hours = (waiting.deadline_time - run.queued_at) / timedelta(hours=1)
            waiting.handle_miss(session)
            data = waiting.callback.data
        done, error = execute_callback(
            callback_path=data["path"],
            callback_kwargs=data["kwargs"],
            dag_rel_path=Path(f"{dag_id}.py"),
            bundle_path=None,
            log=structlog.get_logger(),
        )
        assert done, error
        return hours

    return go


def test_a_run_that_misses_its_deadline_is_one_incident_however_many_days_are_late(
    late: Callable[[str, str], float], db: Database
) -> None:
    assert late("check_drift", DAY) == pytest.approx(6.0)
    late("check_drift", "2026-03-03")
    (incident,) = opened(db)
    assert (incident.cause, incident.severity, incident.title) == (
        "deadline:check_drift",
        "warning",
        "check_drift is late",
    )
    (mail,) = outbox.pending(db)
    assert "check_drift has not finished 2026-03-02 by 20" in mail.text
    assert "/dags/check_drift/runs/late__" in mail.text


def test_late_bids_are_critical_and_a_promotion_may_wait_for_a_person(
    late: Callable[[str, str], float], db: Database
) -> None:
    late("publish_bids", DAY)
    assert opened(db)[0].severity == "critical"
    assert late("promote_bid_model", DAY) == pytest.approx(14.0)


def test_a_success_of_the_step_ends_what_said_that_it_was_late(late: Callable[[str, str], float], db: Database) -> None:
    from lifecycle.stages import open_platform
    from ml.core.units import parse_day
    from ml.pipeline import _resolve

    late("check_drift", DAY)
    _resolve(open_platform(), parse_day(DAY), "drift", {})
    assert opened(db) == []


def test_deadlines_can_be_set_and_taken_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BIDWRIGHT_HOME", str(tmp_path))
    monkeypatch.setenv("BIDWRIGHT_DEADLINE_HOURS", "1.5")
    assert deadline()[0].interval == timedelta(hours=1.5)
    assert deadline()[0].callback.path == "lifecycle.failures.report_missed_deadline"
    monkeypatch.setenv("BIDWRIGHT_DEADLINE_HOURS", "0")
    assert deadline() == []


def test_tending_runs_by_its_own_calendar_for_no_market_day_and_ends_its_own_incident(
    run_day: Callable[..., Any], db: Database, dagbag: Any
) -> None:
    failures.report_failure(context("tend_incidents", key=None, task="tend", exception=OSError("disk full")))
    number = opened(db)[0].id
    outcome = run_day("tend_incidents", None)
    assert outcome.state == "success"
    assert incidents.get(db, "simulator", number).resolved_at is not None
    assert dagbag.get_dag("tend_incidents").timetable.expression == "*/5 * * * *"
