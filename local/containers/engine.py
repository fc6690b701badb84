"""A Docker engine: the one that answers, or one of our own, started for as long as it is needed.

Our own (Debian's `docker.io`, as root) has its folders, its socket and its networks to itself, touches no firewall rule and
no other engine, and keeps its images between runs, so that the next one builds little.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ml.core.errors import UsageError

DEFAULT_HOME: Final = Path("/var/tmp/bidwright-engine")  # noqa: S108  (made for root alone, refused where it is another's)
NETWORKS: Final = "base=10.213.0.0/16,size=24"

_START_S: Final = 60.0
_STOP_S: Final = 60.0
_POLL_S: Final = 0.2


class NoEngine(UsageError):
    """No engine answers, and none can be started."""


def answers(host: str = "") -> bool:
    """Whether an engine answers at an address; empty: where the docker command asks by itself."""
    env = {**os.environ, "DOCKER_HOST": host} if host else None
    try:
        argv = ["docker", "version", "--format", "{{.Server.Version}}"]
        return subprocess.run(argv, env=env, capture_output=True, timeout=20, check=False).returncode == 0  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False


def why_none_can_be_started() -> str:
    """Why no engine of our own can be started here, as the end of a sentence; empty where one can."""
    if shutil.which("docker") is None or shutil.which("dockerd") is None:
        return "docker.io is not installed (on Debian, as root: make debian-engine)"
    if os.geteuid() != 0:
        return "starting one takes root"
    return ""


def why_nothing_can_run() -> str:
    """Why no container can be run here at all, as a sentence; empty where one can."""
    if shutil.which("docker") and answers():
        return ""
    if why := why_none_can_be_started():
        return f"no Docker engine answers, and none can be started here: {why}"
    return ""


@contextmanager
def engine(home: Path | None = None) -> Iterator[str]:
    """The address of an engine, as DOCKER_HOST has it; one that had to be started is ended again.

    Args:
        home: folder of an engine of our own.

    Raises:
        NoEngine: there is none, and none can be started.
    """
    if shutil.which("docker") and answers():
        yield os.environ.get("DOCKER_HOST", "")
        return
    if why := why_nothing_can_run():
        raise NoEngine(why, left="nothing was started", next="start an engine, or run make cluster, which needs none")
    folder = home or Path(os.environ.get("ENGINE_HOME", DEFAULT_HOME))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.geteuid():
        raise NoEngine(
            f"{folder} is somebody else's", left="nothing was started", next="set ENGINE_HOME to another folder"
        )
    host = f"unix://{folder / 'docker.sock'}"
    if answers(host):  # one that a killed run left
        yield host
        return
    with (folder / "dockerd.log").open("ab") as log:
        process = subprocess.Popen(_argv(folder, host), stdout=log, stderr=log, start_new_session=True)  # noqa: S603
    try:
        _wait(process, host, folder)
        yield host
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _argv(folder: Path, host: str) -> list[str]:
    return [
        "dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none", "--host", host,
        "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"), "--pidfile", str(folder / "docker.pid"),
        "--default-address-pool", NETWORKS,
    ]  # fmt: skip


def _wait(process: subprocess.Popen[bytes], host: str, folder: Path) -> None:
    deadline = time.monotonic() + _START_S
    while not answers(host):
        if process.poll() is not None or time.monotonic() > deadline:
            lines = (folder / "dockerd.log").read_text(errors="replace").strip().splitlines()[-1:] or [
                "it said nothing"
            ]
            raise NoEngine(f"dockerd did not start: {lines[0][-300:]}", next=f"read {folder / 'dockerd.log'}")
        time.sleep(_POLL_S)
