"""The plots of the money by market day: true to their figures, readable without eyes, and light."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest

from bidwright_ui.plots import draw, plots, ticks
from ml.ledger import stages
from ml.platform import Platform

ROOT = Path(__file__).parents[2]
BASE = "/bid-models"
TITLES = ["Spend", "Bookings", "Profit", "Share of O2"]
DASHES = dict.fromkeys(("spend_micros", "bookings", "profit_micros", "share_of_o2"), "-")


def drawings(page: str) -> list[Element]:
    return [fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]  # noqa: S314


def row(day: int, **figures: Any) -> dict[str, Any]:
    return {"day": f"2026-03-{day:02}"} | DASHES | figures


def test_the_front_page_draws_each_figure_with_a_title_units_axes_and_words(api: Any, lived: Platform) -> None:
    found = drawings(api.get(f"{BASE}/").text)
    assert [svg.findtext("title") for svg in found] == [f"{title} by market day" for title in TITLES]
    for svg, said in zip(found, ("231.12 EUR", "27 bookings", "-12.50 EUR", "87.40 %"), strict=True):
        assert svg.get("role") == "img"
        assert f"2026-03-02 {said}" in (svg.get("aria-label") or "")
        written = [text.text for text in svg.findall("text")]
        assert {"market day", said.split()[-1], "03-02", "0"} <= set(written)
        assert len(svg.findall("rect")) == 1


def test_the_same_figures_are_there_as_a_table_and_as_json(api: Any, lived: Platform) -> None:
    page = api.get(f"{BASE}/").text
    details = page[page.index("The same as a table") :]
    details = details[: details.index("</details>")]
    assert re.findall(r'<th class="n">([^<]*)</th>', details) == [
        "Spend, EUR",
        "Bookings",
        "Profit, EUR",
        "Share of O2, %",
    ]
    assert re.findall(r'<td class="n">([^<]*)</td>', details) == ["231.12", "27", "-12.50", "87.40"]
    told = api.get(f"{BASE}/api").json()["plots"]
    assert [(plot["title"], plot["points"][0]["value"]) for plot in told] == list(
        zip(TITLES, [231.12, 27.0, -12.5, pytest.approx(87.4)], strict=True)
    )


def test_the_page_needs_no_style_attribute_that_its_policy_forbids(api: Any, lived: Platform) -> None:
    assert " style=" not in api.get(f"{BASE}/").text


def test_a_market_without_clicks_shows_what_there_is_and_says_what_is_not(api: Any, empty: Platform) -> None:
    for age in range(3):
        key = stages.StageKey(empty.market, "settle", date(2026, 3, 2) + timedelta(days=age))
        money = {"spend_micros": None, "bookings": 200 + age, "profit_micros": None}
        stages.record(empty.db, key, status="done", result={"money": money}, at=datetime(2026, 3, 9, tzinfo=UTC))
    page = api.get(f"{BASE}/").text
    [bookings] = drawings(page)
    assert bookings.findtext("title") == "Bookings by market day"
    assert page.count("Nothing is known yet, or this market does not tell it.") == 3


def test_a_day_whose_figure_is_not_known_has_no_bar_and_is_not_taken_for_zero() -> None:
    plot = plots([row(2, bookings=4), row(3), row(4, bookings=0)], currency="EUR")[1]
    drawn = draw(plot)
    assert drawn is not None
    assert [(bar.known, bar.height > 0) for bar in drawn.bars] == [(True, True), (False, False), (True, False)]
    assert "2026-03-03 not known" in drawn.said


def test_bars_are_as_long_as_their_values_and_losses_hang_below_zero() -> None:
    drawn = draw(plots([row(2, profit_micros=40_000_000), row(3, profit_micros=-20_000_000)], currency="EUR")[2])
    assert drawn is not None
    gain, loss = drawn.bars
    assert gain.height == pytest.approx(2 * loss.height, abs=0.2)
    assert gain.y + gain.height == pytest.approx(drawn.zero, abs=0.2)
    assert loss.y == drawn.zero


def test_the_share_of_o2_is_held_against_all_of_it() -> None:
    drawn = draw(plots([row(2, share_of_o2=0.8)], currency="EUR")[3])
    assert drawn is not None and drawn.reference is not None
    assert drawn.reference < drawn.bars[0].y
    assert "100" in [tick.label for tick in drawn.values]


def test_many_days_do_not_write_over_each_other() -> None:
    drawn = draw(plots([row(day, bookings=day) for day in range(1, 29)], currency="EUR")[1])
    assert drawn is not None
    assert len(drawn.bars) == 28
    assert all(right.at - left.at >= 40 for left, right in pairwise(drawn.days))
    assert all(right.x >= left.x + left.width for left, right in pairwise(drawn.bars))


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 0.0), (3.0, 3.0), (-0.004, 0.001), (12.0, 98_765.4), (-1e6, -1e5), (0.0, 1e-6)]
)
def test_an_axis_reaches_over_its_values_in_few_equal_steps_with_zero_among_them(low: float, high: float) -> None:
    marks = ticks(low, high)
    assert marks[0] <= low <= high <= marks[-1]
    assert 0.0 in marks
    assert 2 <= len(marks) <= 7
    steps = [right - left for left, right in pairwise(marks)]
    assert max(steps) == pytest.approx(min(steps)) and min(steps) > 0


def test_the_pages_cost_the_web_server_no_plotting_library() -> None:
    code = "import sys, bidwright_ui.views, bidwright_ui.rendering; print(' '.join(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "plugins",
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"},
    )
    assert {"matplotlib", "numpy", "pandas", "sqlalchemy"} & set(run.stdout.split()) == set()
