"""One demo for all end-to-end tests: a real scheduler, a real SMTP server, the real pipeline, in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from local import airflow
from local.client import AirflowClient
from local.ports import LOOPBACK, free_port
from local.stack import Ports, Stack
from ml.core.settings import load_settings
from ml.platform import Platform

ROOT = Path(__file__).parents[2]
SERVE_TOKEN = "Zq-of-the-bid-service-8c1f4e7a90d2b365"
"""Planted in the environment of every service and task, to be searched for in what they write."""


@dataclass
class Demo:
    """A demo that ran and was left up."""

    home: Path

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `python -m local ...` on this folder, as `make` does."""
        return subprocess.Popen(
            [sys.executable, "-m", "local", *arguments],
            cwd=ROOT,
            env=self.env(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def env(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "BIDWRIGHT"))}
        return kept | {"BIDWRIGHT_HOME": str(self.home), "BIDWRIGHT_SERVE_TOKEN": SERVE_TOKEN}

    @property
    def stack(self) -> Stack:
        return Stack(self.home)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.stack.ports().airflow}"

    @property
    def password(self) -> str:
        return airflow.keep_secrets(self.home / "airflow").password

    def platform(self) -> Platform:
        """The platform that the demo's services work on."""
        from ml.core.clock import SystemClock

        return Platform(load_settings(home=self.home), SystemClock())

    def client(self) -> AirflowClient:
        return self.stack.client()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """`make demo DAYS=3`: trained and judged on the first day, a champion on the third at the latest."""
    made = Demo(tmp_path_factory.mktemp("demo") / ".bidwright")
    _use_ports_of_its_own(made.home)
    try:
        with made.command("demo", "--days", "3") as command:
            said, _ = command.communicate(timeout=900)
        assert command.returncode == 0, said
        # As it was at this moment, for tests that go on from here by themselves.
        shutil.copytree(made.home, made.home.parent / "after", ignore=shutil.ignore_patterns("airflow", "run", "logs"))
        yield made
    finally:
        made.stack.supervisor.stop(grace_s=2)


def _use_ports_of_its_own(home: Path) -> None:
    """So that a demo that somebody left up on the usual ports, and mail sent to it, do not come into the way."""
    taken: list[int] = []
    for _ in range(3):
        taken.append(free_port(taken=taken))
    (home / "run").mkdir(parents=True)
    (home / "run" / "ports.json").write_text(json.dumps(asdict(Ports(*taken))))


@pytest.fixture
def continued(demo: Demo, tmp_path: Path) -> Callable[[str], Path]:
    """Make a working folder that goes on where the demo stood, without Airflow, with settings of its own."""

    def make(settings: str) -> Path:
        home = tmp_path / "continued"
        shutil.copytree(demo.home.parent / "after", home)
        (home / "bidwright.toml").write_text(settings)
        return home

    return make
