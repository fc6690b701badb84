"""`bidwright serve` as a person and as a program meet it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.service.conftest import TOKEN

ROOT = Path(__file__).parents[3]
_LAST = "Ctrl-C ends it; kill -HUP replaces the workers one by one\n"


def command(home: Path, *arguments: str, token: str = TOKEN) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BIDWRIGHT_")}
    environment |= {
        "BIDWRIGHT_HOME": str(home),
        "BIDWRIGHT_SERVE_MEMORY": str(home / "memory"),
        "PYTHONPATH": str(ROOT),
    }
    if token:
        environment["BIDWRIGHT_SERVE_TOKEN"] = token
    return {"args": [sys.executable, "-m", "ml.cli", "serve", *arguments], "env": environment, "text": True}


@pytest.mark.parametrize(
    ("arguments", "token", "said"),
    [
        ([], "", "neither a token nor client certificates"),
        ([], "short", "fewer than 16 characters"),
        (["--host", "not an address"], TOKEN, "nothing can listen on"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_sentence(
    tmp_path: Path, arguments: list[str], token: str, said: str
) -> None:
    done = subprocess.run(**command(tmp_path, *arguments, token=token), capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(**command(tmp_path, "--port", port), capture_output=True, timeout=60, check=False)
    assert (done.returncode, "already in use" in done.stderr) == (2, True)


@pytest.mark.parametrize("form", ["json", "screen"])
def test_before_the_first_champion_it_starts_says_why_it_cannot_bid_and_ends_when_told(
    tmp_path: Path, form: str
) -> None:
    options = ["--port", "0", *(["--json"] if form == "json" else [])]
    with subprocess.Popen(**command(tmp_path, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as service:
        assert service.stdout
        first = service.stdout.readline()
        url = json.loads(first)["url"] if form == "json" else first.split(" at ")[1].split()[0]
        assert httpx.get(f"{url}/livez").status_code == 200
        assert httpx.get(f"{url}/readyz").status_code == 503
        assert httpx.get(f"{url}/v1/models").status_code == 401
        more = "" if form == "json" else "".join(iter(service.stdout.readline, _LAST))
        service.terminate()
        rest, errors = service.communicate(timeout=60)
    assert service.returncode == 0
    assert TOKEN not in first + more + rest + errors
    if form == "json":
        assert (json.loads(first)["ready"], rest) == (False, "")
    else:
        assert f"curl {url}/v1/bids" in more
