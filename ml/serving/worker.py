"""One worker: an event loop, its connections, its loader; started by `ml.serving.workers`, which watches over it.

It is given the listening socket and a pipe as open files. Into the pipe it says twice a second that it lives and whether
it can bid; when nobody reads the pipe any more, its parent is gone and it drains.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import select
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
from msgspec import Struct

from ml.core.clock import Clock
from ml.core.settings import Settings, load_settings
from ml.serving import auth, openapi
from ml.serving.app import App, Route, page
from ml.serving.batcher import Batcher
from ml.serving.http import Service
from ml.serving.instant import micros
from ml.serving.joints import Live, Parts
from ml.serving.limits import Limits
from ml.serving.loader import Loader, models
from ml.serving.metrics import Counters, prometheus
from ml.serving.open_files import SCARCE, room_for
from ml.serving.peers import Peers
from ml.serving.spending import Spending, spend_folders

log = logging.getLogger("bidwright.serve")

BEAT_S = 0.5

SWITCH_S = 0.0005
"""For so long a thread that loads or logs may hold the interpreter while requests wait; Python's own 5 ms would be the p99."""
_TEXT = b"text/plain; version=0.0.4; charset=utf-8"


class Post(Struct, frozen=True):
    """What a worker is told by its parent: its name, the open files, the folder that the workers share, whether somebody paces.

    Where `held` is given, another worker can bid: until that pipe's other end is closed, callers are left to the others.
    """

    name: str
    listener: int
    beats: int
    folder: str
    home: str
    paced: bool = False
    held: int | None = None


class Beat(Struct, frozen=True):
    """What a worker says of itself."""

    ready: bool
    why: str = ""
    generation: int = 0


def spending_of(settings: Settings, post: Post) -> Spending:
    """The counters of what this worker spends; without a pacemaker, none."""
    if not settings.serve_pacing:
        return Spending(None, why_not="serve_pacing is off")
    if not post.paced:
        return Spending(None, why_not="nobody paces this service")
    folders = spend_folders(settings, make=True)
    return Spending(folders[1] or folders[0], share=settings.serve_budget_share)


def limits_of(settings: Settings) -> Limits:
    """The limits, with what can be set."""
    return Limits(deadline_s=settings.serve_deadline_ms / 1000)


