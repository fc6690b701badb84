"""A hostile client: sends the cases of `load_bodies` over a few connections at a time and counts what the server made of them."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from benchmarks.load_bodies import Case
from benchmarks.load_wire import Address, answer_end

CLOSED: Final = 0
"""Outcome of a case that breaks the framing, when the server closes without an answer."""
SILENT: Final = -1
"""Outcome when an answer was owed, or the connection was to be closed, and neither came within the patience."""
DIED: Final = -2
"""Outcome when a well-framed request was owed an answer and the server closed, reset or refused the connection."""


@dataclass
class Outcome:
    """What came of the cases.

    Attributes:
        counts: how often each kind ended with each HTTP status, CLOSED, SILENT or DIED.
        latencies: kind, and milliseconds from the last byte sent to the last answer, of each case that was answered.
        bad: what neither answered 200 or 4xx nor, where the framing was broken, closed: (kind, status, the bytes sent),
            the first hundred.
    """

    counts: Counter[tuple[str, int]] = field(default_factory=Counter)
    latencies: list[tuple[str, float]] = field(default_factory=list)
    bad: list[tuple[str, int, bytes]] = field(default_factory=list)

    def add(self, case: Case, status: int) -> None:
        """Count one answer, or the lack of one."""
        self.counts[case.kind, status] += 1
        right = status == 200 or 400 <= status < 500 or (status == CLOSED and not case.answers)
        if not right and len(self.bad) < 100:
            self.bad.append((case.kind, status, case.sent))

    @property
    def latency_ms(self) -> list[float]:
        """The latencies without the kinds."""
        return [latency for _, latency in self.latencies]

    def wrong(self) -> int:
        """How many ended neither with 200, 4xx nor, where the framing was broken, with a close."""
        return sum(
            count for (_, status), count in self.counts.items() if status != 200 and not 400 <= status < 500 and status
        )

    def late(self, deadline_ms: float) -> int:
        """How many cases had their answer later than this."""
        return sum(latency > deadline_ms for latency in self.latency_ms)


def send(
    address: Address,
    given_cases: Iterator[Case],
    *,
    connections: int = 8,
    patience: float = 5.0,
    each: Callable[[int], None] = lambda _number: None,
) -> Outcome:
    """Send the cases over a few connections at a time and wait for what is owed.

    Args:
        address: of the server.
        given_cases: what to send.
        connections: how many at a time.
        patience: seconds without an answer after which a case counts as SILENT.
        each: called with the number of cases ended, after each thousand.
    """
    outcome, epoll = Outcome(), select.epoll()
    busy: dict[int, _Exchange] = {}
    idle: list[socket.socket] = []
    ended, more = 0, True
    while more or busy:
        while more and len(busy) < connections:
            case = next(given_cases, None)
            if case is None:
                more = False
                break
            exchange = _begin(address, case, idle, outcome)
            if exchange is not None:
                busy[exchange.socket.fileno()] = exchange
                epoll.register(exchange.socket, exchange.events)
        ready = epoll.poll(0.05)
        now = time.perf_counter()
        over = {number for number, events in ready if busy[number].step(events, outcome)}
        over |= {number for number, exchange in busy.items() if exchange.given_up(now, patience, outcome)}
        for number, _ in ready:
            if number not in over:
                epoll.modify(number, busy[number].events)
        for number in over:
            exchange = busy.pop(number)
            epoll.unregister(number)
            if exchange.reusable:
                idle.append(exchange.socket)
            else:
                exchange.socket.close()
            ended += 1
            if ended % 1000 == 0:
                each(ended)
    for left in idle:
        left.close()
    epoll.close()
    return outcome


class _Exchange:
    """One case on one connection."""

    def __init__(self, case: Case, connection: socket.socket) -> None:
        self.case, self.socket = case, connection
        self.reusable = False
        self._left, self._got, self._answers = memoryview(case.sent), b"", 0
        self._since = time.perf_counter()
        if not self._left:  # a request cut off before its first byte
            self._all_sent()

    @property
    def events(self) -> int:
        """What to wait for."""
        return select.EPOLLIN | (select.EPOLLOUT if self._left else 0)

    def step(self, events: int, outcome: Outcome) -> bool:
        """Send and receive what can be; True when the case is over."""
        if events & select.EPOLLOUT and self._left:
            self._send()
        if not events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            return False
        try:
            data = self.socket.recv(262144)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            return self._closed(outcome)
        self._got += data
        while end := answer_end(self._got):
            status, closing = int(self._got[9:12]), b"\r\nconnection: close" in self._got[:end].lower()
            self._got = self._got[end:]
            if status < 200:
                continue  # 100 Continue
            outcome.add(self.case, status)
            self._answers += 1
            if self.case.answers and (self._answers == self.case.answers or closing):
                outcome.latencies.append((self.case.kind, 1e3 * (time.perf_counter() - self._since)))
                self.reusable = not closing and not self._left and self._answers == self.case.answers
                return True
        return False

    def given_up(self, now: float, patience: float, outcome: Outcome) -> bool:
        """True when nothing came for too long."""
        if now - self._since < patience:
            return False
        outcome.add(self.case, SILENT)
        return True

    def _send(self) -> None:
        try:
            self._left = self._left[self.socket.send(self._left) :]
        except BlockingIOError:
            return
        except OSError:  # answered and closed before all was sent, as a server may that refuses a body for its size
            self._left = self._left[:0]
        if not self._left:
            self._all_sent()

    def _all_sent(self) -> None:
        self._since = time.perf_counter()
        if not self.case.answers:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    def _closed(self, outcome: Outcome) -> bool:
        if self.case.answers:
            outcome.add(self.case, DIED)
        else:
            if not self._answers:
                outcome.add(self.case, CLOSED)
            outcome.latencies.append((self.case.kind, 1e3 * (time.perf_counter() - self._since)))
        return True


def _begin(address: Address, case: Case, idle: list[socket.socket], outcome: Outcome) -> _Exchange | None:
    """The case on an idle connection that is still open, or on a new one."""
    while idle:
        connection = idle.pop()
        try:
            if connection.recv(1):
                connection.close()  # bytes that nobody asked for
                continue
        except BlockingIOError:
            return _Exchange(case, connection)
        except OSError:
            pass
        connection.close()
    try:
        connection = socket.create_connection(address, timeout=5)
    except OSError:
        outcome.add(case, DIED)
        return None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setblocking(False)
    return _Exchange(case, connection)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of these; 0 for none."""
    return float(np.quantile(values, share, method="inverted_cdf")) if len(values) else 0.0
