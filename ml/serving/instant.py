"""Instants as the bid service has them: microseconds since 1970, UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from ml.core.clock import Clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(clock: Clock) -> int:
    """The present instant of a clock, exact to the microsecond.

    >>> from ml.core.clock import FixedClock
    >>> micros(FixedClock(datetime(1970, 1, 2, 0, 0, 1, 5, tzinfo=UTC)))
    86401000005
    """
    since = clock.now() - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
