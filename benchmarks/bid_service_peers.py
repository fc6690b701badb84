"""What else serves models over HTTP, asked for the same work: built with uv into a scratch folder, started, checked, stopped."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import psutil

from benchmarks.common import MissingData
from benchmarks.load import on_core
from benchmarks.load_wire import Address

HERE: Final = Path(__file__).parent / "peers"
_QUIET: Final[Mapping[str, str]] = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "OMP_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@dataclass(frozen=True)
class Work:
    """What every peer is asked for.

    Attributes:
        folder: holds `model.txt` (LightGBM) and `table.npy` (entities x features, float32).
        ids: the entities of each request, shape (requests, candidates).
        scores: what LightGBM says of them, of the same shape.
    """

    folder: Path
    ids: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]

    def bodies(self, name: str) -> list[bytes]:
        """The requests, as a peer wants them."""
        return [json.dumps(PEERS[name].body(ids)).encode() for ids in self.ids.tolist()]


@dataclass(frozen=True)
class Peer:
    """One peer.

    Attributes:
        packages: what its environment holds, beside LightGBM and numpy.
        command: its arguments after the Python of its environment, of its port and of a folder of its own.
        path: where it is asked.
        body: the body that asks for these ids.
        read: the scores in its answer.
        prepare: arguments of a script that is run once before it starts, of the folder; none if empty.
    """

    packages: tuple[str, ...]
    command: Callable[[int, Path], Sequence[str]]
    path: str = "/scores"
    body: Callable[[list[int]], Any] = lambda ids: {"ids": ids}
    read: Callable[[Any], list[float]] = lambda said: said
    prepare: Callable[[Path], Sequence[str]] = lambda _folder: ()


def _uvicorn(app: str) -> Callable[[int, Path], Sequence[str]]:
    return lambda port, _: (
        "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--no-access-log", "--log-level", "warning", app,
    )  # fmt: skip


def _mlserver(port: int, folder: Path) -> Sequence[str]:
    server = {
        "host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port(),
        "parallel_workers": 0, "debug": False,
    }  # fmt: skip
    model = {"name": "bids", "implementation": "mlserver_runtime.Scorer"}
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(model))
    return "-c", "from mlserver.cli import main; main()", "start", str(folder)


PEERS: Final[Mapping[str, Peer]] = {
    "starlette": Peer(("starlette", "uvicorn", "uvloop", "httptools", "orjson"), _uvicorn("starlette_app:app")),
    "fastapi": Peer(("fastapi", "uvicorn", "uvloop", "httptools"), _uvicorn("fastapi_app:app")),
    "mlserver": Peer(
        ("mlserver",),
        _mlserver,
        path="/v2/models/bids/infer",
        body=lambda ids: {"inputs": [{"name": "ids", "shape": [len(ids)], "datatype": "INT64", "data": ids}]},
        read=lambda said: said["outputs"][0]["data"],
    ),
    "litserve": Peer(
        ("litserve",), lambda port, _: (str(HERE / "litserve_app.py"), str(port)), path="/predict"
    ),
    "mlflow": Peer(
        ("mlflow", "pandas"),
        lambda port, folder: (
            "-m", "mlflow", "models", "serve", "-m", str(folder / "model"), "--env-manager", "local",
            "-h", "127.0.0.1", "-p", str(port), "--workers", "1",
        ),
        path="/invocations",
        body=lambda ids: {"inputs": ids},
        read=lambda said: said["predictions"],
        prepare=lambda folder: (str(HERE / "mlflow_model.py"), str(folder / "model")),
    ),
    "bentoml": Peer(
        ("bentoml",),
        lambda port, _: (
            "-m", "bentoml", "serve", "bentoml_app:Scorer", "--working-dir", str(HERE),
            "--host", "127.0.0.1", "--port", str(port),
        ),
    ),
    "ray": Peer(("ray[serve]",), lambda port, _: (str(HERE / "ray_app.py"), str(port)), path="/"),
}  # fmt: skip
"""Every peer by name. The table lists them from the one with least between the socket and the model."""


class DoesNotRun(Exception):
    """A peer that cannot be built or does not give the right scores; the message says why."""


def build(name: str, scratch: Path) -> Path:
    """The Python of a peer's environment, which is made if it is not there.

    Raises:
        DoesNotRun: its packages do not install.
        MissingData: there is no uv.
    """
    folder = scratch / "environments" / name
    python, whole = folder / "bin" / "python", folder / "whole"
    if whole.exists():
        return python
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        raise MissingData("the environments of the peers are made with uv, and there is none; run make install")
    for command in (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--quiet", "--python", str(python), "lightgbm", "numpy", *PEERS[name].packages],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
        if done.returncode:
            raise DoesNotRun(f"{name}: {_last_line(done.stderr)}")
    whole.touch()
    return python


def version(python: Path, peer: Peer) -> str:
    """The version of the peer's first package."""
    package = peer.packages[0].split("[")[0]
    code = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    return subprocess.run([python, "-c", code, package], capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def serving(
    name: str, python: Path, work: Work, scratch: Path, *, core: int, patience: float = 120.0
) -> Iterator[Address]:
    """A peer that answers rightly, on this core; it and all it started are stopped at the end.

    Raises:
        DoesNotRun: it did not come up, or its scores are not LightGBM's.
    """
    peer, port, folder = PEERS[name], free_port(), scratch / "peers" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = {
        **os.environ,
        **_QUIET,
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(HERE),
        "BIDWRIGHT_PEER_WORK": str(work.folder),
        "BENTOML_HOME": str(folder / "bentoml"),
    }
    if prepare := peer.prepare(folder):
        done = subprocess.run(
            [python, *prepare], env=environment, cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise DoesNotRun(f"{name}: {_last_line(done.stderr)}")
    with (folder / "log").open("w") as log, on_core(core):
        command = [str(python), *peer.command(port, folder)]
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        _check(name, process, work, port, time.monotonic() + patience, folder / "log")
        yield "127.0.0.1", port
    finally:
        stop(process)


def stop(process: subprocess.Popen[Any], *, patience: float = 10.0) -> None:
    """End a process and all that it started: first asked, then killed."""
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    if process.poll() is None:
        process.terminate()
    _, left = psutil.wait_procs(family, timeout=patience)
    for each in left:
        each.kill()
    psutil.wait_procs(left, timeout=10)
    process.wait(10)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _check(name: str, process: subprocess.Popen[Any], work: Work, port: int, until: float, log: Path) -> None:
    peer = PEERS[name]
    for body, scores in zip(work.bodies(name)[:3], work.scores[:3], strict=True):
        while True:
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}{peer.path}", body, {"Content-Type": "application/json"}
            )
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                    said = json.loads(answer.read())
                break
            except OSError as error:
                if process.poll() is not None or time.monotonic() > until:
                    raise DoesNotRun(f"{name} did not come up: {error}; {_last_line(log.read_text())}") from error
                time.sleep(0.25)
        found = np.asarray(peer.read(said), dtype=np.float64)
        if found.shape != scores.shape or not np.allclose(found, scores, rtol=0, atol=1e-6):
            raise DoesNotRun(f"{name} gives other scores than LightGBM: {found[:3]} for {scores[:3]}")


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")[:300]
