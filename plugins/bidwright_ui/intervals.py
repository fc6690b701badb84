"""Numbers with their interval and what they are held against, as one line of a drawing; `parts.interval` makes it SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

WIDTH: Final = 200.0
_MARGIN: Final = 8.0

Line = dict[str, Any]


def line(
    number: Any, *, interval: Any = None, limits: Iterable[Any] = (), span: tuple[float, float] | None = None
) -> Line | None:
    """Where a number, its interval and its limits stand on a line of `WIDTH` units; None where there is no number.

    Args:
        number: the number.
        interval: its low and its high end, if it has them.
        limits: what it is held against.
        span: the ends of the line, for lines that are to be compared; else what is drawn fills it.
    """
    if not _finite(number):
        return None
    ends = [float(end) for end in interval] if _is_interval(interval) else []
    if ends and not min(ends) <= number <= max(ends):
        ends = []  # the interval of another quantity, such as that of a loss beside a p-value
    held = [float(limit) for limit in limits if _finite(limit)]
    low, high = span or _span([float(number), *ends, *held])

    def at(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return round(_MARGIN + share * (WIDTH - 2 * _MARGIN), 1)

    return {
        "at": at(float(number)),
        "low": at(ends[0]) if ends else None,
        "high": at(ends[1]) if ends else None,
        "limits": [at(limit) for limit in held],
    }


def common_span(rows: Sequence[Mapping[str, Any]], *limits: float) -> tuple[float, float]:
    """Ends that hold every row's `mid`, `low` and `high`, and these limits."""
    values = [row[name] for row in rows for name in ("mid", "low", "high") if _finite(row.get(name))]
    return _span([*map(float, values), *limits])


def _span(values: Sequence[float]) -> tuple[float, float]:
    """The ends of what is drawn, never the same.

    >>> _span([1.0, 3.0]), _span([2.0])
    ((1.0, 3.0), (1.0, 3.0))
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low == high:
        half = abs(low) / 2 or 1.0
        return low - half, high + half
    return low, high


def _is_interval(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2 and all(map(_finite, value))


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
