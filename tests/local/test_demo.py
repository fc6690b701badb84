"""The command behind `make demo`: it can be interrupted, refuses to run twice, and keeps its hands off other settings."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from local.airflow import environment, keep_secrets
from local.demo import missing_steps, ready_to_sign
from local.ports import LOOPBACK, free_port
from local.stack import Stack
from local.supervisor import Supervisor, processes_of
from ml.core.errors import UsageError

ROOT = Path(__file__).parents[2]


@contextmanager
def demo(home: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m local demo` as a terminal starts it; ended with everything it started."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "BIDWRIGHT"))}
    command = subprocess.Popen(
        [sys.executable, "-m", "local", "demo", *arguments],
        cwd=ROOT,
        env=env | {"BIDWRIGHT_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield command
    finally:
        if command.poll() is None:
            command.kill()
        command.communicate()
        Supervisor(home / "run").stop(grace_s=0)


def wait_for_services(home: Path, *names: str) -> None:
    deadline = time.monotonic() + 120
    while not set(names) <= set(Supervisor(home / "run").running()):
        assert time.monotonic() < deadline, "the services did not start"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_leaves_no_process(number: signal.Signals, tmp_path: Path) -> None:
    with demo(tmp_path) as command:
        wait_for_services(tmp_path, "mailbox")
        started = list(Supervisor(tmp_path / "run").started().values())
        assert any(processes_of(service) for service in started)
        command.send_signal(number)
        said, _ = command.communicate(timeout=60)
        assert command.returncode == 130, said
        assert "stopping" in said
        assert "Traceback" not in said
        assert [p for service in started for p in processes_of(service)] == []
        assert Supervisor(tmp_path / "run").started() == {}


def test_a_second_demo_says_that_one_is_at_work(tmp_path: Path) -> None:
    with demo(tmp_path) as first:
        wait_for_services(tmp_path, "mailbox")
        with demo(tmp_path) as second:
            said, _ = second.communicate(timeout=60)
        assert second.returncode == 2
        assert f"another `make demo` is at work in {tmp_path} (pid {first.pid})" in said


def test_a_wrong_source_is_one_sentence_and_exit_code_two(tmp_path: Path) -> None:
    with demo(tmp_path, "--source", "trivago") as command:
        said, _ = command.communicate(timeout=60)
    assert command.returncode == 2
    assert "no story for the source 'trivago'" in said
    assert "Traceback" not in said


def test_settings_that_are_not_the_demos_are_left_alone(tmp_path: Path) -> None:
    own = 'source = "files"\n'
    (tmp_path / "bidwright.toml").write_text(own)
    with pytest.raises(UsageError, match="is yours and not that of `make demo`"):
        Stack(tmp_path).claim('source = "simulator"\n')
    assert (tmp_path / "bidwright.toml").read_text() == own


def test_the_folder_of_one_story_is_not_given_to_another(tmp_path: Path) -> None:
    Stack(tmp_path).claim('source = "simulator"\n')
    Stack(tmp_path).claim('source = "files"\n')  # nothing was landed yet: a wrong start may be corrected
    Stack(tmp_path).claim('source = "simulator"\n')
    (tmp_path / "lake").mkdir()
    Stack(tmp_path).claim('source = "simulator"\n')
    with pytest.raises(UsageError, match="holds another market"):
        Stack(tmp_path).claim('source = "hotel_bookings"\n')


def test_a_port_in_use_is_replaced_and_every_process_is_told(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    first = stack.claim('source = "simulator"\n')
    with socket.socket() as holder:
        # As a server binds: a connection of another test that closed a moment ago takes no port.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((LOOPBACK, first.airflow))
        holder.listen()
        second = stack.claim('source = "simulator"\n')
        assert second.airflow != first.airflow
        assert (second.smtp, second.mailbox) == (first.smtp, first.mailbox)
    assert f":{second.airflow}" in stack.settings_file.read_text()
    assert stack.environment()["AIRFLOW__API__PORT"] == str(second.airflow)


def test_the_password_is_drawn_once_and_kept_from_others(tmp_path: Path) -> None:
    first = keep_secrets(tmp_path / "a")
    assert keep_secrets(tmp_path / "a") == first
    assert keep_secrets(tmp_path / "b").password != first.password
    assert len(first.jwt) >= 64
    assert (tmp_path / "a" / "secrets.json").stat().st_mode & 0o077 == 0


def test_every_airflow_process_stays_on_this_machine_and_shows_no_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "True")
    env = environment(tmp_path, port=free_port())
    assert env["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert env["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
    assert env["AIRFLOW__API__EXPOSE_CONFIG"] == "False"
    assert "PYTHONDONTWRITEBYTECODE" not in env
    assert "127.0.0.1" in env["no_proxy"]


def test_a_step_that_did_not_happen_is_named() -> None:
    day = date(2026, 3, 2)
    quiet = {"ingest": {}, "settle": {}, "materialize": {}, "drift": {}, "train": {"candidate": None}, "publish": {}}
    assert missing_steps({day: quiet}, mails=0) == [
        "a retrain",
        "a gate decision",
        "a promotion",
        "published bids",
        "a mail",
    ]
    lived = quiet | {
        "train": {"candidate": "c"},
        "promote": {"verdict": "PASS", "moved": True, "generation": 1},
        "publish": {"published": 3, "generation": 1},
    }
    assert missing_steps({day: lived}, mails=1) == []
    assert missing_steps({day: lived | {"publish": {"published": 3, "generation": 0}}}, mails=1) == [
        "publish_bids on 2026-03-02"
    ]


def test_a_demo_makes_its_development_key_first_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BIDWRIGHT_HOME", str(tmp_path))
    ready_to_sign()
    assert (tmp_path / "keys" / "development.key").stat().st_mode & 0o777 == 0o600
    assert "development key" in capsys.readouterr().out


def test_a_demo_of_a_production_platform_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIDWRIGHT_HOME", str(tmp_path))
    monkeypatch.setenv("BIDWRIGHT_PRODUCTION", "true")
    with pytest.raises(UsageError, match="no key to sign bundles with"):
        ready_to_sign()
    assert not (tmp_path / "keys").exists()
