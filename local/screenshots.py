"""Pictures of every page for the documentation, from a working folder that a demo left.

    python -m local.screenshots [--home .bidwright] [--to docs/images]

Look at each of them: they are what a reader sees first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.web import Web, api_server, chromium, cookie
from ml.core.clock import SystemClock
from ml.core.errors import BidwrightError, UsageError
from ml.core.settings import load_settings
from ml.platform import Platform

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FloatRect, Page

WIDE: Final = {"width": 1280, "height": 900}
NARROW: Final = {"width": 390, "height": 844}
TALLEST: Final = 1500
"""Pixels of a page that are shown; the rest scrolls."""

COLOURS: Final = 128


def pages(platform: Platform) -> Mapping[str, str]:
    """What is pictured: the path below the front page, by the name of its file."""
    from ml.ledger import decisions, incidents, reports

    found = {
        "overview": "", "model": "model", "drift": "drift", "bids": "bids", "incidents": "incidents",
        "approvals": "approvals", "experiments": "experiments", "features": "features",
    }  # fmt: skip
    for one in decisions.latest(platform.db, platform.market, 1):
        found["decision"] = f"decisions/{one.id}"
    for incident in incidents.all_incidents(platform.db, platform.market, 1):
        found["incident"] = f"incidents/{incident.id}"
    newest = [one for one in reports.latest(platform.db, platform.market, 1) if one.numbers.get("columns")]
    for report in newest:
        nearest = max(report.numbers["columns"], key=lambda column: column.get("ratio") or 0.0)
        found["feature"] = f"drift/{nearest['name']}"
    return found


def take(home: Path, to: Path, only: Collection[str] = ()) -> list[Path]:
    """Take every picture, wide and light, narrow and dark, and the overview inside Airflow; where they lie.

    Args:
        home: the working folder.
        to: where they are written.
        only: names of pages; empty for all, and for the two inside Airflow.
    """
    platform = Platform(load_settings(home=home), SystemClock())
    if not home.is_dir():
        raise UsageError(f"{home} is no working folder of a demo", next="run: make demo ONCE=1")
    to.mkdir(parents=True, exist_ok=True)
    with api_server(home) as web, chromium() as browser:
        made = [] if only else [_inside(browser, web, to, scheme) for scheme in ("light", "dark")]
        for name, path in pages(platform).items():
            if only and name not in only:
                continue
            made.append(_picture(browser, web, path, to / f"page-{name}.png", scheme="light", size=WIDE))
            made.append(_picture(browser, web, path, to / f"page-{name}-narrow.png", scheme="dark", size=NARROW))
    return made


def _inside(browser: Browser, web: Web, to: Path, scheme: str) -> Path:
    """The overview as Airflow's navigation opens it."""
    file = to / f"airflow-{scheme}.png"
    with browser.new_context(viewport=WIDE, color_scheme=scheme) as context:  # type: ignore[arg-type]
        context.add_cookies([cookie(web)])  # type: ignore[list-item]
        context.add_init_script(f"localStorage.setItem('theme', '{scheme}')")
        page = context.new_page()
        page.goto(f"{web.url}/plugin/bid-models")
        page.frame_locator("iframe").locator("h1").wait_for()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=file)
    return _smaller(file)


def _picture(browser: Browser, web: Web, path: str, file: Path, *, scheme: str, size: Mapping[str, int]) -> Path:
    with browser.new_context(viewport=dict(size), color_scheme=scheme) as context:  # type: ignore[arg-type]
        context.add_cookies([cookie(web)])  # type: ignore[list-item]
        page = context.new_page()
        answer = page.goto(f"{web.url}/bid-models/{path}")
        if answer is None or not answer.ok:
            raise UsageError(f"/{path} could not be pictured: {page.inner_text('h1')}", next="read logs/web.log")
        page.wait_for_load_state("networkidle")
        page.screenshot(path=file, full_page=True, clip=_clip(page, size))
    return _smaller(file)


def _clip(page: Page, size: Mapping[str, int]) -> FloatRect:
    height: int = page.evaluate("document.documentElement.scrollHeight")
    return {"x": 0, "y": 0, "width": size["width"], "height": min(height, TALLEST)}


def _smaller(file: Path) -> Path:
    """The same picture in few colours: it is kept in the repository."""
    from PIL import Image

    with Image.open(file) as picture:
        picture.convert("RGB").quantize(COLOURS).save(file, optimize=True)
    return file


def main() -> int:
    """Take them and say where they lie."""
    parser = argparse.ArgumentParser(prog="python -m local.screenshots")
    parser.add_argument("--home", type=Path, default=Path(".bidwright"), help="working folder of a demo")
    parser.add_argument("--to", type=Path, default=Path("docs/images"), help="where the pictures are written")
    parser.add_argument(
        "--only", nargs="*", default=[], help="names of pages, such as decision; all where none is given"
    )
    given = parser.parse_args()
    for file in take(given.home.resolve(), given.to, given.only):
        sys.stdout.write(f"{file}\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BidwrightError as error:
        sys.exit(str(error))
