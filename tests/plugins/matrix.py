"""A real api-server with users, every route of the pages, and what each role is answered; for both auth managers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

from local.ports import LOOPBACK, free_port
from ml.platform import Platform

BASE = "/bid-models"
STARTS_WITHIN_S = 180
VALUES = {"day": "2026-03-02", "digest": "3fa9c1d2e4", "number": "1", "partner": "google", "action": "comment"}
NAMES = {"/static": "app.js", "/runbooks": "drift", "/drift": "bookings.rival_price", "/days": "2026-03-02"}


@contextmanager
def api_server(options: Mapping[str, str], log_file: Path) -> Iterator[str]:
    """`airflow api-server` in a process of its own; its address."""
    port = free_port()
    given = {
        "API__HOST": LOOPBACK,
        "API__PORT": str(port),
        "API__BASE_URL": f"http://{LOOPBACK}:{port}",
        "API__WORKERS": "1",
        "API__SECRET_KEY": "only for tests " * 4,
        **options,
    }
    env = os.environ | {f"AIRFLOW__{name}": value for name, value in given.items()}
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    with (
        log_file.open("wb") as log,
        subprocess.Popen([sys.executable, "-m", "airflow", "api-server"], env=env, stdout=log, stderr=log) as process,
    ):
        try:
            _wait(process, f"http://{LOOPBACK}:{port}", log_file)
            yield f"http://{LOOPBACK}:{port}"
        finally:
            process.terminate()
            process.wait(30)


def client(server: str, role: str = "") -> httpx.Client:
    """A browser's session of a user, who signed in with a password; of nobody without one."""
    made = httpx.Client(base_url=server, trust_env=False, timeout=60)
    if role:
        granted = made.post("/auth/token", json={"username": role, "password": role}).raise_for_status()
        made.cookies.set("_token", granted.json()["access_token"])
    return made


def routes() -> list[tuple[str, str]]:
    """Every route of the application with each of its methods, its parameters filled in."""
    from bidwright_ui.app import create_app

    found = []
    for route in create_app().routes:
        path = route.path
        for start, name in NAMES.items():
            path = re.sub(rf"^((?:/api)?{start}/){{name(:path)?}}", rf"\g<1>{name}", path)
        path = re.sub(r"{(\w+)(:\w+)?}", lambda m: VALUES.get(m[1], "manual__nothing"), path)
        found += [(method, path) for method in route.methods - {"HEAD"}]
    return sorted(found)


def wrong_answers(
    server: str, lived: Platform, roles: Collection[str], *, writers: Collection[str], answerers: Collection[str]
) -> list[object]:
    """What each route answers each role otherwise than it should, and answers without their headers."""
    from bidwright_ui.guard import HEADERS

    every = routes()
    assert len(every) > 40 and sum(method == "POST" for method, _ in every) == 2
    wrong: list[object] = []
    for role in ("", *roles):
        with closing(client(server, role)) as session:
            shown = re.search(r'name="form_token" value="(\w+)"', session.get(f"{BASE}/incidents/1").text)
            assert bool(shown) is (role in writers)
            form = {"form_token": shown[1] if shown else "0" * 64, "text": f"by {role}", "answer": "Approve"}
            for method, path in [*every, ("GET", "/nothing"), ("DELETE", "/incidents/1")]:
                answer = session.request(method, BASE + path, data=form if method == "POST" else None)
                status = {"/nothing": 404, "/incidents/1": 405}.get(path) if (method, path) not in every else 0
                allowed = role in (answerers if path.startswith("/approvals") else writers)
                wanted = (status or expected(method, path, role, allowed)) if role or not status else None
                if wanted is not None and answer.status_code != wanted:
                    wrong.append((role or "anonymous", method, path, answer.status_code, wanted))
                wrong += [(path, "lacks", name) for name in HEADERS if name.lower() not in answer.headers]
            # A writer whose form is not of this session changes nothing either.
            forged = session.post(f"{BASE}/incidents/1/comment", data=form | {"form_token": "0" * 64})
            assert forged.status_code == (403 if role else 401)
    from ml.ledger import incidents

    said = [note.text for note in incidents.notes(lived.db, lived.market, 1) if note.kind == "comment"]
    assert said == [f"by {role}" for role in roles if role in writers]
    return wrong


def expected(method: str, path: str, role: str, allowed: bool) -> int:
    """What the route answers to a role. The run that is asked for does not exist, which only its readers learn."""
    if not role:
        return 401
    if method == "POST" and not allowed:
        return 403
    if path.endswith("manual__nothing"):
        return 404
    return 200 if method == "GET" else 303


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/api/v2/version", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"the api-server did not start: {log.read_text()[-2000:]}")
