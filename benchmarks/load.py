"""A load generator on one core: requests over kept-alive connections, closed loop or open loop, one epoll for all.

Closed loop: each connection sends its next request when it has its answer. Open loop: requests fall due at given times
whatever the server does, and latency counts from the time they fell due, so that a server that stalls is charged for all who
waited. The loop never sleeps: it is meant to have a core to itself, and timers would add their own lateness.
"""

from __future__ import annotations

import gc
import os
import select
import socket
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from benchmarks.load_wire import Address, answer_end

Floats = npt.NDArray[np.float64]
Clock = Callable[[], float]
Seen = Callable[[float, int, bytes], None]
"""Called with (time of the answer, status, the answer's bytes, head and body)."""

BROKEN: Final = 0
"""Status of a request whose connection was refused, reset or closed before its answer was whole."""
UNANSWERED: Final = -1
"""Status of a request that was due and had no answer when patience ended; its latency is the wait until then."""
_RECONNECT_SECONDS = 0.01


@dataclass(frozen=True)
class Load:
    """What came of a load: arrays of one shape (requests,), in the order in which they ended.

    Attributes:
        due: when each fell due, seconds after the start; in a closed loop, when it was sent.
        done: when each was answered, seconds after the start.
        status: HTTP status, BROKEN or UNANSWERED.
        seconds: how long requests fell due.
    """

    due: Floats
    done: Floats
    status: npt.NDArray[np.int64]
    seconds: float

    @property
    def latency_ms(self) -> Floats:
        """Milliseconds from due to done."""
        return 1e3 * (self.done - self.due)

    @property
    def statuses(self) -> dict[int, int]:
        """How many requests ended with each status."""
        found, counts = np.unique(self.status, return_counts=True)
        return dict(zip(found.tolist(), counts.tolist(), strict=True))

    @property
    def answered_per_second(self) -> float:
        """Requests with status 200 that were answered while requests fell due, per second."""
        return float(((self.status == 200) & (self.done <= self.seconds)).sum()) / self.seconds

    def errors(self, *also_right: int) -> int:
        """How many ended otherwise than with 200 or one of these statuses; broken and unanswered ones included."""
        return int((~np.isin(self.status, (200, *also_right))).sum())

    def percentile_ms(self, share: float) -> float:
        """The latency that this share of the requests does not exceed (nearest rank), whatever their status; 0 to 1."""
        latency = np.sort(self.latency_ms)
        return float(latency[min(len(latency) - 1, max(0, int(np.ceil(share * len(latency))) - 1))])

    def summary(self) -> dict[str, float | int | dict[str, int]]:
        """Rate, percentiles and counts, as JSON."""
        shares = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999, "max_ms": 1.0}
        return {
            "answered_per_second": round(self.answered_per_second, 1),
            **{name: round(self.percentile_ms(share), 3) for name, share in shares.items()},
            "errors": self.errors(),
            "unanswered": self.statuses.get(UNANSWERED, 0),
            "statuses": {str(status): count for status, count in self.statuses.items()},
        }


def closed_loop(
    address: Address,
    requests: Sequence[bytes],
    *,
    seconds: float,
    connections: int = 16,
    patience: float = 5.0,
    clock: Clock = time.perf_counter,
    seen: Seen | None = None,
) -> Load:
    """Every connection sends the next request as soon as it has its answer.

    Args:
        address: host and port.
        requests: whole requests (`post`), sent in turn, again from the first after the last.
        seconds: how long requests are sent.
        connections: how many are kept open.
        patience: seconds that the last answers are waited for.
        clock: seconds, never backwards.
        seen: called for every answer.
    """
    return _drive(address, requests, _Closed(seconds), connections, patience, clock, seen)


def open_loop(
    address: Address,
    requests: Sequence[bytes],
    due: Floats,
    *,
    connections: int = 64,
    answers_each: int = 0,
    patience: float = 5.0,
    clock: Clock = time.perf_counter,
    seen: Seen | None = None,
) -> Load:
    """Requests fall due at these times (`steady`), seconds after the start, ascending; otherwise as `closed_loop`.

    One that finds all connections busy waits for the next that is free, and its latency counts from when it fell due.
    With `answers_each`, a connection is opened anew after so many answers, as proxies and gateways do; 0: never.
    """
    return _drive(address, requests, _Open(due), connections, patience, clock, seen, answers_each)


