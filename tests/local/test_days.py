"""When a market day is over, when it has failed, and when it has to be helped."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from local.client import DagRun
from local.days import DayFailed, DayRunner, missing_stages
from ml.core.errors import StoreUnavailable

DAY = date(2026, 3, 2)
QUIET = {"ingest": {}, "settle": {}, "materialize": {}, "drift": {}, "train": {"candidate": None}, "publish": {}}
TRAINED = QUIET | {"train": {"candidate": "c1"}}
JUDGED = TRAINED | {"promote": {"verdict": "PASS"}}
MOVED = TRAINED | {"promote": {"verdict": "PASS", "moved": True, "generation": 2}}


@pytest.mark.parametrize(
    ("results", "missing"),
    [
        ({}, ["ingest", "settle", "materialize", "drift", "train", "publish"]),
        (QUIET, []),
        (TRAINED, ["promote"]),
        (JUDGED, ["promote"]),
        (TRAINED | {"promote": {"verdict": "HOLD"}}, []),
        (TRAINED | {"promote": {"verdict": "PASS", "moved": False}}, []),
        (MOVED | {"publish": {"generation": 1}}, ["publish"]),
        (MOVED | {"publish": {"generation": 2}}, []),
    ],
)
def test_a_day_is_over_when_everything_that_it_woke_has_left_its_result(results: Any, missing: list[str]) -> None:
    assert missing_stages(results) == missing


class Airflow:
    """A scheduler in a few lines: each look at it goes one step further in a script."""

    def __init__(self, *script: list[DagRun]) -> None:
        self.script = list(script)
        self.triggered: list[str] = []
        self.outages = 0

    def runs(self, key: str) -> list[DagRun]:
        assert key == "2026-03-02"
        if self.outages:
            self.outages -= 1
            raise StoreUnavailable("Airflow does not answer")
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def trigger(self, dag_id: str, key: str) -> DagRun:
        assert key == "2026-03-02"
        self.triggered.append(dag_id)
        return run(dag_id, "queued")

    def failed_tasks(self, _: DagRun) -> list[str]:
        return ["ingest"]


def run(dag_id: str, state: str, at: str = "2026-11-21T02:00:00") -> DagRun:
    return DagRun(dag_id, f"manual__{at}", "2026-03-02", state)


def runner(airflow: Airflow, *results: Any, monkeypatch: pytest.MonkeyPatch) -> DayRunner:
    from local import days

    monkeypatch.setattr(days, "_POLL_S", 0.0)
    left = list(results)
    return DayRunner(
        airflow,  # type: ignore[arg-type]
        results=lambda _: left.pop(0) if len(left) > 1 else left[0],
        revive=list,
        logs=Path("/logs"),
        notice=lambda _: None,
    )


def test_a_new_day_is_started_once_and_followed_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = Airflow([], [run("ingest_market", "running")], [run("ingest_market", "success")])
    day = runner(airflow, {}, {}, {}, QUIET, monkeypatch=monkeypatch)
    assert day.run(DAY) == QUIET
    assert airflow.triggered == ["ingest_market"]


def test_a_day_that_is_at_work_is_only_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = Airflow([run("check_drift", "running")], [run("check_drift", "success")])
    runner(airflow, {"ingest": {}}, QUIET, monkeypatch=monkeypatch).run(DAY)
    assert airflow.triggered == []


def test_a_day_cut_off_between_two_dags_is_taken_up_where_it_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = Airflow([run("ingest_market", "success")])
    half = {name: QUIET[name] for name in ("ingest", "settle", "materialize")}
    runner(airflow, half, half, QUIET, monkeypatch=monkeypatch).run(DAY)
    assert airflow.triggered == ["check_drift"]


def test_a_failure_names_the_dag_the_task_the_day_and_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = Airflow([], [run("ingest_market", "failed")])
    with pytest.raises(DayFailed) as failure:
        runner(airflow, {}, monkeypatch=monkeypatch).run(DAY)
    said = str(failure.value)
    for part in ("ingest_market failed on 2026-03-02", "in ingest", "/logs/dag_id=ingest_market/run_id=manual__"):
        assert part in said


def test_an_earlier_failure_does_not_count_once_a_later_run_succeeded(monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = Airflow([run("ingest_market", "failed"), run("ingest_market", "success", "2026-11-21T03:00:00")])
    runner(airflow, {}, {}, QUIET, monkeypatch=monkeypatch).run(DAY)
    assert airflow.triggered == ["ingest_market"]


def test_a_day_that_stands_still_is_helped_twice_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = Airflow([])
    day = runner(airflow, {}, monkeypatch=monkeypatch)
    day.quiet_s = -1.0
    with pytest.raises(DayFailed, match="2026-03-02 stands still: ingest_market"):
        day.run(DAY)
    assert airflow.triggered == ["ingest_market", "ingest_market"]


def test_an_api_server_that_comes_back_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = Airflow([], [run("ingest_market", "running")], [run("ingest_market", "success")])
    airflow.outages = 3
    assert runner(airflow, {}, {}, {}, {}, {}, QUIET, monkeypatch=monkeypatch).run(DAY) == QUIET
    assert airflow.outages == 0
    assert airflow.triggered == ["ingest_market"]


def test_one_that_stays_away_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from local import days

    monkeypatch.setattr(days, "_OUTAGE_S", 0.0)
    airflow = Airflow([])
    airflow.outages = 10**9
    with pytest.raises(StoreUnavailable):
        runner(airflow, {}, monkeypatch=monkeypatch).run(DAY)
