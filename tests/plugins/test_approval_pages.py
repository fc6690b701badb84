"""An answer on the page is Airflow's own answer: same rights, same checks, bound to what was shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from ml.core.digests import Digest
from ml.core.verdict import Verdict
from ml.ledger import champion, decisions, versions
from ml.platform import Platform
from tests.plugins.asking import DAG, Asking
from tests.plugins.conftest import AT, CANDIDATE, DAY, EVIL

BASE = "/bid-models/approvals"
NEXT = Digest("a" * 64)


@pytest.fixture
def judged(lived: Platform) -> dict[str, Any]:
    """A candidate that passed every gate, against the champion, and needs a person; as `judge` leaves it."""
    first = versions.find(lived.db, lived.market, CANDIDATE)
    versions.register(lived.db, replace(first, digest=NEXT), AT)
    gates = [{"gate": "calibration", "verdict": "PASS", "number": 1.01, "reason": f"fine {EVIL}"}]
    approval = {"needed": True, "reasons": [f"first promotion {EVIL}"]}
    number = decisions.record(
        lived.db,
        decisions.Decision(lived.market, DAY, NEXT, CANDIDATE, 1, Verdict.PASS, gates, Digest("e" * 64), approval),
        AT,
    )
    return {
        "decision_id": number,
        "candidate": str(NEXT),
        "champion": str(CANDIDATE),
        "generation": 1,
        "policy": "e" * 64,
        "verdict": "PASS",
        "needs_approval": True,
        "reasons": approval["reasons"],
        "gates": gates,
        "slices": [{"model": "value", "slice": f"device {EVIL}", "rows": 900, "change": 0.012, "error": 0.01}],
    }


@pytest.fixture
def asking(api: Any, dagbag: Any, judged: dict[str, Any]) -> Iterator[Asking]:
    with Asking(api, dagbag, judged) as run:
        yield run


def address(run: Asking) -> str:
    return f"{BASE}/{quote(run.run_id, safe='')}"


def fields(client: Any, run: Asking, **changed: str) -> dict[str, str]:
    page = client.get(address(run)).text
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page)) | changed


def answer(client: Any, run: Asking, **given: str) -> Any:
    return client.post(address(run), data=given, follow_redirects=False)


def in_airflow(api: Any, run: Asking) -> dict[str, Any]:
    path = f"/api/v2/dags/{DAG}/dagRuns/{quote(run.run_id, safe='')}/taskInstances/approve/-1/hitlDetails"
    found: dict[str, Any] = api.get(path).json()
    return found


@pytest.mark.parametrize("choice", ["Approve", "Reject"])
def test_an_answer_on_the_page_is_the_answer_in_airflow_and_reaches_the_promotion(
    choice: str, asking: Asking, client_of: Any, api: Any
) -> None:
    op = client_of("op")
    listed = op.get(BASE).text
    assert "Read the evidence and answer" in listed and quote(asking.run_id) in listed
    page = op.get(address(asking)).text
    for said in ("Promote the bid model of 2026-03-02?", "calibration", "first promotion", "device", "generation 1"):
        assert said in page, said
    assert "<script>alert" not in page
    done = answer(op, asking, **fields(op, asking), answer=choice)
    assert done.status_code == 303
    assert op.get(f"{BASE}/{done.headers['location']}").status_code == 200
    assert asking.finish() == [{"answer": choice, "by": "op", "candidate": str(NEXT), "generation": 1}]
    kept = in_airflow(api, asking)
    assert (kept["chosen_options"], kept["responded_by_user"]["name"]) == ([choice], "op")
    log = api.get("/api/v2/eventLogs", params={"event": "update_hitl_detail", "order_by": "-event_log_id"}).json()
    assert (log["event_logs"][0]["owner"], log["event_logs"][0]["run_id"]) == ("op", asking.run_id)


def test_a_request_that_was_answered_says_so_and_takes_no_second_answer(asking: Asking, api: Any) -> None:
    sent = fields(api, asking)
    assert answer(api, asking, **sent, answer="Reject").status_code == 303
    again = answer(api, asking, **sent, answer="Approve")
    assert again.status_code == 409
    assert "t was answered Reject by tester" in again.text
    assert in_airflow(api, asking)["chosen_options"] == ["Reject"]
    page = api.get(address(asking)).text
    assert "Your answer" not in page and "It was answered Reject by tester" in page
    assert asking.run_id in {one["run_id"] for one in api.get("/bid-models/api/approvals").json()["ended"]}


@pytest.mark.parametrize(
    "forged",
    [
        {"candidate": str(CANDIDATE)},
        {"generation": "2"},
        {"decision": "1"},
        {"task": "00000000-0000-0000-0000-000000000000"},
        {"candidate": ""},
    ],
)
def test_an_answer_to_another_candidate_or_generation_is_refused(
    forged: dict[str, str], asking: Asking, api: Any
) -> None:
    refused = answer(api, asking, **fields(api, asking, **forged), answer="Approve")
    assert refused.status_code == 409
    assert "another candidate or generation" in refused.text
    assert in_airflow(api, asking)["response_received"] is False


def test_nothing_can_be_approved_against_a_champion_that_has_moved_and_refusing_still_can(
    asking: Asking, judged: dict[str, Any], lived: Platform, api: Any
) -> None:
    sent = fields(api, asking)
    live = champion.current(lived.db, lived.market)
    assert live is not None
    champion.move(
        lived.db, lived.market, digest=NEXT, expected_generation=1, decision_id=judged["decision_id"], day=DAY, at=AT
    )
    refused = answer(api, asking, **sent, answer="Approve")
    assert refused.status_code == 409
    assert "he champion moved to generation 2" in refused.text
    assert in_airflow(api, asking)["response_received"] is False
    assert answer(api, asking, **sent, answer="Reject").status_code == 303


def test_a_decision_that_the_ledger_does_not_know_is_not_answered_here(
    api: Any, dagbag: Any, judged: dict[str, Any]
) -> None:
    with Asking(api, dagbag, judged | {"candidate": "f" * 64}) as run:
        page = api.get(address(run)).text
        assert "do not agree" in page and "Your answer" not in page
        refused = answer(api, run, **fields(api, run), form_token=token(api, run), answer="Approve")
        assert refused.status_code == 409 and "Required Actions" in refused.text
        assert in_airflow(api, run)["response_received"] is False


def token(client: Any, run: Asking) -> str:
    """A token of this session, from a page that has a form."""
    found = re.search(r'name="form_token" value="(\w+)"', client.get("/bid-models/incidents/1").text)
    assert found
    return found[1]


def test_a_viewer_reads_the_request_sees_no_form_and_is_refused(asking: Asking, client_of: Any, api: Any) -> None:
    viewer = client_of("viewer")
    page = viewer.get(address(asking))
    assert page.status_code == 200 and "calibration" in page.text
    assert "<button" not in page.text and "form_token" not in page.text
    refused = answer(viewer, asking, **fields(api, asking), answer="Approve")
    assert refused.status_code == 403 and "Required Actions" in refused.text
    assert in_airflow(api, asking)["response_received"] is False


def test_a_forged_form_or_answer_is_refused(asking: Asking, api: Any, client_of: Any, anonymous: Any) -> None:
    sent = fields(api, asking)
    assert answer(client_of("op"), asking, **sent, answer="Approve").status_code == 403
    assert answer(api, asking, **sent | {"form_token": ""}, answer="Approve").status_code == 403
    assert answer(anonymous, asking, **sent, answer="Approve").status_code == 401
    assert answer(api, asking, **sent, answer="Publish").status_code == 400
    assert answer(api, asking, **sent).status_code == 400
    assert in_airflow(api, asking)["response_received"] is False


def test_what_does_not_exist_is_a_sentence_and_leaks_nothing(api: Any, lived: Platform) -> None:
    for run_id in ("manual__nothing", "..%2f..%2fvariables", "~", EVIL, "x" * 3000):
        page = api.get(f"{BASE}/{quote(run_id, safe='%')}")
        assert page.status_code == 404, run_id
        assert "<script>alert" not in page.text and "Traceback" not in page.text


def test_nothing_that_waits_is_said(api: Any, empty: Platform) -> None:
    assert "Nothing waits for an answer" in api.get(BASE).text


def test_when_airflow_gives_no_answer_the_page_says_so(
    api: Any, empty: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.core_api.routes.public import hitl

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(hitl, "paginated_select", broken)
    page = api.get(BASE)
    assert page.status_code == 503
    assert "Airflow&#39;s API gave no answer" in page.text and "secret detail" not in page.text


def test_the_page_says_as_many_hours_as_the_dag_waits(dagbag: Any) -> None:
    from bidwright_ui.views_approvals import ANSWER_WITHIN, ANSWERS

    task = dagbag.get_dag(DAG).get_task("approve")
    assert task.response_timeout == ANSWER_WITHIN
    assert tuple(task.options) == ANSWERS and task.defaults == ["Reject"]
