"""What a person does with incidents and approvals, by keyboard, in a real browser and inside Airflow's own frame."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from ml.ledger import incidents
from ml.platform import Platform
from tests.plugins.asking import Asking
from tests.plugins.test_approval_pages import asking, judged  # noqa: F401  (fixtures)
from tests.plugins.test_tabs import known_to_airflow, run_of  # noqa: F401

BASE = "/bid-models"
SIZES = [(1280, "light"), (390, "dark")]
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def focus_by_tab(page: Any, element: str) -> None:
    """Press Tab until an element, by its id, has the focus."""
    for _ in range(120):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id || document.activeElement.value") == element:
            return
    raise AssertionError(f"the keyboard does not reach {element}")


def test_an_incident_is_worked_on_with_the_keyboard_alone(browse: Any, lived: Platform) -> None:
    page = browse(f"{BASE}/incidents", role="op")
    page.keyboard.press("Tab")
    for _ in range(60):
        if page.evaluate("document.activeElement.matches('td a[href$=\"incidents/1\"]')"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/incidents/1")
    focus_by_tab(page, "note")
    page.keyboard.type("I look")
    page.keyboard.press("Enter")
    page.wait_for_url("**/incidents/1#story")
    focus_by_tab(page, "text")
    page.keyboard.type("the feed was late")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=the feed was late")
    found = incidents.get(lived.db, lived.market, 1)
    assert found.acknowledged_by == "op"
    told = [(note.kind, note.by, note.text) for note in incidents.notes(lived.db, lived.market, 1)][1:]
    assert told == [("acknowledged", "op", "I look"), ("comment", "op", "the feed was late")]


def test_words_that_were_refused_stand_in_the_form_again(browse: Any, lived: Platform) -> None:
    page = browse(f"{BASE}/incidents/1", role="op")
    page.evaluate("document.querySelector('#text').value = 'x'.repeat(10_001)")
    page.click("form[action$=comment] button")
    page.wait_for_selector("[role=alert]")
    assert "10,001 characters" in page.inner_text("[role=alert]")
    assert page.evaluate("document.querySelector('#text').value.length") == 10_001


@pytest.mark.parametrize(("width", "scheme"), SIZES)
@pytest.mark.parametrize("path", ["/incidents/1", "/tab?dag_id=check_drift", "/runbooks/drift", "/tab?dag_id=x"])
def test_a_page_that_people_use_is_accessible_wide_and_narrow(
    path: str, width: int, scheme: str, browse: Any, axe: Any, lived: Platform
) -> None:
    page = browse(BASE + path, role="op", width=width, scheme=scheme)
    assert axe(page) == []
    assert page.evaluate(WIDER) <= 0
    assert [said for said in page.said if "favicon" not in said] == []


def test_a_request_is_answered_with_the_keyboard_alone(browse: Any, asking: Asking, axe: Any) -> None:  # noqa: F811
    page = browse(f"{BASE}/approvals", role="op", width=390, scheme="dark")
    assert axe(page) == []
    page.locator("text=Read the evidence and answer").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Your answer")
    assert axe(page) == []
    assert page.evaluate(WIDER) <= 0
    focus_by_tab(page, "Reject")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=It was answered Reject by op")
    assert [answer["answer"] for answer in asking.finish()] == ["Reject"]


def test_a_request_is_answered_inside_airflows_frame(browse: Any, asking: Asking) -> None:  # noqa: F811
    run = quote(asking.run_id, safe="")
    page = browse(f"/plugin/bid-models{BASE}/approvals/{run}", role="op")
    frame = page.frame_locator("iframe")
    frame.locator("button[value=Reject]").click()
    frame.locator("text=It was answered Reject by op").wait_for()


@pytest.mark.parametrize(
    ("view", "path"),
    [
        ("dag", "/dags/check_drift/plugin/bid-models-dag"),
        ("task", "/dags/check_drift/tasks/drift/plugin/bid-models-task"),
        ("dag_run", "/dags/check_drift/runs/{run}/plugin/bid-models-dag-run"),
        ("task_instance", "/dags/check_drift/runs/{run}/tasks/drift/plugin/bid-models-task-instance"),
    ],
)
def test_a_tab_of_airflow_shows_our_piece_and_its_links_lead_out_of_the_frame(
    view: str,
    path: str,
    browse: Any,
    lived: Platform,
    run_of: Any,  # noqa: F811
) -> None:
    run = quote(run_of("check_drift", "2026-03-02"), safe="")
    page = browse(path.format(run=run), role="viewer")
    frame = page.frame_locator("iframe")
    heading = frame.locator("h1").inner_text()
    assert heading == ("check_drift on 2026-03-02" if "run" in path else "check_drift")
    frame.locator("a:has-text('Rival prices fell')").wait_for()
    frame.locator("a[data-airflow]:has-text('All pages')").click()
    page.wait_for_url("**/plugin/bid-models**")
    page.frame_locator("iframe").locator("nav[aria-label='Bid models']").wait_for()


def test_who_is_not_signed_in_is_led_to_the_login(chromium: Any, server: str, lived: Platform) -> None:
    context = chromium.new_context()
    try:
        page = context.new_page()
        answer = page.goto(f"{server}{BASE}/incidents/1")
        assert answer.status == 401
        page.click("a:text-is('Sign in')")
        page.wait_for_url("**/auth/login**")
        page.wait_for_selector("input[name=username]")
    finally:
        context.close()
