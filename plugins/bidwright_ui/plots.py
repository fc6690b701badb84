"""Bars by market day, drawn as inline SVG: no script, no image, nothing heavy to import."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ml.core.units import from_micros

WIDTH, HEIGHT = 310, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, WIDTH - 4.0, 24.0, HEIGHT - 42.0
_TICKS, _DAY_LABELS = 4, 5
_BAR_SHARE = 0.62
_PERCENT = 100.0


@dataclass(frozen=True)
class Kind:
    """A plot of one figure of a day's row: its title, its unit ("" stands for the currency) and a line to hold it against."""

    figure: str
    title: str
    unit: str
    reference: float | None = None


KINDS: Final = (
    Kind("spend_micros", "Spend", ""),
    Kind("bookings", "Bookings", "bookings"),
    Kind("profit_micros", "Profit", ""),
    Kind("share_of_o2", "Share of O2", "%", reference=_PERCENT),
)


@dataclass(frozen=True)
class Bar:
    """A day's bar in the drawing's units; `height` is 0 where the value is not known, and `label` says so."""

    x: float
    y: float
    width: float
    height: float
    label: str
    known: bool


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and what is written there."""

    at: float
    label: str


@dataclass(frozen=True)
class Drawing:
    """A plot in the units of its view box; `reference` is the height of its dashed line, and `said` the plot in words."""

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    zero: float
    reference: float | None
    bars: Sequence[Bar]
    values: Sequence[Tick]
    days: Sequence[Tick]
    said: str


def plots(rows: Sequence[Mapping[str, Any]], *, currency: str) -> list[dict[str, Any]]:
    """The plots of day rows (`ml.status`), oldest first, as JSON: amounts in currency units, shares in percent."""
    return [
        {
            "title": kind.title,
            "unit": kind.unit or currency,
            "reference": kind.reference,
            "points": [{"day": row["day"], "value": _value(kind.figure, row[kind.figure])} for row in rows],
        }
        for kind in KINDS
    ]


def _value(figure: str, value: Any) -> float | None:
    if isinstance(value, str):
        return None
    if figure.endswith("_micros"):
        return from_micros(value)
    return value * _PERCENT if figure == "share_of_o2" else float(value)


def draw(plot: Mapping[str, Any]) -> Drawing | None:
    """Lay a plot out; None where no value is known."""
    points = plot["points"]
    known = [point["value"] for point in points if point["value"] is not None]
    if not known:
        return None
    marks = ticks(min(known), max([*known, plot["reference"] or 0.0]))
    low, high = marks[0], marks[-1]

    def height(value: float) -> float:
        return round(_BOTTOM - (value - low) / (high - low) * (_BOTTOM - _TOP), 1)

    step = (_RIGHT - _LEFT) / len(points)
    middles = [round(_LEFT + step * (number + 0.5), 1) for number in range(len(points))]
    every = math.ceil(len(points) / _DAY_LABELS)
    return Drawing(
        width=WIDTH,
        height=HEIGHT,
        left=_LEFT,
        right=_RIGHT,
        top=_TOP,
        bottom=_BOTTOM,
        zero=height(0.0),
        reference=None if plot["reference"] is None else height(plot["reference"]),
        bars=[
            _bar(point, middle, width=step * _BAR_SHARE, height=height, unit=plot["unit"])
            for point, middle in zip(points, middles, strict=True)
        ],
        values=[Tick(height(mark), amount(mark)) for mark in marks],
        days=[Tick(middles[place], points[place]["day"][5:]) for place in range(0, len(points), every)],
        said=f"{plot['title']} by market day: " + ", ".join(_said(point, plot["unit"]) for point in points),
    )


def _bar(point: Mapping[str, Any], middle: float, *, width: float, height: Any, unit: str) -> Bar:
    value, zero = point["value"], height(0.0)
    end = zero if value is None else height(value)
    return Bar(
        x=round(middle - width / 2, 1),
        y=min(zero, end),
        width=round(width, 1),
        height=round(abs(zero - end), 1),
        label=_said(point, unit),
        known=value is not None,
    )


def _said(point: Mapping[str, Any], unit: str) -> str:
    value = point["value"]
    return f"{point['day']} " + ("not known" if value is None else f"{amount(value)} {unit}")


def ticks(low: float, high: float) -> list[float]:
    """Round values from at or below `low` to at or above `high`, zero among them, about five in number.

    >>> ticks(12.0, 231.0), ticks(-30.0, 80.0), ticks(0.0, 0.0)
    ([0.0, 100.0, 200.0, 300.0], [-50.0, 0.0, 50.0, 100.0], [0.0, 1.0])
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return [0.0, 1.0]
    rough = (high - low) / _TICKS
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(scale * factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if scale * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 9) + 0.0 for number in range(first, last + 1)]


def amount(value: float) -> str:
    """A value as it is written in a plot: thousands apart, two digits of a fraction where there is one.

    >>> amount(12345.6), amount(2.5), amount(3.0), amount(-0.25), amount(0.0025)
    ('12 345.60', '2.50', '3', '-0.25', '0.0025')
    """
    if 0 < abs(value) < 0.1:
        return f"{value:.4g}"
    return f"{value:,.2f}".removesuffix(".00").replace(",", " ")