class Worker:
    """Everything of one worker.

    Args:
        settings: of the platform.
        clock: tells the time of decisions.
        parts: what it learns from and logs to.
        post: what the parent told.
        limits: others than those of the settings; only in tests.
    """

    def __init__(
        self, settings: Settings, clock: Clock, parts: Parts, post: Post, *, limits: Limits | None = None
    ) -> None:
        self._post, self._parts = post, parts
        self._loop = asyncio.get_running_loop()
        self._limits = limits = limits or limits_of(settings)
        self._guard = auth.guard(settings)
        self._tls = auth.tls(settings)
        self._now_us: Callable[[], int] = lambda: micros(clock)
        self.counters = Counters()
        self._spending = spending_of(settings, post)
        self.batcher = Batcher(
            self._loop,
            limits=limits,
            counters=self.counters,
            events=parts.events,
            now_us=self._now_us,
            spending=self._spending,
        )
        self.loader = Loader(
            parts.source,
            self._swap,
            now_us=self._now_us,
            kept=settings.serving / f"{settings.market_name}.json",
            poll_s=settings.serve_poll_seconds,
        )
        self.peers = Peers(Path(post.folder), post.name)
        self._document = msgspec.json.encode(
            openapi.document(limits, token=bool(self._guard.token), certificates=self._guard.certificates)
        )
        self.app = App(self._guard, self._routes(), self.counters.answered)
        self.service = Service(limits, self.app.handle, self.counters.answered)
        self.service.closed, self.service.early = self._listen, self.batcher.early
        self._listener = socket.socket(fileno=post.listener)
        self._listener.setblocking(False)
        self._listening = False
        self._held = post.held is not None
        self._accepting: set[asyncio.Task[Any]] = set()
        self._draining = asyncio.Event()

    async def run(self) -> None:
        """Serve until somebody says that it is to end; then answer what was asked, and end."""
        tasks = [asyncio.create_task(work) for work in (self.loader.run(), self._beat(), self._sweep())]
        gc.collect()
        gc.freeze()
        if self._post.held is not None:
            self._loop.add_reader(self._post.held, self._let_go)
        self._listen()
        try:
            await self._draining.wait()
            await self._drain()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.to_thread(self._parts.events.close)

    def heed_signals(self) -> None:
        """Drain at SIGTERM. Ctrl-C in a terminal reaches all processes, and the parent alone decides."""
        self._loop.add_signal_handler(signal.SIGTERM, self.drain)
        self._loop.add_signal_handler(signal.SIGINT, _nothing)

    def drain(self) -> None:
        """Let `run` come to its end."""
        self._draining.set()

    @property
    def ready(self) -> bool:
        """Whether there is anything to bid with."""
        live = self.batcher.live
        return bool(live.arms or live.previous or live.table) and not self.service.draining

    # Connections.

    def _listen(self) -> None:
        """Accept while there is room for one more; who finds none waits in the system's queue."""
        if self._held:
            return
        room = self._room()
        if room and not self._listening and not self.service.draining:
            self._loop.add_reader(self._listener, self._accept)
            self._listening = True
        elif not room:
            self._deaf()

    def _deaf(self) -> None:
        """Accept nobody until a connection ends or the next sweep."""
        if self._listening:
            self._loop.remove_reader(self._listener)
            self._listening = False

    def _let_go(self) -> None:
        """Take callers from now on: this worker can bid, or no other can."""
        if self._held and self._post.held is not None:
            self._held = False
            self._loop.remove_reader(self._post.held)
            os.close(self._post.held)
            self._listen()

    def _accept(self) -> None:
        """Take one: the other workers share the socket, and a worker that has much to do comes here less often."""
        try:
            accepted, _ = self._listener.accept()
        except OSError as error:
            if not isinstance(error, BlockingIOError | InterruptedError | ConnectionError):
                log.warning("a connection could not be accepted: %s", error.strerror)
            if error.errno in SCARCE:
                self._deaf()  # Who waits goes on waiting; to ask again at once would be all that this worker does.
            return
        accepted.setblocking(False)
        self.counters.accepted += 1
        task = self._loop.create_task(self._connect(accepted))
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)
        self._listen()

    async def _connect(self, accepted: socket.socket) -> None:
        handshake_s = self._limits.request_s if self._tls else None
        try:
            await self._loop.connect_accepted_socket(
                self.service.connect, accepted, ssl=self._tls, ssl_handshake_timeout=handshake_s
            )
        except (OSError, ssl.SSLError, asyncio.CancelledError):
            accepted.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._limits.sweep_s)
            self._check(hurry=not self._listening)
            self._listen()

    def _check(self, *, hurry: bool = False) -> None:
        now = monotonic()
        for connection in [*self.service.connections]:
            connection.check(now, hurry=hurry)

    async def _drain(self) -> None:
        """Accept what waits already, then nobody; answer everything; let callers hear that their connection ends."""
        log.info("draining: %d connections", len(self.service.connections))
        for _ in range(self._limits.connections):
            if not self._pending():
                break
            self._accept()
            await asyncio.sleep(0)
        self.service.draining = True
        self._deaf()
        self._listener.close()
        until = monotonic() + self._limits.drain_s
        for connection in self.service.connections:
            connection.drain()
        while (self.service.connections or self._accepting) and monotonic() < until:
            self._check()
            await asyncio.sleep(0.02)
        for connection in [*self.service.connections]:
            connection.abort()

    def _pending(self) -> bool:
        return self._listening and bool(select.select([self._listener], [], [], 0)[0])

    def _room(self) -> bool:
        return len(self.service.connections) + len(self._accepting) < self._limits.connections

    # What serves, and what is told of it.

    def _swap(self, live: Live) -> None:
        self._spending.follow(live.budgets, self._now_us())
        self.batcher.live = live
        self.batcher.ladder.forget(live)
        self.batcher.shadow.forget()
        self.counters.swaps += 1
        if self.ready:
            self._let_go()

    def _routes(self) -> dict[bytes, Route]:
        def get(
            make: Callable[[], tuple[int, bytes]], *, public: bool = False, kind: bytes = b"application/json"
        ) -> Route:
            return Route(b"GET", page(make, self.counters.answered, kind=kind), open=public)

        return {
            b"/v1/bids": Route(b"POST", self.batcher.submit),
            b"/v1/models": get(lambda: (200, self._models())),
            b"/metrics": get(lambda: (200, self._metrics()), kind=_TEXT),
            b"/openapi.json": get(lambda: (200, self._document)),
            b"/livez": get(lambda: (200, b'{"live":true}'), public=True),
            b"/readyz": get(self._readyz, public=True),
        }

    def _models(self) -> bytes:
        return msgspec.json.encode(models(self.batcher.live, self.loader, self._spending.state()))

    def _readyz(self) -> tuple[int, bytes]:
        if self.ready:
            return 200, b'{"ready":true}'
        return 503, msgspec.json.encode({"ready": False, "why": self._why()})

    def _why(self) -> str:
        if self.service.draining:
            return "the worker is ending"
        return self.loader.trouble or self.batcher.live.why_not

    def _metrics(self) -> bytes:
        return prometheus({**self.peers.others(), self._post.name: self._state()})

    def _state(self) -> dict[str, Any]:
        live = self.batcher.live
        paced = self._spending.state()["partners"]
        return {
            **self.counters.state(),
            "gauges": {
                "ready": int(self.ready),
                "connections": len(self.service.connections),
                "queue": self.batcher.waiting,
                "request_seconds": self.batcher.shedding.request_s,
                "generation": live.generation,
                "pacing": min((one["multiplier"] for one in paced.values()), default=1.0),
                "paced": len(paced),
            },
            "pacing": {name: one["multiplier"] for name, one in paced.items()},
            "spend_expected": {name: one["spend_expected_micros"] for name, one in paced.items()},
            "events": dict(self._parts.events.counts()),
            "failures": dict(self.batcher.ladder.failures),
            "models": [
                {"arm": slot.name, "digest": slot.engine.digest, "generation": slot.generation} for slot in live.slots
            ],
            "refused": [{"digest": digest} for digest in self.loader.refused],
        }

    async def _beat(self) -> None:
        """Say twice a second that the loop turns, to the parent, the other workers and the judge."""
        telling: asyncio.Task[None] | None = None
        while True:
            live = self.batcher.live
            line = msgspec.json.encode(Beat(self.ready, "" if self.ready else self._why(), live.generation)) + b"\n"
            try:
                os.write(self._post.beats, line)
            except BlockingIOError:
                pass
            except OSError:
                log.warning("the parent is gone: draining")
                self._draining.set()
                return
            # In a thread, and not waited for: a busy file system may hold a rename up, and is no reason to be thought dead.
            if telling is None or telling.done():
                telling = self._loop.create_task(asyncio.to_thread(self.peers.tell, self._state()))
            # Without a pause since `live` was read: counters are closed when others come to serve.
            self._spending.beat(self._now_us())
            if live.counters is not None:
                live.counters.beat(self._now_us())
            await asyncio.sleep(BEAT_S)


def _nothing() -> None:
    return None


def main(parts: Callable[[Settings, str], tuple[Clock, Parts]]) -> None:
    """Run a worker; its post is the one argument of the process.

    Args:
        parts: gives the clock and the parts for the settings and the worker's name.
    """
    import uvloop

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    post = msgspec.json.decode(sys.argv[1], type=Post)
    os.set_blocking(post.beats, False)
    settings = load_settings(home=Path(post.home))
    limits = limits_of(settings)
    limits = replace(limits, connections=room_for(limits.connections))
    clock, made = parts(settings, post.name)
    sys.setswitchinterval(SWITCH_S)

    async def work() -> None:
        worker = Worker(settings, clock, made, post, limits=limits)
        worker.heed_signals()
        await worker.run()

    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(work())
