"""Where features are materialised into Redis: keeps this machine's copy of them fresh for the workers of a bid service.

The copy is made by a process of its own, started when Redis says that features were written: what it imports and computes
takes nothing from a worker. A Redis that cannot be reached changes nothing; the copy that is there is served on.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ml.core.errors import BidwrightError
from ml.core.settings import Settings
from ml.features.redis_check import last_writing

log = logging.getLogger("bidwright.serve")

COMMAND = (sys.executable, "-P", "-m", "ml.cli", "copy-online")
PATIENCE_S = 600.0
"""A copy that takes longer is ended, and begun again."""


class Follower:
    """Copies when there is something new.

    Args:
        settings: of the platform, with `redis`.
        command: makes a copy; another one only in tests.
        written: the number of the last writing; another one only in tests.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        command: Sequence[str] = COMMAND,
        written: Callable[[str, str], int] = last_writing,
    ) -> None:
        self._settings, self._command, self._written = settings, command, written
        self._copied: int | None = None
        self._trouble = ""

    def turn(self) -> bool:
        """Copy if features were written since the last copy; whether this machine has now what Redis has."""
        try:
            written = self._written(self._settings.redis, self._settings.market_name)
        except BidwrightError as error:
            return self._failed(str(error))
        if written == self._copied:
            return True
        try:
            done = subprocess.run(  # noqa: S603  (a fixed command, no shell)
                self._command,
                env=os.environ | {"BIDWRIGHT_HOME": str(self._settings.home)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=PATIENCE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return self._failed(str(error))
        if done.returncode:
            return self._failed(done.stderr.decode(errors="replace").strip())
        self._copied, self._trouble = written, ""
        log.info("online features copied from Redis")
        return True

    def _failed(self, why: str) -> bool:
        if why != self._trouble:
            log.warning("online features could not be copied from Redis; those of the last copy are served: %s", why)
        self._trouble = why
        return False


@contextmanager
def following(settings: Settings) -> Iterator[bool]:
    """Keep the copy fresh for as long as this lasts; whether that is needed. The first copy is made before anything is served."""
    if not settings.redis:
        yield False
        return
    follower, over = Follower(settings), threading.Event()
    follower.turn()
    thread = threading.Thread(target=_follow, args=(follower, over, settings.serve_poll_seconds), daemon=True)
    thread.start()
    try:
        yield True
    finally:
        over.set()


def _follow(follower: Follower, over: threading.Event, every_s: float) -> None:
    while not over.wait(every_s):
        follower.turn()
