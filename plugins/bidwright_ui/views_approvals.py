"""What waits for a person's answer: Airflow's own requests, each with the decision of the ledger that it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from fastapi import HTTPException, status
from starlette.concurrency import run_in_threadpool

from bidwright_ui.airflow_api import AirflowApi
from bidwright_ui.page import View, plain
from bidwright_ui.rights import PROMOTION as DAG
from ml.core.errors import NoData, UsageError

if TYPE_CHECKING:
    from ml.platform import Platform

TASK: Final = "approve"
ANSWERS: Final = ("Approve", "Reject")

ANSWER_WITHIN: Final = timedelta(hours=8)
"""After which Airflow takes silence for Reject; a test holds it to the DAG."""

_WAITING: Final = frozenset({"awaiting_input", "deferred"})
_LISTED: Final = 50
_BOUND: Final = ("task", "decision", "candidate", "generation")


@dataclass(frozen=True)
class Asked:
    """A request of Airflow's: the run that waits, its question, and the answer that it got, if it did."""

    run_id: str
    task: str
    state: str
    subject: str
    asked_at: str
    answered_at: str | None
    answer: str | None
    by: str | None

    @property
    def waits(self) -> bool:
        """Whether an answer still counts."""
        return self.answered_at is None and self.state in _WAITING

    @property
    def ended(self) -> str:
        """One sentence about a request that waits no more."""
        if self.answered_at is None:
            return f"this request ended without an answer (its task is {self.state or 'gone'})"
        if self.by is None:
            return f"nobody answered within {ANSWER_WITHIN // timedelta(hours=1)} hours, which counts as {self.answer}"
        at = datetime.fromisoformat(self.answered_at).astimezone(UTC)
        return f"it was answered {self.answer} by {self.by}, {at:%Y-%m-%d %H:%M} UTC"


async def approvals(platform: Platform, api: AirflowApi) -> View:
    """The requests that wait, each with its decision, and the last ones that got an answer."""
    found = await api.get("dags", DAG, "dagRuns", "~", "hitlDetails", order_by="-created_at", limit=_LISTED)
    asked = [_asked(one) for one in found["hitl_details"]]
    waiting = [await _with_decision(platform, api, one) for one in asked if one.waits]
    return {"waiting": waiting, "ended": [_shown(one) for one in asked if not one.waits]}


async def approval(platform: Platform, api: AirflowApi, run_id: str) -> View:
    """One request with its decision. NoData where Airflow has no such request."""
    return {"request": await _with_decision(platform, api, await _request(api, run_id))}


async def answer(platform: Platform, api: AirflowApi, run_id: str, form: Mapping[str, str]) -> None:
    """Give a request its answer, as the user who asks, through Airflow's own API.

    The form says to which task, decision, candidate and generation the answer was given; it counts for no other.

    Raises:
        NoData: there is no such request.
        UsageError: no such answer.
        HTTPException: 409 where it was answered, ended, is about something else by now, or the champion moved; 403 where
            Airflow does not let the user answer.
    """
    chosen = form.get("answer", "")
    if chosen not in ANSWERS:
        raise UsageError(f"{chosen[:40]!r} is no answer", next="choose " + " or ".join(ANSWERS))
    asked = await _request(api, run_id)
    if not asked.waits:
        raise _conflict(f"{asked.ended}; nothing was changed")
    standing = await _with_decision(platform, api, asked)
    if standing["decision"] is None:
        raise _conflict(f"{standing['obstacle']}; answer it under Required Actions, where Airflow shows its evidence")
    if any(form.get(name, "") != str(standing[name]) for name in _BOUND):
        raise _conflict(
            "the answer was given to another candidate or generation than the one that is asked about now; "
            "nothing was changed: read the evidence again"
        )
    if chosen == "Approve" and standing["obstacle"]:
        raise _conflict(f"{standing['obstacle']}; nothing was changed")
    await api.patch(*_path(run_id), body={"chosen_options": [chosen], "params_input": {}})


async def _request(api: AirflowApi, run_id: str) -> Asked:
    try:
        return _asked(await api.get(*_path(run_id)))
    except NoData:
        raise NoData(f"the run {run_id[:100]!r} asked for no approval", next="choose one from the list") from None


async def _with_decision(platform: Platform, api: AirflowApi, asked: Asked) -> dict[str, Any]:
    """A request with the decision that `judge` left in its run, as the ledger has it.

    `decision` is None where they do not agree; `obstacle` then says so, else why approving would move nothing.
    """
    left = await _left_by_judge(api, asked.run_id)
    return _shown(asked) | await run_in_threadpool(_decision, platform, left)


async def _left_by_judge(api: AirflowApi, run_id: str) -> Mapping[str, Any]:
    path = ("dags", DAG, "dagRuns", run_id, "taskInstances", "judge", "xcomEntries", "decision")
    try:
        left = (await api.get(*path))["value"]
    except NoData:
        return {}
    return left if isinstance(left, Mapping) else {}


def _decision(platform: Platform, left: Mapping[str, Any]) -> dict[str, Any]:
    from bidwright_ui.evidence import gates
    from ml.ledger import champion, decisions

    number = left.get("decision_id")
    nothing = {"decision": None, "candidate": "", "generation": 0, "standing_generation": None}
    nothing["obstacle"] = "this run and the ledger do not agree about the decision"
    if not isinstance(number, int):
        return nothing
    try:
        found = decisions.get(platform.db, number)
    except UsageError:
        return nothing
    said = (platform.market, left.get("candidate"), left.get("generation"))
    if (found.market, found.candidate, found.generation) != said:
        return nothing
    live = champion.current(platform.db, platform.market)
    now = live.generation if live else 0
    moved = f"the champion moved to generation {now} since, so that approving this would change nothing"
    return {
        "decision": found.id,
        "evidence": plain(found),
        "gates": gates(plain(found.gates)),
        "slices": plain(left.get("slices") or []),
        "candidate": str(found.candidate),
        "generation": found.generation,
        "standing_generation": now,
        "obstacle": moved if now != found.generation else "",
    }


def _asked(detail: Mapping[str, Any]) -> Asked:
    task = detail["task_instance"]
    chosen = detail.get("chosen_options") or ()
    person = detail.get("responded_by_user") or {}
    return Asked(
        run_id=task["dag_run_id"],
        task=task["id"],
        state=task["state"] or "",
        subject=detail["subject"],
        asked_at=detail["created_at"],
        answered_at=detail.get("responded_at") if detail.get("response_received") else None,
        answer=chosen[0] if chosen else None,
        by=person.get("name"),
    )


def _shown(asked: Asked) -> dict[str, Any]:
    ends = datetime.fromisoformat(asked.asked_at) + ANSWER_WITHIN
    return {
        "run_id": asked.run_id,
        "task": asked.task,
        "subject": asked.subject,
        "asked_at": asked.asked_at,
        "answer_until": ends.isoformat(),
        "answered_at": asked.answered_at,
        "answer": asked.answer,
        "by": asked.by,
        "waits": asked.waits,
        "ended": "" if asked.waits else asked.ended,
    }


def _path(run_id: str) -> tuple[str, ...]:
    return ("dags", DAG, "dagRuns", run_id, "taskInstances", TASK, "-1", "hitlDetails")


def _conflict(said: str) -> HTTPException:
    return HTTPException(status.HTTP_409_CONFLICT, said)
