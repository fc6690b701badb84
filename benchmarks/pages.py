"""How soon a browser paints each page of a market with a year behind it, from the real api-server.

First contentful paint as Chromium reports it, from the start of the navigation: the api-server's answer, styles, layout. Each
page is opened once to warm up (the first request of a process imports what it needs) and then `--runs` times, each in a
session of its own with an empty cache. What the first request of all took stands beside it, as `cold`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.common import Figure, median, memory_folder, run
from benchmarks.pages_world import LAST, fill
from local.web import Web, api_server, chromium, cookie
from ml.core.clock import SystemClock
from ml.core.settings import load_settings
from ml.platform import Platform

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LIMIT_S = 1.0

PAGES = {
    "overview": "",
    "days": "days",
    "model": "model",
    "decision": "decisions/52",
    "drift": "drift",
    "feature": "drift/traffic.feature_7",
    "report": f"reports/{LAST}",
    "bids": "bids",
    "incidents": "incidents",
    "approvals": "approvals",
    "experiments": "experiments",
    "features": "features",
}

_PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def measure(given: argparse.Namespace) -> Mapping[str, Figure]:
    """Fill a working folder, serve it, and open every page."""
    figures = {}
    with TemporaryDirectory(prefix="bidwright-pages-", dir=memory_folder()) as folder:
        home = Path(folder)
        fill(Platform(load_settings(home=home), SystemClock()))
        with api_server(home) as web, chromium() as browser:
            cold = paint_s(browser, web, "")
            for name, path in PAGES.items():
                paint_s(browser, web, path)
                runs = tuple(paint_s(browser, web, path) for _ in range(given.runs))
                figures[name] = Figure(median(runs), "s", limit=LIMIT_S, runs=runs)
            figures["cold"] = Figure(cold, "s", runs=(cold,))
    return figures


def paint_s(browser: Browser, web: Web, path: str) -> float:
    """Seconds from the start of the navigation to the first contentful paint."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.add_cookies([cookie(web)])  # type: ignore[list-item]
        page = context.new_page()
        answer = page.goto(f"{web.url}/bid-models/{path}")
        if answer is None or not answer.ok:
            raise AssertionError(f"{path} answered {answer.status if answer else 'nothing'}")
        painted: float = page.wait_for_function(_PAINTED).json_value()
    return round(painted / 1000, 3)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=5, help="times that each page is opened")


if __name__ == "__main__":
    sys.exit(run("pages", measure, arguments=_arguments))
