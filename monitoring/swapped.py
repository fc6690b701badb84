"""Did two columns change places? A delivery whose columns were mixed up is whole in every other way.

Two columns of one kind are compared with each other's recent days. Where each of them looks like the other did, by as much as
it used to look like itself, and no recent day came near that, their values are not what their names say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ml.core.verdict import Verdict
from monitoring.findings import Finding
from monitoring.subject import Subject, is_number, labels, numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Shape = NDArray[np.float64] | pd.Series

_STEPS = (np.arange(200) + 0.5) / 200
"""Of the quantiles that stand for a sample of numbers."""


@dataclass(frozen=True)
class SwapLimits:
    """When two columns changed places.

    Attributes:
        rows: fewer values than this, of either column, cannot be judged.
        days: fewer earlier days than this, with that many values of both, say nothing about what is usual.
        apart: two columns are told from each other where this much, at the median of the recent days, lies between them: the distance
            of each to what the other is usually, less that to what itself is usually, summed over both; 2 at most.
        reversed: the share of that by which the day has to be nearer to the others' names. A whole swap has 1.
    """

    rows: int = 20
    days: int = 7
    apart: float = 0.5
    reversed: float = 0.5


SWAPPED = SwapLimits()


def swapped(
    subject: Subject, recent: pd.DataFrame, days: NDArray[np.int64], limits: SwapLimits = SWAPPED
) -> list[Finding]:
    """One FAIL per pair of columns that changed places; a PASS of no column where none did.

    The days after such a day pass: two columns that were mixed up before, or changed their meaning for good, hold one day.

    Args:
        subject: the rows of the day, and which columns are watched.
        recent: rows of the recent days.
        days: of each row of `recent`, its day's number; shape (rows,).
        limits: when columns changed places.
    """
    found, kinds = [], (("number", subject.numeric), ("text", subject.categorical))
    for kind, names in kinds:
        columns = [_Column(subject.current[name], recent[name], days, limits, kind == "number")
                   for name in names if _of_kind(subject, recent, name, number=kind == "number")]  # fmt: skip
        found += [_finding(subject, *pair) for pair in combinations(columns, 2) if _changed_places(*pair, limits)]
    if found:
        return found
    return [
        Finding("swapped", subject.name, "", Verdict.PASS, None, None, f"{subject.name}: no two columns changed places")
    ]


def _of_kind(subject: Subject, recent: pd.DataFrame, name: str, *, number: bool) -> bool:
    both = [frame[name] for frame in (subject.current, recent) if name in frame]
    return len(both) == 2 and (not number or all(is_number(column) for column in both))


@dataclass(frozen=True)
class _Column:
    """A column on the day and before it, each sample by its shape; None where it has too few values."""

    current: pd.Series
    recent: pd.Series
    days: NDArray[np.int64]
    limits: SwapLimits
    number: bool

    @property
    def name(self) -> str:
        return str(self.current.name)

    @cached_property
    def today(self) -> Shape | None:
        return self._shape(self.current)

    @cached_property
    def usual(self) -> Shape | None:
        return self._shape(self.recent)

    @cached_property
    def per_day(self) -> dict[int, Shape]:
        """The recent days that have enough values, by their number."""
        found = {int(day): self._shape(self.recent[self.days == day]) for day in np.unique(self.days)}
        return {day: shape for day, shape in found.items() if shape is not None}

    def _shape(self, column: pd.Series) -> Shape | None:
        if not self.number:
            known = labels(column).dropna()
            return known.value_counts(normalize=True) if len(known) >= self.limits.rows else None
        values = numbers(column)
        values = values[np.isfinite(values)]
        return np.quantile(values, _STEPS, method="inverted_cdf") if len(values) >= self.limits.rows else None


def _changed_places(one: _Column, other: _Column, limits: SwapLimits) -> bool:
    if one.today is None or other.today is None or one.usual is None or other.usual is None:
        return False
    usual = (one.usual, other.usual)
    own = (_distance(one.today, usual[0]), _distance(other.today, usual[1]))
    strange = (_distance(one.today, usual[1]), _distance(other.today, usual[0]))
    if not (strange[0] < own[0] and strange[1] < own[1]):  # as on nearly every day: the rest need not be worked out
        return False
    margins = [_margin((one.per_day[day], other.per_day[day]), usual) for day in one.per_day if day in other.per_day]
    if len(margins) < limits.days or min(margins) <= 0.0:
        return False
    apart = float(np.median(margins))
    return apart >= limits.apart and sum(own) - sum(strange) >= limits.reversed * apart


def _margin(day: Sequence[Shape], usual: Sequence[Shape]) -> float:
    """By how much a day's two columns are nearer to their own past than to each other's."""
    strange = _distance(day[0], usual[1]) + _distance(day[1], usual[0])
    return strange - _distance(day[0], usual[0]) - _distance(day[1], usual[1])


def _distance(a: Shape, b: Shape) -> float:
    """Kolmogorov's distance of numbers, the total variation of texts; from 0 to 1."""
    if isinstance(a, pd.Series) or isinstance(b, pd.Series):
        return 0.5 * float(pd.Series(a).sub(pd.Series(b), fill_value=0.0).abs().sum())
    points = np.concatenate([a, b])
    return float(np.max(np.abs(np.searchsorted(a, points, "right") - np.searchsorted(b, points, "right")))) / len(
        _STEPS
    )


def _finding(subject: Subject, one: _Column, other: _Column) -> Finding:
    reason = (
        f"{subject.name}: {one.name} looks like {other.name} did on the recent days, and {other.name} like {one.name}: "
        "the two columns changed places"
    )
    return Finding("swapped", subject.name, one.name, Verdict.FAIL, None, None, reason)
