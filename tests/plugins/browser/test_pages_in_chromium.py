"""Each page in a real browser: whole, readable, reachable by keyboard, and asking nobody but the api-server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ml.platform import Platform

BASE = "/bid-models"
PAGES = ["/", "/model", "/drift", "/bids", "/incidents", "/approvals", "/experiments", "/features"]
"""What the navigation leads to."""

INNER = [
    "/decisions/1",
    "/versions/3fa9c1d2e4",
    "/drift/bookings.rival_price",
    "/reports/2026-03-02",
    "/days",
    "/bids/google/2026-03-02",
]
SIZES = [(1280, "light"), (390, "dark")]

WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def checked(page: Any, server: str, axe: Callable[[Any], list[str]]) -> None:
    """What holds for every page, whatever it shows."""
    assert axe(page) == []
    assert page.evaluate(WIDER) <= 0, "the page itself must not scroll sideways"
    assert [url for url in page.seen if not url.startswith((server, "data:"))] == []
    assert [said for said in page.said if "favicon" not in said and "status of" not in said] == []


@pytest.mark.parametrize(("width", "scheme"), SIZES)
@pytest.mark.parametrize("path", PAGES + INNER)
def test_a_page_with_data_is_drawn_and_accessible_in_light_and_dark_wide_and_narrow(
    path: str, width: int, scheme: str, browse: Any, server: str, axe: Any, lived: Platform
) -> None:
    page = browse(BASE + path, width=width, scheme=scheme)
    assert page.locator("h1").count() == 1
    charts = page.locator("[data-chart]")
    assert page.locator("[data-chart] canvas").count() == charts.count()
    assert page.locator("script:not([src])").count() == 0
    checked(page, server, axe)


@pytest.mark.parametrize("path", PAGES)
def test_an_empty_page_says_what_will_be_there(path: str, browse: Any, server: str, axe: Any, empty: Platform) -> None:
    page = browse(BASE + path, width=390, scheme="dark")
    assert page.locator("h1").count() == 1
    assert page.locator("nav [aria-current=page]").count() == 1
    checked(page, server, axe)


# Experiments are no table yet, and what waits for an approval is asked of Airflow, which has a database of its own.
@pytest.mark.parametrize("path", [path for path in PAGES if path not in {"/experiments", "/approvals"}])
def test_with_a_broken_database_a_page_says_so_and_what_to_do(
    path: str, browse: Any, server: str, axe: Any, platform: Platform
) -> None:
    (platform.settings.home / "bidwright.db").write_bytes(b"this is no database" * 100)
    page = browse(BASE + path)
    assert "is not a readable database" in page.inner_text("h1")
    assert "What to do:" in page.inner_text("main")
    checked(page, server, axe)


def test_inside_airflow_the_page_is_light_or_dark_as_airflow_is(browse: Any, lived: Platform) -> None:
    page = browse("/plugin/bid-models", role="admin", scheme="light")
    frame = page.frame_locator("iframe")
    frame.locator("h1").wait_for()
    [inner] = [one for one in page.frames if one.parent_frame is not None]
    for theme in ("dark", "light"):
        # As Airflow's own switch does.
        page.evaluate("theme => { document.documentElement.className = theme }", theme)
        inner.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
        assert inner.evaluate("getComputedStyle(document.documentElement).colorScheme") == theme


def test_opened_alone_the_page_follows_what_airflow_kept(browse: Any, server: str, lived: Platform) -> None:
    page = browse(f"{BASE}/", scheme="light")
    page.evaluate("localStorage.setItem('theme', 'dark')")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.evaluate("localStorage.setItem('theme', 'system')")
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before


def test_a_link_into_airflow_leads_the_whole_window_there(browse: Any, lived: Platform, api: Any) -> None:
    page = browse("/plugin/bid-models/bid-models/decisions/1", role="admin")
    link = page.frame_locator("iframe").locator("a[data-airflow]").first
    link.wait_for()
    link.click()
    page.wait_for_url("**/dags/**/runs/**")
    assert page.frame_locator("iframe").locator("nav").count() == 0


def test_the_keyboard_reaches_everything_in_order(browse: Any, lived: Platform) -> None:
    page = browse(f"{BASE}/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    summary = page.locator("main figure summary").first
    summary.focus()
    page.keyboard.press("Enter")
    numbers = page.locator("main figure table").first
    assert numbers.is_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "region"


def test_without_script_the_numbers_of_each_chart_are_there(browse: Any, lived: Platform) -> None:
    page = browse(f"{BASE}/", script=False)
    page.locator("main figure summary").first.click()
    assert "231.12" in page.locator("main figure table").first.inner_text()


def test_the_drift_report_draws_itself_inside_and_reaches_nothing(browse: Any, server: str, lived: Platform) -> None:
    page = browse(f"{BASE}/reports/2026-03-02")
    page.frame_locator("iframe").locator("text=a report").wait_for()
    [inner] = [one for one in page.frames if one.url.endswith("/html")]
    assert inner.evaluate("self.origin") == "null"


def test_the_published_file_is_what_is_downloaded(browse: Any, lived: Platform) -> None:
    page = browse(f"{BASE}/bids/google/2026-03-02")
    with page.expect_download() as waiting:
        page.click("a[download]")
    kept = lived.blobs.get("bids/simulator/google/2026-03-02/bids.csv")
    assert waiting.value.path().read_bytes() == kept
    assert waiting.value.suggested_filename == "bids-google-2026-03-02.csv"
