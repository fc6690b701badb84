"""The charts of the pages: as data for the script, as a sentence and as a table, true to their figures."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bidwright_ui.charts import chart, known, money_by_day, of_signal, series
from ml.platform import Platform

ROOT = Path(__file__).parents[2]
BASE = "/bid-models"
TITLES = ["Spend", "Profit", "Bookings", "Share of O2"]
DASHES = dict.fromkeys(("spend_micros", "bookings", "profit_micros", "share_of_o2"), "-")


def drawn(page: str) -> list[dict[str, Any]]:
    """The charts of a page as its script reads them."""
    return [json.loads(html.unescape(found)) for found in re.findall(r'data-chart="([^"]*)"', page)]


def row(day: int, **figures: Any) -> dict[str, Any]:
    return {"day": f"2026-03-{day:02}"} | DASHES | figures


def test_the_front_page_holds_each_chart_as_data_as_a_sentence_and_as_a_table(api: Any, lived: Platform) -> None:
    page = api.get(f"{BASE}/").text
    assert [one["title"] for one in drawn(page)] == TITLES
    for said in ("spend 231.12 EUR on 2026-03-02", "profit -12.50 EUR", "bookings 27 on", "share of O2 87.40 %"):
        assert re.search(rf'<p class="said">[^<]*{said}', page), said
        assert re.search(rf'role="img" aria-label="[^"]*{said}', page), said
    tables = re.findall(r"<summary>The numbers</summary>.*?</details>", page, re.DOTALL)
    cells = [re.findall(r'<td class="n">([^<]*)</td>', table) for table in tables]
    assert cells == [["231.12", "240"], ["-12.50", "0"], ["27"], ["87.40"]]


def test_json_tells_the_charts_as_they_are_drawn(api: Any, lived: Platform) -> None:
    assert api.get(f"{BASE}/api").json()["charts"] == drawn(api.get(f"{BASE}/").text)


def test_a_figure_that_is_not_known_is_said_and_not_drawn_as_zero() -> None:
    plan = [{"spend_micros": None, "profit_micros": None}, {"spend_micros": 4_000_000, "profit_micros": None}]
    spend, profit, bookings, share = money_by_day([row(2), row(3, spend_micros=5_000_000)], plan, currency="EUR")
    assert [one["values"] for one in spend["series"]] == [[None, 5.0], [None, 4.0]]
    assert not known(profit)
    assert not known(bookings) and not known(share)
    assert bookings["said"] == "nothing is known yet"


def test_markup_in_a_chart_stays_text(api: Any, lived: Platform) -> None:
    from jinja2 import DictLoader

    from bidwright_ui.rendering import _ENVIRONMENT

    name = "</div><script>alert('x')</script>\""
    drawing = chart(name, series(name, [1.0]), x=[name], kind="category", label=name)
    templates = {"t": '{% import "p" as parts with context %}{{ parts.chart(c) }}', "p": _parts()}
    shown = _ENVIRONMENT.overlay(loader=DictLoader(templates)).get_template("t").render(c=drawing)
    assert "<script" not in shown
    assert drawn(shown) == [drawing]


def _parts() -> str:
    return (ROOT / "plugins/bidwright_ui/templates/parts.html.j2").read_text()


def test_a_series_of_an_incident_becomes_a_chart_with_its_day_marked() -> None:
    found = of_signal(
        {
            "name": "CTR",
            "unit": "%",
            "days": ["2026-03-01", "2026-03-02"],
            "values": [1.0, None],
            "low": [0.5, 0.5],
            "high": [1.5, 1.5],
            "marked": "2026-03-02",
        }
    )
    assert found["marked"] == 1
    assert found["series"][0]["low"] == [0.5, 0.5]
    assert found["said"] == "CTR 1 % on 2026-03-01"


@pytest.mark.parametrize("marked", [None, "2031-01-01"])
def test_a_series_without_a_day_to_mark_marks_none(marked: str | None) -> None:
    assert of_signal({"name": "CTR", "days": ["2026-03-01"], "values": [1.0], "marked": marked})["marked"] is None


def test_the_pages_cost_the_web_server_no_plotting_library() -> None:
    code = "import sys, bidwright_ui.views_overview, bidwright_ui.rendering; print(' '.join(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "plugins",
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"},
    )
    assert {"matplotlib", "numpy", "pandas", "sqlalchemy"} & set(run.stdout.split()) == set()
