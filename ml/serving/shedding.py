"""Whether one more request may wait: by how long it would, and by whether the queue has been empty of late.

A queue that gets empty now and then takes up a burst, and may make a request wait up to the deadline. One that stays full
only adds delay: then a request may wait `target_s`, and the others are told at once to come again. (This is the idea of CoDel,
as in Facebook's "Fail at scale", with the delay foretold rather than waited for.)
"""

from __future__ import annotations

from time import monotonic

from ml.serving.limits import Limits

_NEW = 0.1
"""How much the newest batch counts in what a request is taken to cost."""


class Shedding:
    """Tells how long the next request would wait, from what the last ones took."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._empty_at = monotonic()
        self.request_s = 100e-6
        """What a request takes, seconds; a moving mean."""

    def admits(self, waiting: int, now: float) -> bool:
        """Whether one more may wait behind `waiting` others."""
        limits = self._limits
        if waiting < limits.batch:
            return True
        if waiting >= limits.queue:
            return False
        full = now - self._empty_at > limits.interval_s
        return waiting * self.request_s < (limits.target_s if full else limits.deadline_s / 2)

    def decided(self, requests: int, took_s: float) -> None:
        """A batch was decided."""
        self.request_s += _NEW * (took_s / requests - self.request_s)

    def empty(self, now: float) -> None:
        """Nobody waits."""
        self._empty_at = now

    def retry_after_s(self) -> int:
        """When a refused client may come again, whole seconds as HTTP has them."""
        return 1
