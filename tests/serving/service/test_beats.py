"""A worker says that it lives for as long as it serves, whatever else is slow or changes meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ml.serving.joints import Wanted, WantedArm
from tests.serving.service.conftest import Served, until
from tests.serving.service.stubs import B


class Closing:
    """Counters of an arm that may not be touched once they are closed, as memory that is given back may not."""

    def __init__(self) -> None:
        self.beats, self.closed = 0, False

    def record(self, *_: Any, **__: Any) -> None:
        assert not self.closed

    def tried(self, **_: Any) -> None:
        assert not self.closed

    def refuse(self, *_: Any) -> None:
        assert not self.closed

    def beat(self, now_us: int) -> None:  # noqa: ARG002  (the joint gives it)
        if self.closed:
            raise ValueError("operation forbidden on released memoryview object")
        self.beats += 1

    def close(self) -> None:
        self.closed = True


class Slow:
    """A file system that takes its time: who tells the others waits until he is let go."""

    def __init__(self) -> None:
        self.told, self.let_go = threading.Event(), threading.Event()

    def tell(self, state: Mapping[str, Any]) -> None:  # noqa: ARG002
        self.told.set()
        self.let_go.wait(60)


def heard(served: Served) -> int:
    """How many signs of life have come since it was asked last."""
    try:
        return os.read(served.beats, 65_536).count(b"\n")
    except BlockingIOError:
        return 0


def test_a_champion_that_changes_while_the_numbers_are_written_ends_no_sign_of_life(
    make: Callable[..., Served],
) -> None:
    served = make()
    first, second = Closing(), Closing()
    served.source.counting = first
    served.ready()
    until(lambda: first.beats)
    slow = Slow()
    served.do(lambda: setattr(served.worker.peers, "tell", slow.tell))
    until(slow.told.is_set)
    served.source.counting = second
    served.source.now = Wanted(generation=2, arms=(WantedArm("stable", B),), why_not="")
    until(lambda: first.closed)
    slow.let_go.set()
    heard(served)
    until(lambda: second.beats > 1)
    assert until(lambda: heard(served))


def test_a_file_system_that_hangs_keeps_no_worker_from_saying_that_it_lives(served: Served) -> None:
    slow = Slow()
    served.do(lambda: setattr(served.worker.peers, "tell", slow.tell))
    try:
        until(slow.told.is_set)
        heard(served)
        count = 0
        while count < 3:
            count += until(lambda: heard(served))
        assert not slow.let_go.is_set()
    finally:
        slow.let_go.set()
