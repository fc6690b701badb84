"""One demo or cluster at a time in a working folder, and none of its processes left behind when it is interrupted."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local import screen
from local.stack import Stack
from ml.core.errors import UsageError


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM: everything that runs is to be ended.

    No `Exception`, as Python's own KeyboardInterrupt is none: library code that was interrupted must not take it for an
    error of its own (a thread that was just being started would be forgotten while it runs).
    """


@contextmanager
def alone(home: Path, command: str = Stack.command) -> Iterator[None]:
    """Hold the folder's lock, so that two of these commands cannot start the same things twice."""
    folder = home / "run"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise UsageError(
                f"another `{command}` is at work in {home} (pid {lock.read().strip()})",
                left="nothing was started",
                next="wait for it, or end it with Ctrl-C in its terminal",
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def ending_on_interrupt(stack: Stack) -> Iterator[None]:
    """On Ctrl-C, SIGTERM or a closed terminal: end every service, then leave."""

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it behind
        raise Interrupted

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    except Interrupted:
        screen.say("stopping; what is recorded stays, and the same command goes on from there")
        stack.stop()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
