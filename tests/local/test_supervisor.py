"""Services are found again, ended whole, and nobody else's process is ever touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from local.supervisor import Service, Supervisor, is_running, processes_of

ROOT = Path(__file__).parents[2]

SLEEPER = "import time; time.sleep(600)"

PARENT = f"""
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}])
pathlib.Path("child.pid").write_text(str(child.pid))
time.sleep(600)
"""

STUBBORN = """
import pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path("ready").touch()
time.sleep(600)
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "run")
    yield made
    made.stop(grace_s=0)


def service(supervisor: Supervisor, program: str = SLEEPER, name: str = "sleeper") -> Service:
    log = supervisor.folder.parent / "logs" / f"{name}.log"
    return Service(name, [sys.executable, "-c", program], dict(os.environ), log)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def child_of(supervisor: Supervisor) -> int:
    """The pid that `PARENT` wrote down for its child."""
    file = supervisor.folder / "child.pid"
    until(lambda: file.exists() and file.read_text())
    return int(file.read_text())


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_service_outlives_its_starter_and_the_next_one_finds_it(supervisor: Supervisor) -> None:
    started = supervisor.start(service(supervisor))
    another = Supervisor(supervisor.folder)
    assert another.running() == {"sleeper": started}
    assert another.start(service(supervisor)) == started, "it runs already"
    assert another.stop() == ["sleeper"]
    until(lambda: gone(started.pid))
    assert supervisor.running() == {}
    assert another.stop() == []


def test_a_service_is_ended_with_everything_it_started(supervisor: Supervisor) -> None:
    started = supervisor.start(service(supervisor, PARENT))
    child = child_of(supervisor)
    assert {p.pid for p in processes_of(started)} == {p.pid for p in supervisor.processes()} == {started.pid, child}
    supervisor.stop()
    until(lambda: gone(started.pid) and gone(child))


def test_orphans_of_a_killed_service_are_ended_before_it_is_started_again(supervisor: Supervisor) -> None:
    started = supervisor.start(service(supervisor, PARENT))
    child = child_of(supervisor)
    os.kill(started.pid, signal.SIGKILL)
    until(lambda: gone(started.pid))
    assert not is_running(started)
    assert not gone(child), "the fault did not happen: there is no orphan"
    again = supervisor.start(service(supervisor, PARENT))
    assert again.pid != started.pid
    assert gone(child)


def test_who_ignores_the_request_is_killed(supervisor: Supervisor) -> None:
    started = supervisor.start(service(supervisor, STUBBORN))
    until((supervisor.folder / "ready").exists)
    assert supervisor.stop(grace_s=0.2) == ["sleeper"]
    until(lambda: gone(started.pid))


def test_a_pid_that_went_to_somebody_else_is_never_signalled(supervisor: Supervisor) -> None:
    """The state file names a pid whose process was started at another time: after a reboot, or a wrap of the pids."""
    stranger = subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=True, cwd=ROOT)
    try:
        mine = supervisor.start(service(supervisor))
        state = supervisor.folder / "services.json"
        [entry] = json.loads(state.read_text())
        state.write_text(json.dumps([entry | {"pid": stranger.pid, "started": entry["started"] - 3600}]))
        forged = replace(mine, pid=stranger.pid, started=mine.started - 3600)
        assert supervisor.running() == {}
        assert processes_of(forged) == []
        assert supervisor.stop(grace_s=0) == []
        assert stranger.poll() is None
        state.write_text(json.dumps([entry]))
    finally:
        stranger.kill()
        stranger.wait()


def test_a_session_whose_number_was_used_again_is_left_alone(supervisor: Supervisor) -> None:
    """The stranger's leader has ended, its child lives on in the session of that number, elsewhere."""
    program = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]).pid)"
    leader = subprocess.Popen(
        [sys.executable, "-c", program], start_new_session=True, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert leader.stdout is not None
    child = int(leader.stdout.readline())
    leader.wait()
    leader.stdout.close()
    try:
        mine = supervisor.start(service(supervisor))
        assert processes_of(replace(mine, pid=leader.pid)) == []
    finally:
        os.kill(child, signal.SIGKILL)


def test_what_a_service_says_is_in_its_log(supervisor: Supervisor) -> None:
    spoken = service(supervisor, "print('hello from the service')")
    supervisor.start(spoken)
    until(lambda: supervisor.exit_code("sleeper") == 0)
    assert spoken.log.read_text() == "hello from the service\n"
