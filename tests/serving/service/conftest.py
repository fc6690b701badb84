"""A worker of the bid service in a thread of the test's process, on a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import pytest
import uvloop

from ml.core.clock import Clock, SystemClock
from ml.core.settings import load_settings
from ml.serving.joints import Parts
from ml.serving.limits import Limits
from ml.serving.worker import Post, Worker
from tests.serving.service.stubs import StubLog, StubSource

if TYPE_CHECKING:
    from tests.serving.service.parent import Service

TOKEN = "a-token-of-more-than-sixteen-characters"
PATIENCE_S = 60.0
"""No guarantee: how long a test waits for what has to happen before it fails."""

T = TypeVar("T")


def until(holds: Callable[[], T]) -> T:
    """What `holds` gives once it is true; fails when it never is."""
    give_up = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.005)
    return found


def body(*ids: str, key: str = "user-1", **more: Any) -> dict[str, Any]:
    """A request for bids on candidates."""
    return {"key": key, "candidates": [{"id": one} for one in ids or ("x", "y")], **more}


def limited(**given: Any) -> Limits:
    """Limits of a test: what is not given is no matter of luck."""
    return replace(Limits(deadline_s=30.0, sweep_s=0.02, drain_idle_s=0.05), **given)


class Served:
    """A worker and everything a test wants of it."""

    def __init__(
        self,
        folder: Path,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
        paced: bool = False,
        **settings: Any,
    ) -> None:
        self.source, self.log = StubSource(), StubLog()
        self.worker: Worker
        settings = {"serve_token": TOKEN, "serve_poll_seconds": 0.01, **settings}
        self.settings = load_settings(home=folder, **settings)
        self.limits = limits or limited()
        self.clock, self.paced = clock or SystemClock(), paced
        self._folder = folder
        self._up = threading.Event()
        self._stack = ExitStack()
        self.error: BaseException | None = None

    def start(self) -> None:
        """Serve, in a thread."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.url = f"{'https' if self.settings.serve_tls_cert else 'http'}://127.0.0.1:{self.port}"
        self.beats, writing = os.pipe()
        os.set_blocking(writing, False)
        os.set_blocking(self.beats, False)
        self._stack.callback(os.close, self.beats)
        self._stack.callback(os.close, writing)
        shared = self._folder / "shared"
        shared.mkdir(exist_ok=True)
        post = Post("0", listener.detach(), writing, str(shared), str(self._folder), self.paced)
        self._thread = threading.Thread(target=self._run, args=(post,))
        self._thread.start()
        assert self._up.wait(PATIENCE_S)
        self.client = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=PATIENCE_S)
        self._stack.callback(self.client.close)

    def _run(self, post: Post) -> None:
        async def work() -> None:
            self.worker = Worker(self.settings, self.clock, Parts(self.source, self.log), post, limits=self.limits)
            self.loop = asyncio.get_running_loop()
            self._up.set()
            await self.worker.run()

        try:
            uvloop.run(work())
        except BaseException as error:
            self.error = error
            self._up.set()
            raise

    def ready(self) -> Served:
        """Started, and able to bid."""
        self.start()
        until(lambda: self.worker.ready)
        return self

    def do(self, work: Callable[[], T]) -> T:
        """Do something on the worker's loop, and wait for it."""

        async def done() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(done(), self.loop).result(PATIENCE_S)

    def live(self, **changes: Any) -> None:
        """Change what serves, as the loader would."""
        self.do(lambda: setattr(self.worker.batcher, "live", replace(self.worker.batcher.live, **changes)))

    def connect(self) -> socket.socket:
        """A bare connection."""
        return self._stack.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S))

    def talk(self, *sent: bytes, end: bool = False) -> bytes:
        """Everything that comes back until the service ends the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as made:
            for part in sent:
                made.sendall(part)
            if end:
                made.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: made.recv(65_536), b""))

    def stop(self) -> None:
        """End it as SIGTERM would, and wait."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.worker.drain)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "it did not end"

    def close(self) -> None:
        self.stop()
        self._stack.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Makes a worker that is not started yet; what was started is ended after the test."""
    made: list[Served] = []

    def one(**given: Any) -> Served:
        home = tmp_path / f"home{len(made)}"
        home.mkdir()
        made.append(Served(home, **given))
        return made[-1]

    yield one
    for served in made:
        if hasattr(served, "_thread"):
            served.close()


@pytest.fixture
def served(make: Callable[..., Served]) -> Served:
    """A worker that can bid."""
    return make().ready()


def raw(path: str = "/v1/bids", content: bytes = b"", *, method: str = "POST", more: str = "") -> bytes:
    """The bytes of a request with credentials."""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
        f"{more}Content-Length: {len(content)}\r\n\r\n"
    ).encode() + content


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts a parent with its workers."""
    from tests.serving.service.parent import Service

    made: list[Service] = []

    def one(
        *,
        workers: int = 1,
        hung_s: float = 30.0,
        slow_s: float = 0.0,
        ready_s: float = 60.0,
        starved: bool = False,
        files: str = "1024 4096",
    ) -> Service:
        given = {"hung_s": hung_s, "slow_s": slow_s, "ready_s": ready_s}
        made.append(Service(tmp_path, workers=workers, starved=starved, files=files, **given))
        return made[-1]

    yield one
    for service in made:
        service.close()
