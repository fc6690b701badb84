"""An api-server of its own before a working folder, and a browser that is signed in: for pictures and for measuring pages."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from local import airflow
from local.ports import LOOPBACK, free_port
from ml.core.errors import StoreUnavailable, UsageError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

STARTS_WITHIN_S: Final = 180.0
STOPS_WITHIN_S: Final = 20.0
_POLL_S: Final = 0.2

FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass(frozen=True)
class Web:
    """Where an api-server listens, and a session of its administrator as the value of Airflow's cookie."""

    url: str
    token: str


@contextmanager
def api_server(home: Path) -> Iterator[Web]:
    """Airflow's web server alone, on a free port, with its own database below `home`; ended with the block.

    Raises:
        StoreUnavailable: it did not come up in time; its log is named.
    """
    port = free_port()
    env, log = airflow.environment(home, port=port), home / "logs" / "web.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        told: dict[str, object] = {"env": env, "stdout": out, "stderr": subprocess.STDOUT, "cwd": home}
        subprocess.run(airflow.airflow_argv("db", "migrate"), check=True, **told)  # type: ignore[call-overload]  # noqa: S603
        process = subprocess.Popen(airflow.airflow_argv("api-server"), **told)  # type: ignore[call-overload]  # noqa: S603
        try:
            yield _signed_in(f"http://{LOOPBACK}:{port}", home, process, log)
        finally:
            process.terminate()
            try:
                process.wait(timeout=STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _signed_in(url: str, home: Path, process: subprocess.Popen[bytes], log: Path) -> Web:
    login = {"username": airflow.USER, "password": airflow.keep_secrets(home / "airflow").password}
    deadline = time.monotonic() + STARTS_WITHIN_S
    with httpx.Client(base_url=url, timeout=30.0, trust_env=False) as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                answer = client.post("/auth/token", json=login)
            except httpx.HTTPError:
                time.sleep(_POLL_S)
                continue
            if answer.is_success:
                return Web(url, str(answer.json()["access_token"]))
            time.sleep(_POLL_S)
    raise StoreUnavailable("the api-server did not come up", next=f"read {log}")


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """The machine's Chromium, without a word to the network; `flags` are further ones. UsageError where there is none."""
    found = shutil.which("chromium")
    if found is None:
        raise UsageError("there is no chromium on this machine", next="run: make debian")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            browser.close()


def cookie(web: Web) -> dict[str, str]:
    """Airflow's session cookie, for a browser."""
    return {"name": "_token", "value": web.token, "url": web.url}
