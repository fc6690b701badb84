"""Callers of the bid service that go on asking while something happens to it, and remember every answer."""

from __future__ import annotations

import http.client
import json
import select
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Self

from benchmarks.bid_service_world import PATH, Service
from benchmarks.load_wire import Address

LATE_MS = 100.0
BROKEN = 0


@dataclass(frozen=True)
class Answer:
    """When it came (`time.monotonic`), its status (0: the connection broke), after how many ms, and what it said."""

    at: float
    status: int
    ms: float
    said: dict[str, Any]

    @property
    def begun(self) -> float:
        """When it was asked for."""
        return self.at - self.ms / 1e3


class Callers:
    """So many callers, each asking `per_second` times; a context manager.

    Args:
        service: whom they ask.
        count: of callers; each keeps a connection of its own.
        per_second: of each.
        address: where they ask, if not the service itself.

    Attributes:
        answers: in the order in which they came.
        count: of callers.
    """

    def __init__(
        self, service: Service, *, count: int = 4, per_second: float = 50.0, address: Address | None = None
    ) -> None:
        self._service, self._pause, self._address = service, 1.0 / per_second, address or service.address
        self.answers: list[Answer] = []
        self.count = count
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,), daemon=True) for n in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.more()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(30)

    @property
    def statuses(self) -> Counter[int]:
        """How many ended with each status."""
        return Counter(one.status for one in self.answers)

    def errors(self, since: float = 0.0) -> int:
        """Answers that were not 200, those that never came included."""
        return sum(one.status != 200 for one in self.answers if one.at >= since)

    def late(self) -> int:
        """Answers after LATE_MS."""
        return sum(one.ms > LATE_MS for one in self.answers)

    def steps(self, since: float = 0.0) -> Counter[str]:
        """Who answered, by step of the ladder."""
        return Counter(str(one.said.get("step")) for one in self.answers if one.at >= since and one.status == 200)

    def more(self, count: int = 20, seconds: float = 30.0) -> list[Answer]:
        """Wait for so many answers from now on; those."""
        begin, until = len(self.answers), time.monotonic() + seconds
        while len(self.answers) < begin + count and time.monotonic() < until:
            time.sleep(0.005)
        return self.answers[begin:]

    def _ask(self, number: int) -> None:
        bodies, headers = self._service.world.bodies, {**self._service.headers, "Content-Type": "application/json"}
        link, turn = self._link(), number
        while not self._end.is_set():
            if link.sock is not None and select.select([link.sock], [], [], 0)[0]:
                link.close()  # the service ended it while nothing was asked: no request is lost by that
            begin = time.monotonic()
            status, said = BROKEN, {}
            try:
                link.request("POST", PATH, bodies[turn % len(bodies)], headers)
                answer = link.getresponse()
                body = answer.read()
                status, said = answer.status, json.loads(body)
            except (OSError, http.client.HTTPException, ValueError):
                link.close()
                link = self._link()
            now = time.monotonic()
            self.answers.append(Answer(now, status, 1e3 * (now - begin), said))
            turn += 1
            self._end.wait(max(0.0, self._pause - (now - begin)))
        link.close()

    def _link(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self._address, timeout=10)


def until(holds: Any, seconds: float = 60.0) -> Any:
    """What `holds` gives once it is true; None if it is not within so long."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > end:
            return None
        time.sleep(0.02)
    return found
