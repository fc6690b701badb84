"""Where no container can be run, that is said, and is no success; and the stack in real containers, where somebody asks for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.containers import engine, images
from local.containers.__main__ import stop_if_up
from local.containers.compose import Container

ROOT = Path(__file__).parents[2]
ASKED = "BIDWRIGHT_SMOKE"


def test_without_docker_the_smoke_test_says_that_it_cannot_run_and_does_not_pass(tmp_path: Path) -> None:
    env = {**os.environ, "PATH": str(tmp_path), "BIDWRIGHT_HOME": str(tmp_path)}
    argv = [sys.executable, "-c", _SMOKE]
    run = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 3
    assert run.stderr.startswith("bidwright: cannot run here: no Docker engine answers, and none can be started here: ")
    assert len(run.stderr.splitlines()) == 1


_SMOKE = """
from local.containers import __main__ as containers, images
images.code_version = lambda: "0" * 40
raise SystemExit(containers.main(["smoke"]))
"""


def _programs(folder: Path, *, containers: str) -> None:
    """A docker and a docker-compose that write down what they are asked, and an engine with these containers."""
    inspected = json.dumps([{
        "Name": "/bidwright_postgres_1", "Config": {"Labels": {"com.docker.compose.service": "postgres"}},
        "State": {"Status": "running", "ExitCode": 0, "StartedAt": ""},
    }])  # fmt: skip
    for name, does in {
        "docker": f"""case "$1" in ps) echo '{containers}';; inspect) echo '{inspected}';; compose) exit 1;; esac""",
        "docker-compose": "",
    }.items():
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/asked\n{does}\n')
        (folder / name).chmod(0o755)


@pytest.mark.parametrize(("containers", "removed"), [("4f1d", True), ("", False)])
def test_make_down_removes_containers_where_there_are_any(
    containers: str, removed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _programs(tmp_path, containers=containers)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert stop_if_up() is removed
    downs = [line for line in (tmp_path / "asked").read_text().splitlines() if line.endswith("down --remove-orphans")]
    assert len(downs) == removed
    assert all("--profile core --profile observability --profile spark --profile local" in line for line in downs)


def test_make_down_without_docker_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert stop_if_up() is False


def test_somebody_else_than_root_is_told_that_root_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("docker", "dockerd"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert engine.why_nothing_can_run().endswith("starting one takes root")


def test_an_engine_that_dies_at_its_start_is_told_with_its_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "dockerd").write_text("#!/bin/sh\necho the disk is full\nexit 1\n")
    for name in ("docker", "dockerd"):
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid)
    with pytest.raises(engine.NoEngine, match="the disk is full"), engine.engine(tmp_path / "engine"):
        pass


@pytest.mark.parametrize(
    ("state", "health", "code", "well"),
    [("running", "healthy", 0, True), ("running", "starting", 0, False), ("running", "unhealthy", 0, False),
     ("exited", "", 0, True), ("exited", "", 1, False), ("restarting", "", 1, False)],
)  # fmt: skip
def test_a_container_is_well_when_it_is_healthy_or_ended_as_it_should(
    state: str, health: str, code: int, well: bool
) -> None:
    assert Container("a-1", "a", state, health, code, "").well is well


def test_the_code_version_names_a_commit() -> None:
    assert images.code_version() == "" or len(images.code_version().removesuffix("+")) == 40


@pytest.mark.skipif(
    not os.environ.get(ASKED), reason=f"builds images and runs them for minutes: set {ASKED}=1, or make smoke"
)
def test_the_stack_lives_through_a_market_day_in_real_containers_and_through_the_stop_of_each() -> None:
    if why := engine.why_nothing_can_run():
        pytest.skip(why)
    argv = [sys.executable, "-m", "local.containers", "smoke", "--json"]
    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    seen = json.loads(run.stdout)
    assert seen["bid"]["step"] in {"model", "defaults"} and any(one["bid_micros"] > 0 for one in seen["bid"]["bids"])
    assert seen["again"] == "success"
    assert {"ingest_market", "train_bid_model", "promote_bid_model", "publish_bids"} <= {*seen["day"]["runs"]}