def steady(*phases: tuple[float, float]) -> Floats:
    """Due times at fixed rates, one phase after another, each (requests a second, seconds)."""
    times, begin = [], 0.0
    for rate, seconds in phases:
        times.append(begin + np.arange(round(rate * seconds)) / rate)
        begin += seconds
    return np.concatenate(times)


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """This thread, and what it starts within the block, run on one core; afterwards it runs where it ran before."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cores() -> tuple[int, int]:
    """A core for the server and one for the load: the first and the last that this process may use."""
    mine = sorted(os.sched_getaffinity(0))
    return mine[0], mine[-1]


class _Feed(Protocol):
    """When requests fall due, seconds after the start."""

    seconds: float

    def due(self, now: float) -> float | None:
        """When the next one fell due that nobody has sent; None if none has by now."""
        ...

    def over(self, _now: float) -> bool:
        """Whether no more will fall due."""
        ...

    def left(self) -> Iterable[float]:
        """Those that fell due or will, and were not sent."""
        ...


class _Closed:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def due(self, now: float) -> float | None:
        return now if now < self.seconds else None

    def over(self, _now: float) -> bool:
        return _now >= self.seconds

    def left(self) -> Iterable[float]:
        return ()


class _Open:
    def __init__(self, due: Floats) -> None:
        gaps = np.diff(due)
        self.seconds = float(due[-1] + (gaps[-1] if len(gaps) else 0.0)) if len(due) else 0.0
        self._due: list[float] = due.tolist()
        self._next = 0

    def due(self, now: float) -> float | None:
        at = self._next
        if at < len(self._due) and (due := self._due[at]) <= now:
            self._next = at + 1
            return due
        return None

    def over(self, _now: float) -> bool:
        return self._next >= len(self._due)

    def left(self) -> Iterable[float]:
        return self._due[self._next :]


class _Record:
    def __init__(self) -> None:
        self.due, self.done, self.status = array("d"), array("d"), array("q")

    def add(self, due: float, done: float, status: int) -> None:
        self.due.append(due)
        self.done.append(done)
        self.status.append(status)

    def load(self, seconds: float) -> Load:
        return Load(
            np.array(self.due, np.float64), np.array(self.done, np.float64), np.array(self.status, np.int64), seconds
        )


class _Pool:
    """The connections: those free, in turn, so that none idles into a timeout, and for the others when theirs fell due."""

    def __init__(self, address: Address, connections: int, answers_each: int = 0) -> None:
        self._address = address
        self._answers_each, self._answers_left = answers_each, dict[int, int]()
        self.epoll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        self.got: dict[int, bytes] = {}
        self.owed: dict[int, float] = {}
        self.free: deque[int] = deque()
        self.missing: deque[float] = deque()
        for _ in range(connections):
            self.connect(0.0)
        # The first ones end one after another, so that they do not all come back at once ever after.
        for place, number in enumerate(self.free):
            self._answers_left[number] = 1 + answers_each * place // connections

    def connect(self, now: float) -> None:
        """Open one more; a server that refuses is asked again a little later."""
        try:
            made = socket.create_connection(self._address, timeout=5)
        except OSError:
            self.missing.append(now + _RECONNECT_SECONDS)
            return
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setblocking(False)
        number = made.fileno()
        self.epoll.register(number, select.EPOLLIN)
        self.sockets[number], self.got[number] = made, b""
        self.free.append(number)
        self._answers_left[number] = self._answers_each

    def answered(self, number: int, now: float, *, last: bool) -> None:
        """It is free, or has had its answers and another takes its place."""
        self._answers_left[number] -= 1
        if last or (self._answers_each and self._answers_left[number] <= 0):
            self.lose(number)
            self.connect(now)
        else:
            self.free.append(number)

    def again(self, now: float) -> None:
        """Open those anew whose time has come."""
        while self.missing and self.missing[0] <= now:
            self.missing.popleft()
            self.connect(now)

    def lose(self, number: int) -> float | None:
        """Close one; returns when the request fell due whose answer it owed."""
        self.sockets.pop(number).close()
        del self.got[number]
        return self.owed.pop(number, None)

    def close(self) -> None:
        for made in self.sockets.values():
            made.close()
        self.epoll.close()


def _drive(
    address: Address,
    requests: Sequence[bytes],
    feed: _Feed,
    connections: int,
    patience: float,
    clock: Clock,
    seen: Seen | None,
    answers_each: int = 0,
) -> Load:
    pool, record = _Pool(address, connections, answers_each), _Record()
    with _no_collection():
        try:
            _loop(pool, requests, feed, patience, clock, seen, record)
        finally:
            pool.close()
    return record.load(feed.seconds)


def _loop(
    pool: _Pool,
    requests: Sequence[bytes],
    feed: _Feed,
    patience: float,
    clock: Clock,
    seen: Seen | None,
    record: _Record,
) -> None:
    # Names are local and calls few, because this loop is what limits the load that can be offered.
    free, owed, got, sockets, poll = pool.free, pool.owed, pool.got, pool.sockets, pool.epoll.poll
    sent, start, limit = 0, clock(), feed.seconds + patience
    now = 0.0
    while (owed or not feed.over(now)) and now < limit:
        now = clock() - start
        if pool.missing:
            pool.again(now)
        while free and (due := feed.due(now)) is not None:
            number = free.popleft()
            owed[number] = due
            try:
                done = sockets[number].send(whole := requests[sent % len(requests)])
            except OSError:
                done = 0
            sent += 1
            if done < len(whole):  # the server is gone: requests are smaller than a socket's buffer
                record.add(due, now, BROKEN)
                del owed[number]
                pool.lose(number)
                pool.missing.append(now)
        for number, _ in poll(0):
            if number not in sockets:
                continue
            try:
                data = sockets[number].recv(65536)
            except OSError:
                data = b""
            now = clock() - start
            if not data:
                lost, was_free = pool.lose(number), number in free
                if was_free:
                    free.remove(number)
                if lost is not None:
                    record.add(lost, now, BROKEN)
                pool.connect(now)
                continue
            data = got[number] + data
            if not (end := answer_end(data)):
                got[number] = data
                continue
            got[number] = data[end:]
            due_at = owed.pop(number, None)
            if due_at is None:
                continue  # an answer to nothing: the server closes such a connection next
            status = int(data[9:12])
            record.add(due_at, now, status)
            # The head alone is looked at: a server that ends the connection says so there.
            pool.answered(number, now, last=b"\r\nConnection: close\r\n" in data[:512])
            if seen is not None:
                seen(start + now, status, data[:end])
    for due_at in (*owed.values(), *feed.left()):
        if due_at <= now:
            record.add(due_at, now, UNANSWERED)


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection in the middle of a measurement: the loop makes no cycles."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
