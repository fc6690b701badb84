"""Each DAG calls its use case for the day of its partition key, and wakes the next one only when it should."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lifecycle.settings import task_limit
from ml.core.errors import DayRejected, StoreUnavailable

DAY = "2026-03-02"

PLAIN = [
    ("ingest_market", "ingest", "market_day"),
    ("settle_outcomes", "settle", None),
    ("check_drift", "check_drift", "drift_checked"),
    ("train_bid_model", "train", "bid_candidate"),
    ("publish_bids", "publish_bids", None),
]


@pytest.mark.parametrize(("dag_id", "use_case", "asset"), PLAIN)
def test_a_dag_runs_its_use_case_for_the_day_and_hands_the_key_on(
    dag_id: str, use_case: str, asset: str | None, run_day: Any, pipeline: Any
) -> None:
    outcome = run_day(dag_id, DAY)
    assert outcome.state == "success"
    [(name, day, arguments)] = pipeline.calls
    assert (name, day) == (use_case, DAY)
    assert arguments["run_id"]
    expected = [] if asset is None else [(asset, DAY, pipeline.answers[use_case])]
    assert outcome.events == expected


def test_the_days_features_go_online_in_parts_and_wake_the_next_dag_once(run_day: Any, pipeline: Any) -> None:
    outcome = run_day("materialize_features", DAY)
    assert outcome.state == "success"
    assert pipeline.names() == ["materialize_part", "materialized"]
    (_, day, part), (_, _, whole) = pipeline.calls
    assert (day, part["part"], part["parts"]) == (DAY, 0, 1)
    assert whole["results"] == [pipeline.answers["materialize_part"]]
    assert outcome.events == [("features", DAY, pipeline.answers["materialized"])]


def test_a_part_that_fails_leaves_the_day_unrecorded_and_wakes_nothing(run_day: Any, pipeline: Any) -> None:
    pipeline.answers["materialize_part"] = DayRejected("the store is not what was written")
    outcome = run_day("materialize_features", DAY)
    assert outcome.state == "failed"
    assert "materialized" not in pipeline.names()
    assert outcome.events == []


@pytest.mark.parametrize("dag_id", [*(row[0] for row in PLAIN), "materialize_features", "promote_bid_model"])
def test_a_run_without_a_key_fails_at_once_and_says_how_to_give_one(
    dag_id: str, run_day: Any, pipeline: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run_day(dag_id, None)
    assert outcome.state == "failed"
    assert "up_for_retry" not in outcome.tasks.values()
    assert outcome.events == []
    assert pipeline.calls == []
    said = "".join(capsys.readouterr())
    assert f"this run of {dag_id} has no market day" in said
    assert f"airflow dags trigger {dag_id} --partition-key" in said


def test_a_day_that_trains_nothing_wakes_no_promotion(run_day: Any, pipeline: Any) -> None:
    pipeline.answers["train"] = {"due": False, "reason": "the champion is 1 day old", "candidate": None}
    outcome = run_day("train_bid_model", DAY)
    assert outcome.state == "success"
    assert outcome.tasks == {"train": "skipped"}
    assert outcome.events == []


def test_a_candidate_that_passes_is_promoted_and_nobody_is_asked(run_day: Any, pipeline: Any) -> None:
    outcome = run_day("promote_bid_model", DAY)
    assert outcome.tasks == {"judge": "success", "approve": "skipped", "promote": "success"}
    assert outcome.events == [("bid_champion", DAY, {"moved": True, "generation": 1})]
    name, day, arguments = pipeline.calls[-1]
    assert (name, day) == ("promote", DAY)
    assert (arguments["decision_id"], arguments["approval"]) == (7, None)


@pytest.mark.parametrize("verdict", ["HOLD", "FAIL"])
def test_a_candidate_that_does_not_pass_is_judged_and_nothing_more(verdict: str, run_day: Any, pipeline: Any) -> None:
    pipeline.answers["judge"] |= {"verdict": verdict}
    outcome = run_day("promote_bid_model", DAY)
    assert outcome.state == "success"
    assert outcome.tasks == {"judge": "success", "approve": "skipped", "promote": "skipped"}
    assert pipeline.names() == ["judge"]
    assert outcome.events == []


def test_a_champion_that_did_not_move_wakes_no_publication(run_day: Any, pipeline: Any) -> None:
    pipeline.answers["promote"] = {"moved": False, "reason": "already champion"}
    outcome = run_day("promote_bid_model", DAY)
    assert outcome.tasks["promote"] == "skipped"
    assert outcome.events == []


@pytest.mark.parametrize(("choice", "moved"), [("Approve", True), ("Reject", False)])
def test_where_policy_asks_a_person_decides_and_the_answer_reaches_the_use_case(
    choice: str, moved: bool, run_day: Any, pipeline: Any, api: Any
) -> None:
    pipeline.answers["judge"] |= {"needs_approval": True}
    pipeline.answers["promote"] = {"moved": moved, "generation": 1}
    with Answering(api, choice) as answering:
        outcome = run_day("promote_bid_model", DAY)
    assert answering.status == 200
    assert "| calibration | PASS | 1.01 |" in answering.body
    assert "within \\| limits" in answering.body
    assert "| value | device mobile | 900 | 0.012 | 0.01 |" in answering.body
    assert "first promotion of this market" in answering.body and "c" * 64 in answering.body
    assert outcome.tasks["approve"] == "success"
    assert pipeline.calls[-1][2]["approval"] == {
        "answer": choice, "by": "tester", "candidate": "c" * 64, "generation": 0,
    }  # fmt: skip
    assert bool(outcome.events) is moved


def test_an_error_that_cannot_pass_fails_without_a_retry_and_is_reported(run_day: Any, pipeline: Any) -> None:
    error = DayRejected("60 % of bookings are out of range", next="have the day delivered again")
    pipeline.answers["ingest"] = error
    outcome = run_day("ingest_market", DAY)
    assert outcome.state == "failed"
    assert pipeline.names() == ["ingest", "fail"]
    _, day, arguments = pipeline.calls[1]
    assert (day, *arguments["given"]) == (DAY, "ingest", error)
    assert outcome.events == []


def test_an_error_that_may_pass_is_tried_again(
    run_day: Any, pipeline: Any, dagbag: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dagbag.get_dag("ingest_market").get_task("ingest"), "retry_delay", timedelta(0))
    answer: Callable[..., Any] = pipeline.function("ingest")

    def once_unreachable(platform: Any, day: Any, **arguments: Any) -> Any:
        if pipeline.names().count("ingest") == 0:
            pipeline.calls.append(("ingest", day.isoformat(), arguments))
            raise StoreUnavailable("the lake cannot be reached")
        return answer(platform, day, **arguments)

    from ml import pipeline as real

    monkeypatch.setattr(real, "ingest", once_unreachable)
    outcome = run_day("ingest_market", DAY)
    assert outcome.state == "success"
    assert pipeline.names() == ["ingest", "ingest"]


def test_a_task_that_hangs_is_stopped_and_tried_again(
    run_day: Any, pipeline: Any, dagbag: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml import pipeline as real

    task = dagbag.get_dag("ingest_market").get_task("ingest")
    monkeypatch.setattr(task, "retry_delay", timedelta(0))
    monkeypatch.setattr(task, "execution_timeout", timedelta(seconds=0.5))
    answer: Callable[..., Any] = pipeline.function("ingest")

    def once_hanging(platform: Any, day: Any, **arguments: Any) -> Any:
        result = answer(platform, day, **arguments)
        if pipeline.names() == ["ingest"]:
            threading.Event().wait()  # as for an answer that never comes: only the limit ends it
        return result

    monkeypatch.setattr(real, "ingest", once_hanging)
    assert run_day("ingest_market", DAY).state == "success"
    assert pipeline.names() == ["ingest", "ingest"]


def test_the_limit_of_a_task_can_be_set_and_taken_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BIDWRIGHT_HOME", str(tmp_path))
    monkeypatch.setenv("BIDWRIGHT_TASK_HOURS", "0.5")
    assert task_limit() == timedelta(minutes=30)
    monkeypatch.setenv("BIDWRIGHT_TASK_HOURS", "0")
    assert task_limit() is None


class Answering:
    """Somebody who answers the next question in Airflow's Required Actions."""

    def __init__(self, api: Any, choice: str) -> None:
        self._api, self._choice = api, choice
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._answer)
        self.status, self.body = 0, ""

    def __enter__(self) -> Answering:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _answer(self) -> None:
        url = "/api/v2/dags/promote_bid_model/dagRuns"
        while not self._over.is_set():
            asked = self._api.get(f"{url}/~/hitlDetails", params={"response_received": False}).json()["hitl_details"]
            waiting = [q for q in asked if q["task_instance"]["state"] == "awaiting_input"]
            if waiting:
                self.body = waiting[0]["body"]
                run_id = waiting[0]["task_instance"]["dag_run_id"].replace("+", "%2B")
                answer = {"chosen_options": [self._choice], "params_input": {}}
                answered = self._api.patch(f"{url}/{run_id}/taskInstances/approve/-1/hitlDetails", json=answer)
                self.status = answered.status_code
                return
            time.sleep(0.1)
