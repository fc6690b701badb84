"""Money and market days.

Money is an integer number of micros: one millionth of the market's currency unit, so that sums are
exact and a bid never grows a fraction of a cent on its way through a float.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from typing import NewType

from ml.core.errors import UsageError

Micros = NewType("Micros", int)
"""Money, in millionths of the currency unit; 1.25 EUR is 1_250_000."""

MICROS_PER_UNIT = 1_000_000


def to_micros(amount: float) -> Micros:
    """Turn a currency amount into micros, rounding half to even.

    >>> to_micros(0.1 + 0.2)
    300000
    """
    if not math.isfinite(amount):
        raise UsageError(f"the amount {amount} is not a finite number", next="give a finite amount of money")
    return Micros(round(amount * MICROS_PER_UNIT))


def from_micros(micros: int) -> float:
    """Turn micros into a currency amount, for people to read.

    >>> from_micros(1_250_000)
    1.25
    """
    return micros / MICROS_PER_UNIT


def parse_day(text: str) -> date:
    """Read a market day in the form YYYY-MM-DD.

    >>> parse_day("2016-10-01")
    datetime.date(2016, 10, 1)
    """
    try:
        if len(text) != len("YYYY-MM-DD"):
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a market day", next="write it as YYYY-MM-DD, for example 2016-10-01"
        ) from error


def day_start(day: date) -> datetime:
    """The first instant of a market day, in UTC."""
    return datetime.combine(day, time(), tzinfo=UTC)


def known_by(day: date) -> datetime:
    """The instant by which all that a market day taught is known: the end of the day, exclusive.

    >>> known_by(date(2016, 9, 30)).isoformat()
    '2016-10-01T00:00:00+00:00'
    """
    return day_start(day + timedelta(days=1))


def days_between(first: date, last: date) -> list[date]:
    """Every market day from `first` to `last`, both included; empty when `last` comes first."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]
