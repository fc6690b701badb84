"""Child processes that outlive the command that started them, and are found again by the next one.

Each service runs in a session of its own, so that a Ctrl-C in the terminal reaches only the command,
which then ends the services in order. The state file names each service by pid **and** start time:
a pid that the system gave to somebody else in the meantime is never signalled.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

_START_TOLERANCE_S = 2.0
"""The system derives start times from the boot time, which clock corrections move by a second or so."""

_POLL_S = 0.05


@dataclass(frozen=True)
class Service:
    """What to run: a name, an argument vector, the environment, the log file that takes its output."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path


@dataclass(frozen=True)
class Started:
    """A service that was started: enough to recognise its processes later."""

    name: str
    pid: int
    started: float
    cwd: str
    log: str


class _Detached(subprocess.Popen[bytes]):
    """A child that is meant to outlive this object; the base class would warn about that."""

    def __del__(self) -> None:
        """Leave it running."""


class Supervisor:
    """Starts, recognises and stops the services of one working folder.

    Args:
        folder: where the state file `services.json` lives; it is also the services' working directory,
            by which orphans of a killed service are recognised.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._state = folder / "services.json"
        self._children: dict[str, _Detached] = {}

    def started(self) -> dict[str, Started]:
        """Every service in the state file, whether it still runs or not."""
        try:
            entries = json.loads(self._state.read_text())
        except FileNotFoundError:
            return {}
        return {entry["name"]: Started(**entry) for entry in entries}

    def start(self, service: Service) -> Started:
        """Start a service unless it runs already; what a killed predecessor left behind is ended first."""
        before = self.started().get(service.name)
        if before is not None:
            if is_running(before):
                return before
            self.stop([service.name])
        self.folder.mkdir(parents=True, exist_ok=True)
        service.log.parent.mkdir(parents=True, exist_ok=True)
        with service.log.open("ab") as log:
            child = _Detached(
                list(service.argv),
                cwd=self.folder,
                env=dict(service.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[service.name] = child
        created = psutil.Process(child.pid).create_time()
        started = Started(service.name, child.pid, created, str(self.folder.resolve()), str(service.log))
        self._write([*(s for s in self.started().values() if s.name != service.name), started])
        return started

    def running(self) -> dict[str, Started]:
        """The services whose first process is alive."""
        return {name: service for name, service in self.started().items() if is_running(service)}

    def exit_code(self, name: str) -> int | None:
        """What a service that this object started ended with; None while it runs."""
        return self._children[name].poll()

    def processes(self) -> list[psutil.Process]:
        """Every process of every service, orphans of killed services included."""
        return [process for service in self.started().values() for process in processes_of(service)]

    def stop(self, names: Iterable[str] | None = None, *, grace_s: float = 10.0) -> list[str]:
        """End services and everything they started: ask, wait up to `grace_s`, then kill.

        Args:
            names: which ones; all when None. They are asked together and end side by side.
            grace_s: seconds between the request and the kill.

        Returns:
            The names of the services of which a process was still there.
        """
        known = self.started()
        chosen = [known[name] for name in (known if names is None else names) if name in known]
        alive = [service for service in chosen if processes_of(service)]
        for service in alive:
            # The first process only: it winds its own children down, and knows the order.
            if is_running(service):
                _signal(service.pid, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline and any(is_running(service) for service in alive):
            time.sleep(_POLL_S)
        for service in alive:
            _kill_all(service)
        self._write([s for s in self.started().values() if s not in chosen])
        return [service.name for service in alive]

    def _write(self, services: Sequence[Started]) -> None:
        if not services:
            self._state.unlink(missing_ok=True)
            return
        temporary = self._state.with_suffix(".new")
        temporary.write_text(json.dumps([asdict(service) for service in services], indent=1))
        temporary.replace(self._state)


def is_running(service: Started) -> bool:
    """Whether the first process of a service is alive: this pid, started at that time, not a zombie."""
    process = _process(service.pid)
    return process is not None and _is_same(process, service)


def processes_of(service: Started) -> list[psutil.Process]:
    """The service's processes: its first one and everything in its session, orphans included.

    With the first process gone, a process of that session counts only when it also has the service's
    working directory: a session's number is free for reuse once its last process has ended.
    """
    leader = _process(service.pid)
    if leader is not None and not _is_same(leader, service) and leader.status() != psutil.STATUS_ZOMBIE:
        return []
    orphans_only = leader is None or not _is_same(leader, service)
    return [p for p in _session(service.pid) if not orphans_only or _is_orphan(p, service)]


def _session(number: int) -> list[psutil.Process]:
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getsid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
    return members


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _is_same(process: psutil.Process, service: Started) -> bool:
    try:
        same = abs(process.create_time() - service.started) < _START_TOLERANCE_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_orphan(process: psutil.Process, service: Started) -> bool:
    try:
        return process.cwd() == service.cwd and process.create_time() > service.started - _START_TOLERANCE_S
    except psutil.Error:
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _kill_all(service: Started) -> None:
    """Kill until nothing is left: a process may start another one while we look."""
    while processes := processes_of(service):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=1.0)
        _reap(service.pid)


def _reap(pid: int) -> None:
    """Collect a child of ours, so that it does not stay behind as a zombie."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
