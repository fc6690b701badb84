"""One cluster for all of these tests, brought up by its command, with a worker killed in the middle of its day."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from local import env_file
from local.client import AirflowClient
from local.cluster import stores
from local.cluster.places import USUAL
from local.cluster.topology import CODE_VERSION, Cluster
from local.ports import free_port
from local.supervisor import processes_of
from ml.core.errors import StoreUnavailable, UsageError

ROOT = Path(__file__).parents[2]
LIMIT_S = 1500.0
"""So long may a busy machine take for what takes three minutes on a quiet one."""


@dataclass
class Lived:
    """A cluster after its day, still up."""

    cluster: Cluster
    said: str
    killed: list[int]
    """The pids of the heavy worker and of its children, killed while one of them trained."""
    trained_by: int
    """The pid that trained."""


@pytest.fixture(scope="module")
def lived() -> Iterator[Lived]:
    """`make cluster` through a market day, in which the worker that trains is killed while it trains."""
    try:
        stores.find_programs()
    except UsageError as error:
        pytest.skip(str(error))
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository here, and the cluster reads its DAG files from a commit")
    # Not below pytest's own folder, which the user that PostgreSQL runs as may not pass.
    folder = Path(tempfile.mkdtemp(prefix="bidwright-cluster-"))
    folder.chmod(0o755)
    env_file.write(folder / "env")
    cluster = Cluster(folder / "home", folder / "env")
    try:
        _use_ports_of_its_own(cluster)
        with _command(folder) as command:
            trained_by, killed = _kill_the_trainer(cluster, command)
            said, _ = command.communicate(timeout=LIMIT_S)
        assert command.returncode == 0, f"{said}\n{_logs(cluster)}"
        yield Lived(cluster, said, killed, trained_by)
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def until(condition: Callable[[], Any], *, unless: Callable[[], object] = lambda: None) -> Any:
    deadline = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        if ended := unless():
            raise AssertionError(ended)
        time.sleep(0.1)
    return found


def _use_ports_of_its_own(cluster: Cluster) -> None:
    taken: list[int] = []
    for _ in asdict(USUAL):
        taken.append(free_port(taken=taken))
    file = cluster.home / "run" / "ports.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(asdict(replace(USUAL, **dict(zip(asdict(USUAL), taken, strict=True))))))


def _command(folder: Path) -> subprocess.Popen[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "BIDWRIGHT", "AWS_"))}
    # A tree with changes trains nothing that is promoted; what is tested here is another matter.
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout
    env = kept | {"BIDWRIGHT_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), CODE_VERSION: commit.strip()}
    argv = [sys.executable, "-m", "local", "cluster", "--env", str(folder / "env")]
    return subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _kill_the_trainer(cluster: Cluster, command: subprocess.Popen[str]) -> tuple[int, list[int]]:
    """Kill the heavy worker while its task runs; the pid of the task, and all that were killed."""

    def ended() -> str:
        if command.poll() is None:
            return ""
        out = command.stdout.read() if command.stdout else ""
        return f"the command ended before anything trained: {out}\n{_logs(cluster)}"

    until(lambda: "worker-heavy" in cluster.supervisor.started(), unless=ended)
    with cluster.client() as client:
        until(lambda: running(client), unless=ended)
        trainer = until(lambda: _trainer(cluster), unless=ended)
        return trainer, cluster.kill("worker-heavy")


def running(client: AirflowClient) -> bool:
    """Whether the training's task runs now."""
    try:
        found = client.get("/dags/train_bid_model/dagRuns/~/taskInstances", state="running")["task_instances"]
    except StoreUnavailable:
        return False  # nobody is up yet, or the password is not set yet
    return bool(found)


def _trainer(cluster: Cluster) -> int:
    """The process of the task: a child of the worker's child, or 0."""
    worker = cluster.supervisor.started()["worker-heavy"]
    for process in processes_of(worker):
        try:
            parents = [parent.pid for parent in process.parents()]
            if worker.pid in parents and parents.index(worker.pid) >= 1:
                return int(process.pid)
        except psutil.Error:
            continue
    return 0


def _logs(cluster: Cluster) -> str:
    """The end of every service's log, for a failure's message."""
    return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-600:]}" for log in cluster.logs.glob("*.log"))
