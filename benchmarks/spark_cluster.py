"""Spark's own standalone cluster on loopback: a master and workers of one core each, ended with the block."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from local.ports import LOOPBACK, free_port

STARTS_WITHIN_S = 60.0
_POLL_S = 0.2


@contextmanager
def cluster(folder: Path, *, workers: int, memory: str) -> Iterator[tuple[str, list[int]]]:
    """The master's URL, and the process ids of the workers.

    Args:
        folder: for logs and what the workers spill.
        workers: how many, one core each.
        memory: what the executors of one worker may take together, such as `3g`.

    Raises:
        RuntimeError: a worker did not register in time; its log is named.
    """
    port = free_port()
    master = f"spark://{LOOPBACK}:{port}"
    with ExitStack() as stack:
        _start(stack, folder, "master", "org.apache.spark.deploy.master.Master", ["--port", str(port)])
        options = ["--cores", "1", "--memory", memory, "--work-dir", str(folder / "work"), master]
        names = [f"worker-{number}" for number in range(workers)]
        started = [_start(stack, folder, name, "org.apache.spark.deploy.worker.Worker", options) for name in names]
        for name, process in zip(names, started, strict=True):
            _registered(folder / f"{name}.log", process)
        yield master, [process.pid for process in started]


def _start(stack: ExitStack, folder: Path, name: str, main: str, options: list[str]) -> subprocess.Popen[bytes]:
    import pyspark

    home = Path(pyspark.__file__).parent
    log = stack.enter_context((folder / f"{name}.log").open("wb"))
    command = [str(home / "bin" / "spark-class"), main, "--host", LOOPBACK, "--webui-port", "0", *options]
    spill = folder / f"{name}-spill"
    env = os.environ | {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": LOOPBACK, "SPARK_LOCAL_DIRS": str(spill)}
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env, cwd=folder)
    stack.callback(_stop, process)
    return process


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _registered(log: Path, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + STARTS_WITHIN_S
    while "Successfully registered with master" not in log.read_text():
        if process.poll() is not None or time.monotonic() > ends:
            raise RuntimeError(f"a worker did not come up: {log.read_text()[-1000:]}")
        time.sleep(_POLL_S)
