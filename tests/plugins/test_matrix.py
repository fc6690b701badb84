"""Who may do what, on every route, asked of a real api-server with SimpleAuthManager's users; and what every answer carries."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from local.ports import LOOPBACK, free_port
from ml.platform import Platform

BASE = "/bid-models"
WRITERS, READERS = ("admin", "op", "user"), ("viewer",)
ROLES = (*WRITERS, *READERS)
STARTS_WITHIN_S = 180
VALUES = {"day": "2026-03-02", "digest": "3fa9c1d2e4", "number": "1", "partner": "google", "action": "comment"}
NAMES = {"/static": "app.js", "/runbooks": "drift", "/drift": "bookings.rival_price", "/days": "2026-03-02"}


@pytest.fixture
def server(lived: Platform, airflow_db: None, tmp_path: Path) -> Iterator[str]:
    """`airflow api-server` in a process of its own, with a user of each role whose password is the role."""
    passwords = tmp_path / "passwords.json"
    passwords.write_text(json.dumps({role: role for role in ROLES}))
    port = free_port()
    options = {
        "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{role}:{role}" for role in ROLES),
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "API__HOST": LOOPBACK,
        "API__PORT": str(port),
        "API__BASE_URL": f"http://{LOOPBACK}:{port}",
        "API__WORKERS": "1",
        "API__SECRET_KEY": "only for tests " * 4,
    }
    env = os.environ | {f"AIRFLOW__{name}": value for name, value in options.items()}
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    with (
        (tmp_path / "api-server.log").open("wb") as log,
        subprocess.Popen([sys.executable, "-m", "airflow", "api-server"], env=env, stdout=log, stderr=log) as process,
    ):
        try:
            _wait(process, f"http://{LOOPBACK}:{port}", tmp_path / "api-server.log")
            yield f"http://{LOOPBACK}:{port}"
        finally:
            process.terminate()
            process.wait(30)


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


def expected(method: str, path: str, role: str) -> int:
    """What the route answers to a role. The run that is asked for does not exist, which only its readers learn."""
    if not role:
        return 401
    if method == "POST" and role not in WRITERS:
        return 403
    if path.endswith("manual__nothing"):
        return 404
    return 200 if method == "GET" else 303


def test_every_route_answers_each_role_as_airflow_would_and_carries_the_headers(server: str, lived: Platform) -> None:
    from bidwright_ui.guard import HEADERS

    every = routes()
    assert len(every) > 40 and sum(method == "POST" for method, _ in every) == 2
    wrong = []
    for role in ("", *ROLES):
        with closing(client(server, role)) as session:
            shown = re.search(r'name="form_token" value="(\w+)"', session.get(f"{BASE}/incidents/1").text)
            assert bool(shown) is (role in WRITERS)
            form = {"form_token": shown[1] if shown else "0" * 64, "text": f"by {role}", "answer": "Approve"}
            for method, path in [*every, ("GET", "/nothing"), ("DELETE", "/incidents/1")]:
                answer = session.request(method, BASE + path, data=form if method == "POST" else None)
                status = {"/nothing": 404, "/incidents/1": 405}.get(path) if (method, path) not in every else 0
                wanted = (status or expected(method, path, role)) if role or not status else None
                if wanted is not None and answer.status_code != wanted:
                    wrong.append((role or "anonymous", method, path, answer.status_code, wanted))
                wrong += [(path, "lacks", name) for name in HEADERS if name.lower() not in answer.headers]
            # A writer whose form is not of this session changes nothing either.
            forged = session.post(f"{BASE}/incidents/1/comment", data=form | {"form_token": "0" * 64})
            assert forged.status_code == (403 if role else 401)
    assert wrong == []
    from ml.ledger import incidents

    said = [note.text for note in incidents.notes(lived.db, lived.market, 1) if note.kind == "comment"]
    assert said == [f"by {role}" for role in WRITERS]
