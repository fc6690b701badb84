"""The parent of the workers: holds the listening socket, starts them, and sees to it that they live.

Workers are started as new interpreters, never forked: LightGBM hangs in a fork. They share one listening socket, which stays
open here, so that a caller who connects while a worker is being replaced waits a moment and is not refused. A worker that is
started while another can bid takes callers once it can bid too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import FrameType

import msgspec

from ml.core.errors import UsageError
from ml.serving.peers import Peers
from ml.serving.worker import Beat, Post

log = logging.getLogger("bidwright.serve")

COMMAND = (sys.executable, "-P", "-m", "ml.serving")
"""What runs one worker. `-P`: the working folder is no place to import from."""

_TICK_S = 0.1

_STARVED_TIMES = 6
"""For so many times its patience a worker may be silent if it waited for a processor meanwhile."""

_STOOD_STILL_S = 1.0
"""So long a turn takes only where this process was paused, such as with its container or its machine."""


@dataclass(frozen=True)
class Patience:
    """How long a worker may take; seconds.

    Attributes:
        start_s: from its start to its first sign of life.
        ready_s: from its start until it can bid, where it is to take the place of one that can.
        hung_s: between two signs of life, without the time for which it waited for a processor.
        drain_s: from SIGTERM to its end.
        restart_s: pause before one that died soon after its start is started again; it doubles up to `restart_most_s`.
        settled_s: who lived so long did not die soon.
    """

    start_s: float = 60.0
    ready_s: float = 60.0
    hung_s: float = 5.0
    drain_s: float = 15.0
    restart_s: float = 0.1
    restart_most_s: float = 5.0
    settled_s: float = 10.0


@dataclass
class Child:
    """A worker that was started, and what is known of it. While `hold` is open it takes no callers before it can bid."""

    name: str
    process: subprocess.Popen[bytes]
    beats: int
    started: float
    hold: int | None = None
    heard: float = 0.0
    waited: float = 0.0
    said: Beat | None = None
    ending: float = 0.0
    rest: bytes = b""


@dataclass
class Place:
    """A place for a worker: who has it, who is to have it, and when the next may be started."""

    name: str
    child: Child | None = None
    next: Child | None = None
    pause_s: float = 0.0
    start_at: float = 0.0
    former: list[Child] = field(default_factory=list)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that workers can inherit; UsageError where host and port cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        made = socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"nothing can listen on {host} port {port}: {why}",
            left="nothing was started",
            next="choose another with --host and --port, or stop who has it",
        ) from error
    made.setblocking(False)
    made.set_inheritable(True)
    return made


class Workers:
    """Starts, watches and ends the workers.

    Args:
        listener: from `listen`.
        count: of workers.
        home: working folder of the platform.
        paced: whether somebody paces what they spend (`ml.serving.pacemaker.pacing`).
        changed: called when a worker said something new or took over from another.
        command: the program of a worker; another one only in tests.
        patience: how long they may take.
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        count: int,
        home: Path,
        paced: bool = False,
        changed: Callable[[Workers], None] = lambda _: None,
        command: Sequence[str] = COMMAND,
        patience: Patience | None = None,
    ) -> None:
        self._listener, self._home, self._changed, self._command = listener, home, changed, command
        self._paced = paced
        self._patience = patience or Patience()
        self.places = [Place(str(number)) for number in range(count)]
        self._folder = tempfile.TemporaryDirectory(prefix="bidwright-serve-")
        self._select = selectors.DefaultSelector()
        self._stopping = self._hanging_up = False
        self._rolling: list[Place] = []
        self._turned = monotonic()

    @property
    def up(self) -> bool:
        """Whether every worker has spoken."""
        return all(place.child is not None and place.child.said is not None for place in self.places)

    @property
    def ready(self) -> bool:
        """Whether every worker can bid."""
        return all(place.child and place.child.said and place.child.said.ready for place in self.places)

    @property
    def why_not(self) -> str:
        """Why the first that cannot bid cannot."""
        said = [place.child.said for place in self.places if place.child and place.child.said]
        return next((beat.why for beat in said if not beat.ready), "")

    @property
    def pids(self) -> list[int]:
        """Of the workers, in the order of their places."""
        return [place.child.process.pid for place in self.places if place.child]

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; SIGHUP replaces the workers one by one. Ends when all have ended."""
        wake, woken = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        before = {number: signal.signal(number, self._signalled) for number in _SIGNALS}
        wakeup = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        self._select.register(wake, selectors.EVENT_READ, None)
        try:
            while not (self._stopping and self._all_ended()):
                self._turn()
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            for child in self._children():
                child.process.kill()
                child.process.wait()
                self._forget(child)
            self._select.close()
            os.close(wake)
            os.close(woken)
            self._folder.cleanup()

    def _signalled(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  (signal's signature)
        if number == signal.SIGHUP:
            self._hanging_up = True
        else:
            self._stopping = True

    def _turn(self) -> None:
        for key, _ in self._select.select(_TICK_S):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    os.read(key.fd, 512)
            else:
                self._hear(key.data)
        now = monotonic()
        if (stood_still := now - self._turned - _TICK_S) > _STOOD_STILL_S:
            # Nobody was heard meanwhile, which says nothing about the workers: they may have stood still with us.
            for child in self._children():
                child.heard += stood_still if child.heard else 0.0
        self._turned = now
        if self._stopping:
            self._listener.close()
            for child in self._children():
                self._end(child, now)
        elif self._hanging_up:
            self._hanging_up = False
            self._rolling = self._rolling or [*self.places]
        for place in self.places:
            self._see_to(place, now)
        if self._rolling and not self._stopping:
            self._roll(now)
        if not self._can_bid():
            for child in self._children():
                _let_go(child)

    def _see_to(self, place: Place, now: float) -> None:
        place.former = [child for child in place.former if not self._ended(child, now)]
        if place.next is not None and self._ended(place.next, now):
            log.warning("the new worker %s cannot bid; the old one stays", place.name)
            place.next, self._rolling = None, []
        if place.child is not None and self._ended(place.child, now):
            died = place.child
            place.child = None
            # What it said last is said by nobody any more.
            Peers(Path(self._folder.name), place.name).forget()
            if not self._stopping:
                self._pause(place, now, settled=now - died.started >= self._patience.settled_s)
                log.warning("worker %s ended (%s); it is started again", place.name, _how(died.process.returncode))
        if place.child is None and not self._stopping and now >= place.start_at:
            place.child, place.next = place.next or self._start(place, now), None

    def _pause(self, place: Place, now: float, *, settled: bool) -> None:
        """Until the next may be started: none where the last one lived for long."""
        patience = self._patience
        longer = min(max(place.pause_s * 2, patience.restart_s), patience.restart_most_s)
        place.pause_s = 0.0 if settled else longer
        place.start_at = now + place.pause_s

    def _roll(self, now: float) -> None:
        """Replace the workers one after the other, each only once its successor does as well."""
        place = self._rolling[0]
        if place.next is None:
            if not place.former and now >= place.start_at:
                place.next = self._start(place, now)
        elif (said := place.next.said) is not None:
            old = place.child
            if said.ready or old is None or old.said is None or not old.said.ready:
                if old is not None:
                    self._end(old, now)
                    place.former.append(old)
                place.child, place.next = place.next, None
                self._rolling.pop(0)
                self._changed(self)
            elif now - place.next.started > self._patience.ready_s:
                place.next.process.kill()

    def _start(self, place: Place, now: float) -> Child | None:
        """A new worker. None where the system has no pipe and no process to give: those that live go on, and it is tried again."""
        pipes: list[int] = []
        try:
            for _ in range(2 if self._can_bid() else 1):
                pipes += os.pipe()
            reading, writing, *of_hold = pipes
            held, hold = of_hold or (None, None)
            post = Post(
                place.name, self._listener.fileno(), writing, self._folder.name, str(self._home), self._paced, held=held
            )
            theirs = [writing, *([] if held is None else [held])]
            process = subprocess.Popen(  # noqa: S603  (a fixed command, no shell)
                [*self._command, msgspec.json.encode(post).decode()],
                pass_fds=[self._listener.fileno(), *theirs],
                stdin=subprocess.DEVNULL,
            )
        except OSError as error:
            for end in pipes:
                os.close(end)
            self._pause(place, now, settled=False)
            log.warning("worker %s cannot be started (%s); it is tried again", place.name, error.strerror or error)
            return None
        for end in theirs:
            os.close(end)
        os.set_blocking(reading, False)
        child = Child(place.name, process, reading, monotonic(), hold)
        self._select.register(reading, selectors.EVENT_READ, child)
        return child

    def _hear(self, child: Child) -> None:
        try:
            data = os.read(child.beats, 65_536)
        except BlockingIOError:
            return
        if not data:
            self._select.unregister(child.beats)
            return
        *lines, child.rest = (child.rest + data).split(b"\n")
        if lines:
            child.heard, child.waited = monotonic(), _waited(child.process.pid)
            said = msgspec.json.decode(lines[-1], type=Beat)
            if said.ready:
                _let_go(child)
            if said != child.said:
                child.said = said
                self._changed(self)

    def _end(self, child: Child, now: float) -> None:
        if not child.ending:
            child.ending = now
            child.process.terminate()

    def _ended(self, child: Child, now: float) -> bool:
        """Whether it has ended; one that hangs is killed."""
        if child.process.poll() is not None:
            self._forget(child)
            return True
        patience = self._patience
        if child.ending:
            hung = now - child.ending > patience.drain_s
        elif child.heard:
            hung = self._silent(child, now - child.heard)
        else:
            hung = now - child.started > patience.start_s
        if hung:
            log.warning("worker %s gives no sign of life; it is killed", child.name)
            child.process.kill()
        return False

    def _silent(self, child: Child, seconds: float) -> bool:
        """Whether it is silent for too long. To start one that starves again would take more of what it lacks."""
        if seconds <= (most := self._patience.hung_s):
            return False
        starved = _waited(child.process.pid) - child.waited
        return seconds - starved > most or seconds > _STARVED_TIMES * most

    def _can_bid(self) -> bool:
        """Whether any worker can, and is not told to end."""
        return any(child.said is not None and child.said.ready and not child.ending for child in self._children())

    def _forget(self, child: Child) -> None:
        _let_go(child)
        with contextlib.suppress(KeyError, ValueError):
            self._select.unregister(child.beats)
        with contextlib.suppress(OSError):
            os.close(child.beats)

    def _children(self) -> list[Child]:
        return [
            child
            for place in self.places
            for child in (place.child, place.next, *place.former)
            if child is not None and child.process.returncode is None
        ]

    def _all_ended(self) -> bool:
        return not self._children()


def _waited(pid: int) -> float:
    """For how many seconds a process's main thread could have run and had no processor; 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _let_go(child: Child) -> None:
    """Let it take callers, whether it can bid or not."""
    if child.hold is not None:
        os.close(child.hold)
        child.hold = None


_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
