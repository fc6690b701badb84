"""A daily series with the band that is usual for it: what a chart in a mail or on a page shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

DAYS_KEPT = 400
"""Days of a series that are kept at most, the last ones: a year and some weeks."""


@dataclass(frozen=True)
class Series:
    """One number per day.

    Attributes:
        name: what is counted, for people.
        unit: its unit, such as `EUR` or `%`; empty for a plain number.
        days: the days in order, shape (n,).
        values: the number of each day, shape (n,); None where there is none, which leaves a gap.
        low, high: the band that is usual, shape (n,) each; None where there is no band.
        marked: the day that the reader should look at, or None.
    """

    name: str
    unit: str
    days: Sequence[date]
    values: Sequence[float | None]
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None
    marked: date | None = None

    def as_json(self) -> dict[str, Any]:
        """Small JSON that `series_from` reads back; a number that is not finite becomes None."""
        return {
            "name": self.name,
            "unit": self.unit,
            "days": [day.isoformat() for day in self.days],
            "values": _finite(self.values),
            "low": None if self.low is None else _finite(self.low),
            "high": None if self.high is None else _finite(self.high),
            "marked": self.marked.isoformat() if self.marked else None,
        }


def series_from(kept: Any) -> Series | None:
    """The series of its JSON; None for anything else, so that a chart that is broken costs no mail.

    >>> series_from({"name": "spend", "days": ["2026-03-01"], "values": [1]}).values
    (1.0,)
    >>> series_from({"name": "spend", "days": ["2026-03-01"], "values": []}) is None
    True
    """
    if not isinstance(kept, Mapping):
        return None
    try:
        days = tuple(date.fromisoformat(day) for day in kept["days"])[-DAYS_KEPT:]
        lines = {name: _line(kept.get(name)) for name in ("values", "low", "high")}
        marked = date.fromisoformat(kept["marked"]) if kept.get("marked") else None
    except (KeyError, TypeError, ValueError):
        return None
    values = lines["values"]
    if values is None or list(days) != sorted(set(days)):
        return None
    if any(line is not None and len(line) != len(days) for line in lines.values()):
        return None
    return Series(
        str(kept.get("name", "")), str(kept.get("unit", "")), days, values, lines["low"], lines["high"], marked
    )


def charts_from(kept: Any) -> list[Series]:
    """Every series that can be read from `details["charts"]` of an incident."""
    listed = kept if isinstance(kept, list | tuple) else []
    return [found for found in map(series_from, listed) if found is not None]


def _line(kept: Any) -> tuple[float | None, ...] | None:
    return None if kept is None else tuple(_finite(kept))[-DAYS_KEPT:]


def _finite(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None or not math.isfinite(value) else float(value) for value in values]
