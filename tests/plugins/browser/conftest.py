"""A real Chromium in front of the api-server's own application, served over HTTP by uvicorn; one of each for all tests."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local import web
from local.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
STARTS_WITHIN_S = 60


@pytest.fixture(scope="session")
def server(api: Any) -> Iterator[str]:
    """Where the api-server listens. Tests put their platform in its place, so one serves them all."""
    import uvicorn

    port = free_port()
    # Its lifespan runs already, in the test client that made it.
    config = uvicorn.Config(api.app, host=LOOPBACK, port=port, lifespan="off", log_level="error")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + STARTS_WITHIN_S
    while not running.started:
        assert thread.is_alive() and time.monotonic() < deadline, "the web server did not start"
        time.sleep(0.02)
    yield f"http://{LOOPBACK}:{port}"
    running.should_exit = True
    thread.join(timeout=10)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Closed with its module: while Playwright is open, no other test of this process could run a loop of its own."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine; `make test` installs it where it may")
    with web.chromium() as browser:
        yield browser


@pytest.fixture
def browse(chromium: Browser, server: str) -> Iterator[Callable[..., Page]]:
    """Open a path as a role: the page, with `seen` (every request) and `said` (every error in its console)."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    opened = []

    def go(path: str, *, role: str = "viewer", width: int = 1280, scheme: str = "light", script: bool = True) -> Page:
        token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=role, role=role))
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script
        )
        opened.append(context)
        context.add_cookies([{"name": "_token", "value": token, "url": server}])
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.seen, page.said = [], []
        page.on("request", lambda request: page.seen.append(request.url))
        page.on("console", lambda message: page.said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto(f"{server}{path}")
        return page

    yield go
    for context in opened:
        context.close()


@pytest.fixture(scope="session")
def axe() -> Callable[[Page], list[str]]:
    """What axe-core finds serious or critical on a page: rule, what it is about, and where."""
    source = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()

    def check(page: Page) -> list[str]:
        page.evaluate(source)
        found = page.evaluate("axe.run({resultTypes: ['violations'], iframes: false})")
        return [
            f"{one['id']} ({one['impact']}): {one['help']} at {node['target']}"
            for one in found["violations"]
            if one["impact"] in {"serious", "critical"}
            for node in one["nodes"]
        ]

    return check
