"""S7 and S3: a market day and the bid service need nobody outside, ask nobody, and leave planted secrets nowhere."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FIRST, LAST, DAY = "2026-01-26", "2026-02-14", "2026-02-15"
TAKES_AT_MOST_S = 1500
SECRETS = {
    "BIDWRIGHT_SMTP_PASSWORD": "Zqmailpassword0123",
    "BIDWRIGHT_SERVE_TOKEN": "Zqservetoken01234567",
    "BIDWRIGHT_WEBHOOKS": '{"team": "https://127.0.0.1:1/Zqwebhook0123"}',
    "AWS_SECRET_ACCESS_KEY": "Zqawssecret0123",
    "AWS_SESSION_TOKEN": "Zqawstoken0123",
    "AIRFLOW__CORE__FERNET_KEY": "Zqfernet0123",
    "AIRFLOW__API_AUTH__JWT_SECRET": "Zqjwt0123",
    "AIRFLOW_CONN_BIDWRIGHT_SIGNING": "generic://:Zqconnection0123@",
    "REDIS_PASSWORD": "Zqredis0123",
    "POSTGRES_PASSWORD": "Zqpostgres0123",
}
CORES = ["Zqmailpassword", "Zqservetoken", "Zqwebhook", "Zqawssecret", "Zqawstoken", "Zqfernet", "Zqjwt", "Zqconnection", "Zqredis", "Zqpostgres"]  # fmt: skip
SETTINGS = """\
simulator_opportunities_per_day = 1000
simulator_hotels = 20
holdout_days = 5
smtp_user = "bidwright"
"""


def in_a_namespace() -> list[str]:
    """What puts a command into a network namespace of its own, as root or as somebody who may be root in one."""
    program = shutil.which("unshare")
    for options in (["--net"], ["--user", "--map-root-user", "--net"]):
        if program and subprocess.run([program, *options, "true"], capture_output=True, check=False).returncode == 0:
            return [program, *options]
    pytest.skip("this machine lets nobody make a network namespace (unshare --net)")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What the child found, and the working folder that it left."""
    home = tmp_path_factory.mktemp("no-route")
    (home / "bidwright.toml").write_text(SETTINGS)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BIDWRIGHT_", "AWS_", "AIRFLOW"))}
    env = kept | SECRETS | {"BIDWRIGHT_HOME": str(home), "BIDWRIGHT_SMTP_PORT": "1", "PYTHONPATH": str(ROOT)}
    env |= {"BIDWRIGHT_SERVE_MEMORY": str(home / "memory")}
    child = [*in_a_namespace(), sys.executable, str(Path(__file__).with_name("no_route_child.py")), FIRST, LAST, DAY]
    done = subprocess.run(
        child, env=env, cwd=home, capture_output=True, text=True, check=False, timeout=TAKES_AT_MOST_S
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1]), home


def test_a_market_day_and_the_bid_service_work_without_a_route(lived: tuple[dict[str, Any], Path]) -> None:
    found, home = lived
    assert found["codes"] == [0, 0, 0, 0], found["said"][-2000:]
    assert (home / "bidwright.db").exists()
    assert found["known"] == {"/v1/models": 200, "/metrics": 200, "/openapi.json": 200}


def test_nobody_outside_was_even_asked(lived: tuple[dict[str, Any], Path]) -> None:
    found, _ = lived
    assert found["no_route"] == 0
    assert found["outside"] == errno.ENETUNREACH, "not injected: there was a route"
    assert found["no_route_after_trying"] > 0, "not injected: the kernel does not count"


def test_the_bid_service_tells_a_stranger_no_more_than_that_it_lives(lived: tuple[dict[str, Any], Path]) -> None:
    found, _ = lived
    assert {path for path, status in found["open"].items() if status != 401} == {"/livez", "/readyz"}
    assert found["wrong"] == 401


def test_no_planted_secret_is_in_what_was_said_or_written(lived: tuple[dict[str, Any], Path]) -> None:
    found, home = lived
    assert all(any(core in value for value in SECRETS.values()) for core in CORES)
    assert [core for core in CORES if core in found["said"]] == []
    files = [path for path in home.rglob("*") if path.is_file()]
    assert len(files) > 50
    assert [(core, path) for path in files for core in CORES if core.encode() in path.read_bytes()] == []
