"""A TCP proxy on loopback that does to a connection what a network can do to it, and counts what it did.

The toxics have Toxiproxy's names and meaning; `drop_reply` is our own: the request is carried out and its answer is lost. The
proxy runs in a thread of its own, so that tests need no event loop. `proxy_http.py` has what concerns HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, TypeVar

Stream = Literal["upstream", "downstream"]
"""From the client to the server, or back."""
T = TypeVar("T")

_CHUNK = 65_536
_QUEUED = 64
_POLL_S = 0.005
_TAIL = 64  # what is looked for may lie across two reads


@dataclass(frozen=True)
class Toxic:
    """What is done to one direction of a connection.

    Attributes:
        stream: which direction.
        toxicity: share of the connections that it befalls, 0 to 1.
    """

    name: ClassVar[str]
    stream: Stream = "downstream"
    toxicity: float = 1.0


@dataclass(frozen=True)
class Latency(Toxic):
    """Every piece comes `ms` later, give or take `jitter_ms`, and none overtakes another."""

    name: ClassVar[str] = "latency"
    ms: float = 100.0
    jitter_ms: float = 0.0


@dataclass(frozen=True)
class Bandwidth(Toxic):
    """No more than `kb_per_second` pass."""

    name: ClassVar[str] = "bandwidth"
    kb_per_second: float = 100.0


@dataclass(frozen=True)
class SlowClose(Toxic):
    """The end of the connection is told `ms` later."""

    name: ClassVar[str] = "slow_close"
    ms: float = 1_000.0


@dataclass(frozen=True)
class Timeout(Toxic):
    """Nothing passes any more; after `ms` the connection is closed, with 0 never."""

    name: ClassVar[str] = "timeout"
    ms: float = 0.0


@dataclass(frozen=True)
class ResetPeer(Toxic):
    """`ms` after the first byte both sides get a reset (SO_LINGER 0) and no end."""

    name: ClassVar[str] = "reset_peer"
    ms: float = 0.0


@dataclass(frozen=True)
class Slicer(Toxic):
    """What passes is cut into pieces of about `size` bytes, `delay_ms` apart."""

    name: ClassVar[str] = "slicer"
    size: int = 64
    delay_ms: float = 1.0


@dataclass(frozen=True)
class LimitData(Toxic):
    """After so many bytes the connection is closed."""

    name: ClassVar[str] = "limit_data"
    size: int = 0


@dataclass(frozen=True)
class DropReply(Toxic):
    """Once a client has sent `seen`, only `after` bytes of what the server answers pass; then the client gets a reset.

    It befalls the `nth` request that has it, over all connections since the toxic was set, and no other. It counts when the
    server has answered, so that the request was certainly carried out.
    """

    name: ClassVar[str] = "drop_reply"
    seen: bytes = b""
    after: int = 0
    nth: int = 1


class _Cut(Exception):
    """The connection ends here."""

    def __init__(self, *, reset: bool = False) -> None:
        self.reset = reset


class _Link:
    """One connection of a client, and the proxy's own to the server."""

    def __init__(self, number: int, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client, self.server = client, server
        self.random = random.Random(number)  # noqa: S311  (jitter)
        self.passed: Counter[str] = Counter()
        self._afflicted: dict[Toxic, bool] = {}
        self._tail = b""
        self._armed: dict[DropReply, int] = {}

    def befalls(self, toxic: Toxic) -> bool:
        """Whether this connection is among those that the toxic befalls; the same answer each time."""
        return self._afflicted.setdefault(toxic, self.random.random() < toxic.toxicity)

    def asked(self, data: bytes, toxics: Sequence[Toxic], seen: Counter[DropReply]) -> None:
        """Note which toxics wait for the answer to what the client sent just now; `seen` counts for all connections."""
        for toxic in toxics:
            if isinstance(toxic, DropReply) and self.befalls(toxic) and self._has(toxic.seen, data):
                seen[toxic] += 1
                if seen[toxic] == toxic.nth:
                    self._armed[toxic] = self.passed["downstream"]
        self._tail = data[-_TAIL:]

    def _has(self, seen: bytes, data: bytes) -> bool:
        """Whether the data have it, or end it."""
        return seen in self._tail[max(0, len(self._tail) - len(seen) + 1) :] + data

    def left(self, toxic: DropReply) -> int | None:
        """How many bytes of the answer still pass; None while nothing was asked that loses its answer."""
        if toxic not in self._armed:
            return None
        return max(0, toxic.after - (self.passed["downstream"] - self._armed[toxic]))

    def end(self, *, reset: bool) -> None:
        """Close both sides, with a reset or with an end."""
        for writer in (self.client, self.server):
            if reset:
                raw = writer.get_extra_info("socket")
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            else:
                writer.close()


class Proxy:
    """Listens on a free port and passes everything on to a server; a context manager.

    Args:
        upstream: host and port of the server.
        host: where it listens.

    Attributes:
        port: where it listens.
        counts: how often each toxic did something, by its name; `connections`, and `bytes_upstream`, `bytes_downstream`
            that passed.
    """

    def __init__(self, upstream: tuple[str, int], *, host: str = "127.0.0.1") -> None:
        self.upstream, self.host, self.port = upstream, host, 0
        self.counts: Counter[str] = Counter()
        self._toxics: tuple[Toxic, ...] = ()
        self._seen: Counter[DropReply] = Counter()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *error: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def toxics(self) -> tuple[Toxic, ...]:
        """What is done to connections now, those that are open too."""
        return self._toxics

    @toxics.setter
    def toxics(self, toxics: Sequence[Toxic]) -> None:
        self._seen.clear()
        self._toxics = tuple(toxics)

    def asked(self, toxic: DropReply) -> int:
        """How many requests had what the toxic waits for, since it was set."""
        return self._seen[toxic]

    def down(self) -> None:
        """Refuse connections, and close those that are open."""
        self._do(self._close())
        self.counts["down"] += 1

    def up(self) -> None:
        """Listen again, on the same port."""
        self._do(self._listen())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, self.host, self.port)
            self.port = int(self._server.sockets[0].getsockname()[1])

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for link in [*self._links]:
            link.end(reset=True)

    async def _end(self) -> None:
        await self._close()
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.counts["connections"] += 1
        try:
            await self.serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # it broke, or the proxy ends
        finally:
            writer.close()
            self._tasks.discard(task)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a client until its end."""
        try:
            from_server, to_server = await asyncio.open_connection(*self.upstream)
        except OSError:
            _Link(0, writer, writer).end(reset=True)
            return
        link = _Link(next(self._numbers), writer, to_server)
        self._links.add(link)
        pumps = [
            asyncio.create_task(self._pump(link, "upstream", reader, to_server)),
            asyncio.create_task(self._pump(link, "downstream", from_server, writer)),
        ]
        try:
            await asyncio.gather(*pumps)
            link.end(reset=False)
        except _Cut as cut:
            link.end(reset=cut.reset)
        except OSError:
            link.end(reset=True)
        finally:
            self._links.discard(link)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(
        self, link: _Link, stream: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass one direction on. Reading goes on while pieces wait, so that latency costs no bandwidth."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUED)

        async def read() -> None:
            data = b"-"
            while data:
                try:
                    data = await reader.read(_CHUNK)
                except OSError:
                    data = b""
                await pieces.put((self._loop.time(), data))

        reading = asyncio.create_task(read())
        try:
            while True:
                at, data = await pieces.get()
                if not data:
                    await self._closing(link, stream)
                    with contextlib.suppress(OSError):
                        writer.write_eof()
                    return
                if stream == "upstream":
                    link.asked(data, self._toxics, self._seen)
                await self._through(link, stream, at, data, writer)
        finally:
            reading.cancel()

    def _on(self, link: _Link, stream: Stream) -> list[Toxic]:
        return [toxic for toxic in self._toxics if toxic.stream == stream and link.befalls(toxic)]

    async def _closing(self, link: _Link, stream: Stream) -> None:
        for toxic in self._on(link, stream):
            if isinstance(toxic, SlowClose):
                self.counts[toxic.name] += 1
                await asyncio.sleep(toxic.ms / 1e3)
            elif isinstance(toxic, Timeout):
                await self._stall(toxic)

    async def _through(self, link: _Link, stream: Stream, at: float, data: bytes, writer: asyncio.StreamWriter) -> None:
        pieces, pause, rate, cut = [data], 0.0, 0.0, None
        for toxic in self._on(link, stream):
            match toxic:
                case Latency():
                    self.counts[toxic.name] += 1
                    due = at + (toxic.ms + link.random.uniform(-toxic.jitter_ms, toxic.jitter_ms)) / 1e3
                    await asyncio.sleep(max(0.0, due - self._loop.time()))
                case Timeout():
                    await self._stall(toxic)
                    return  # what came meanwhile is dropped
                case ResetPeer():
                    await asyncio.sleep(toxic.ms / 1e3)
                    self.counts[toxic.name] += 1
                    raise _Cut(reset=True)
                case Slicer():
                    self.counts[toxic.name] += 1
                    pieces = [data[n : n + toxic.size] for n in range(0, len(data), toxic.size)]
                    pause = toxic.delay_ms / 1e3
                case Bandwidth():
                    self.counts[toxic.name] += 1
                    rate = toxic.kb_per_second * 1e3
                    if len(pieces) == 1:
                        step = max(1, int(rate / 50))
                        pieces = [data[n : n + step] for n in range(0, len(data), step)]
                case LimitData():
                    left = toxic.size - link.passed[stream]
                    if len(data) >= left:
                        self.counts[toxic.name] += 1
                        pieces, cut = [data[: max(0, left)]], _Cut()
                case DropReply():
                    if (left := link.left(toxic)) is not None and len(data) > left:
                        self.counts[toxic.name] += 1
                        pieces, cut = [data[:left]], _Cut(reset=True)
                case _:
                    pass
        for piece in pieces:
            if rate:
                await asyncio.sleep(len(piece) / rate)
            link.passed[stream] += len(piece)
            self.counts[f"bytes_{stream}"] += len(piece)
            writer.write(piece)
            await writer.drain()
            if pause:
                await asyncio.sleep(pause)
        if cut is not None:
            raise cut

    async def _stall(self, toxic: Timeout) -> None:
        """Wait until the toxic is taken away, or its time is up."""
        self.counts[toxic.name] += 1
        until = self._loop.time() + toxic.ms / 1e3
        while toxic in self._toxics:
            if toxic.ms and self._loop.time() >= until:
                raise _Cut
            await asyncio.sleep(_POLL_S)
