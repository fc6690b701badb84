"""With a rollout, `promote` waits without a worker, goes on from the ledger, and ends as the rollout did."""

from __future__ import annotations

from typing import Any

import pytest

DAY = "2026-03-02"


@pytest.fixture
def rollout(pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The pipeline's `promote` answers that a rollout began; tending it ends it after some looks."""
    import rollout_trigger
    from ml import rollout as use

    state: dict[str, Any] = {"looks": 0, "end": {"moved": True, "generation": 3}, "judge_at": 0, "judged": 0}
    under_way = {"moved": False, "rollout": {"id": 1, "state": "shadow", "over": False}}

    def tend(platform: Any, *, may_judge: bool = True) -> dict[str, Any]:
        state["looks"] += 1
        state["judged"] += may_judge
        if state["looks"] == 2:
            raise ConnectionError("the database is gone for a moment")
        if state["looks"] == state["judge_at"]:
            return {"action": "judge"}
        if state["looks"] >= 4:
            pipeline.answers["promote"] = {**state["end"], "rollout": {"id": 1, "state": "promoted", "over": True}}
        return {"action": "held"}

    def state_of(platform: Any, decision_id: int) -> dict[str, Any]:
        assert decision_id == 7
        return {"state": "shadow", "over": pipeline.answers["promote"]["rollout"]["over"]}

    pipeline.answers["promote"] = under_way
    monkeypatch.setattr(use, "tend", tend)
    monkeypatch.setattr(use, "state_of", state_of)
    monkeypatch.setattr(rollout_trigger, "EVERY_S", 0.0)
    monkeypatch.setattr(rollout_trigger.RolloutTrigger.__init__, "__defaults__", (0.0,))
    return state


def test_promote_waits_deferred_and_emits_the_champion_when_the_rollout_promoted(
    rollout: Any, run_day: Any, pipeline: Any
) -> None:
    outcome = run_day("promote_bid_model", DAY)
    assert outcome.tasks["promote"] == "success"
    assert [name for name, _, _ in outcome.events] == ["bid_champion"]
    assert pipeline.names() == ["judge", "promote", "promote"], "before and after waiting, and nothing in between"
    assert rollout["judged"] == 0, "nothing heavy runs where the trigger runs"


def test_a_rolled_back_candidate_skips_and_wakes_nothing(rollout: Any, run_day: Any, pipeline: Any) -> None:
    rollout["end"] = {"moved": False, "reason": "rollout 1 rolled back: errors"}
    outcome = run_day("promote_bid_model", DAY)
    assert outcome.tasks["promote"] == "skipped"
    assert outcome.events == []


def test_a_candidate_that_has_to_be_judged_again_is_judged_by_a_worker(
    rollout: Any, run_day: Any, pipeline: Any
) -> None:
    rollout["judge_at"] = 1
    outcome = run_day("promote_bid_model", DAY)
    assert outcome.tasks["promote"] == "success"
    assert rollout["judged"] == 1


def test_a_triggerer_that_may_not_work_here_looks_after_nothing_and_goes_on_once_it_may(
    rollout: Any, run_day: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from ml import preflight
    from ml.core.errors import NotReady

    asked: list[int] = []

    def check_clock(_platform: Any, *, of_all: bool = True) -> str:
        asked.append(rollout["looks"])
        if len(asked) in (3, 4, 5):  # the worker's own task asked first
            raise NotReady("this machine's clock is 1:00:00 ahead of that of the database", left="", next="mend it")
        return ""

    monkeypatch.setattr(preflight, "check_clock", check_clock)
    with caplog.at_level("WARNING", "rollout_trigger"):
        outcome = run_day("promote_bid_model", DAY)
    assert outcome.tasks["promote"] == "success"
    assert asked[2] == asked[3] == asked[4] == asked[5], "nothing was looked after while it was refused"
    assert caplog.text.count("clock is 1:00:00 ahead of") == 3


def test_the_trigger_is_found_by_the_name_that_it_tells_the_triggerer() -> None:
    from airflow.sdk.module_loading import import_string

    from rollout_trigger import RolloutTrigger

    path, arguments = RolloutTrigger(7, 2.0).serialize()
    made = import_string(path)(**arguments)
    assert (made.decision_id, made.every_s) == (7, 2.0)


@pytest.mark.parametrize(("ok", "state"), [(True, "success"), (False, "skipped")])
def test_the_rehearsal_runs_by_itself_and_a_drill_that_cannot_be_is_skipped(
    ok: bool, state: str, run_day: Any, pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml import incidents
    from ml import rollout as use

    over: list[str] = []
    monkeypatch.setattr(use, "rehearse", lambda _platform: {"ok": ok, "took_ms": 3, "reason": "no earlier champion"})
    monkeypatch.setattr(incidents, "dag_succeeded", lambda _platform, *, dag, day: over.append(dag))  # noqa: ARG005
    assert run_day("rehearse_rollback", None).tasks == {"rehearse": state}
    assert over == ["rehearse_rollback"], "a rehearsal that ran ends the incident of one that did not"
