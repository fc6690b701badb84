"""A series as a small PNG that reads on light and on dark: the line, its usual band, and the marked day."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from monitoring.mail.bounds import cut
from monitoring.mail.notice import number_text
from monitoring.series import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 320, 76
"""Pixels that a mail gives a chart; it is drawn with twice as many for screens that have them."""

NAME_LENGTH, UNIT_LENGTH = 60, 12
CHART_NOTE = "The shade is what is usual; the dot is the day that this is about."

_SCALE = 2
_DOTS_PER_INCH = 96 * _SCALE
# Middle tones on a transparent ground: 3 to 1 or more on white and on the dark of a reader that turns colours round.
_LINE, _BAND, _WORDS = "#2e79d0", "#8a94a3", "#77808d"
_MARKS = {"critical": "#e5484d", "warning": "#d97706", "info": "#2e79d0", "resolved": "#159b64"}


@dataclass(frozen=True)
class Shown:
    """A series as a mail shows it: its name, what it says in words, and the picture under `cid` (None: no picture).

    `said` is the number of the marked day, or of the last day with a number; `usual` is its band on that day.
    """

    name: str
    said: str
    usual: str
    alt: str
    cid: str
    png: bytes | None


def shown(series: Series, *, position: int, severity: str, about: date | None = None, drawn: bool = True) -> Shown:
    """A series in words and, where `drawn`, as a picture.

    Args:
        series: what to show.
        position: its place in the mail, from 1.
        severity: gives the marked day its colour.
        about: the day that the whole mail is about, which need not be said again.
        drawn: whether to draw.
    """
    name = cut(series.name, NAME_LENGTH)
    place = _place(series)
    if place is None:
        return Shown(name, "no number yet", "", f"{name}: no number yet", "", None)
    day, unit = series.days[place], cut(series.unit, UNIT_LENGTH)
    said = f"{number_text(series.values[place])} {unit}".strip()
    low, high = [number_text(line[place]) if line is not None else "" for line in (series.low, series.high)]
    usual = f"usual {low} to {high}" if low and high else ""
    alt = f"{name} by day, {series.days[0]} to {series.days[-1]}: {said} on {day}" + (f", {usual}" if usual else "")
    png = chart(series, severity=severity) if drawn else None
    return Shown(
        name, said if day == about else f"{said} on {day}", usual, alt, f"chart{position}@bidwright" if png else "", png
    )


def chart(series: Series, *, severity: str) -> bytes | None:
    """The PNG of a series, its marked day in the colour of `severity`; None where fewer than two of its days have a number."""
    values = _numbers(series.values)
    if sum(map(math.isfinite, values)) < 2:
        return None
    # Figures of their own, without the global state of pyplot: safe in threads, nothing to close.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH * _SCALE / _DOTS_PER_INCH, HEIGHT * _SCALE / _DOTS_PER_INCH), dpi=_DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    figure.patch.set_alpha(0.0)
    _draw(figure.add_axes((0.13, 0.22, 0.85, 0.74)), series, values, _MARKS.get(severity, _MARKS["info"]))
    buffer = io.BytesIO()
    # Without the "Software" entry the bytes depend on the numbers alone, not on the library's version text.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw(axes: Axes, series: Series, values: list[float], colour: str) -> None:
    places = [day.toordinal() for day in series.days]
    axes.patch.set_alpha(0.0)
    if series.low is not None and series.high is not None:
        axes.fill_between(places, _numbers(series.low), _numbers(series.high), color=_BAND, alpha=0.28, linewidth=0)
    axes.plot(places, values, color=_LINE, linewidth=1.5, solid_capstyle="round")
    if series.marked is not None and series.marked in series.days:
        place = series.marked.toordinal()
        axes.axvline(place, color=colour, linewidth=1.0, alpha=0.7)
        axes.plot([place], [values[places.index(place)]], color=colour, marker="o", markersize=4.5)
    shown = [places[0], places[-1]]
    axes.set_xticks(shown, [f"{day.day} {day:%b}" for day in (series.days[0], series.days[-1])])
    first, last = axes.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    axes.tick_params(length=0, labelsize=8, labelcolor=_WORDS, pad=2)
    axes.locator_params(axis="y", nbins=3)
    axes.margins(x=0.015, y=0.12)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_BAND)


def _place(series: Series) -> int | None:
    """Where the day lies that is told about."""
    places = [place for place, value in enumerate(series.values) if value is not None and math.isfinite(value)]
    marked = [place for place in places if series.days[place] == series.marked]
    found = marked or places
    return found[-1] if found else None


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]
