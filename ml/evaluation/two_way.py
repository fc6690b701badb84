"""Means over rows that move together by hotel and by day, with the error of the block bootstrap, computed and not drawn.

Rows of one hotel-day share its price and its competitors, all rows of a day the market, all rows of a hotel its errors of
prediction. The variance of a mean under resampling of blocks needs only the sums of the blocks: for many resamples the
bootstrap by day has the variance `sum_d S_d^2 / N^2`, by hotel and by hotel-day likewise. Rows that move together in both
directions have `V = V_hotel + V_day - V_hotel_day` (Cameron, Gelbach and Miller, "Robust Inference with Multiway Clustering",
JBES 29(2), 2011, formula 2.13; Owen, "The pigeonhole bootstrap", AOAS 1, 2007, draws what overstates it where the noise of rows
prevails). It is kept at or above that of hotel-days alone, the sums over B hotels or days are widened by B / (B - 1), and bounds are
Student's t with one degree less than there are blocks in the shorter direction. Nothing is drawn, so that bounds far out in the tail, which alpha that is
spent over many looks needs, do not rest on a handful of resamples.

With fewer than `MIN_HOTELS` hotels the hotels are no sample of many but the market itself: then days alone are blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from ml.core.errors import UsageError
from ml.evaluation.interval import LEVEL, Interval

Floats: TypeAlias = npt.NDArray[np.float64]

MIN_HOTELS = 10
"""Hotels from which on they count as a sample: below, few degrees of freedom are left, and the same hotels are bid for tomorrow."""


@dataclass(frozen=True)
class Estimate:
    """A mean or a ratio with its standard error.

    `degrees` are those of Student's t; `hotels` is 0 where days alone were blocks. All is NaN where a number handed in was not
    finite, and `error` is infinite with fewer than two days.
    """

    mid: float
    error: float
    degrees: int
    hotels: int
    days: int
    rows: int

    @property
    def finite(self) -> bool:
        """Whether it says anything."""
        return math.isfinite(self.mid) and math.isfinite(self.error)

    def p_below(self, limit: float = 0.0) -> float:
        """One-sided p-value of the claim that the truth lies below `limit`; NaN where nothing is known.

        >>> round(Estimate(-0.02, 0.01, 13, 50, 14, 2000).p_below(), 3)
        0.033
        """
        return float(p_below(np.float64(self.mid - limit), np.float64(self.error), self.degrees))

    def p_above(self, limit: float = 0.0) -> float:
        """One-sided p-value of the claim that the truth lies above `limit`."""
        return float(p_below(np.float64(limit - self.mid), np.float64(self.error), self.degrees))

    def interval(self, level: float = LEVEL) -> Interval:
        """The two-sided interval of a level."""
        half = float(stdtrit(self.degrees, 0.5 + level / 2)) * self.error if self.degrees > 0 else math.inf
        return Interval(self.mid - half, self.mid, self.mid + half, blocks=self.days, rows=self.rows, level=level)


def p_below(mid: npt.ArrayLike, error: npt.ArrayLike, degrees: int) -> Floats:
    """One-sided p-values of "below 0", any shape; 1 where there is no error to go by, for nothing is shown then."""
    m, e = np.asarray(mid, dtype=np.float64), np.asarray(error, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stdtr(max(degrees, 1), m / e)
    unknown = np.isnan(m) | np.isnan(e)
    return np.asarray(np.where(unknown, np.nan, np.where((e > 0) & np.isfinite(e) & (degrees > 0), p, 1.0)))


def two_way(values: npt.ArrayLike, days: npt.ArrayLike, hotels: npt.ArrayLike | None = None) -> Estimate:
    """The mean of values whose rows move together by day and, where given, by hotel.

    Args:
        values: a number per row, shape (rows,): loss of ours minus loss of theirs, say.
        days: the day of each row; any sortable values.
        hotels: the hotel of each row; None takes days alone.

    Raises:
        UsageError: columns of different lengths.
    """
    return two_way_ratio(values, np.ones(len(np.asarray(values))), days, hotels)


def two_way_ratio(
    top: npt.ArrayLike, bottom: npt.ArrayLike, days: npt.ArrayLike, hotels: npt.ArrayLike | None = None
) -> Estimate:
    """Sum of top over sum of bottom, by the linear part of the ratio's error; arguments as in `two_way`."""
    t, b = np.asarray(top, dtype=np.float64).ravel(), np.asarray(bottom, dtype=np.float64).ravel()
    day, day_count = _places(days)
    hotel, hotel_count = (np.zeros(len(t), np.intp), 1) if hotels is None else _places(hotels)
    if len({len(t), len(b), len(day), len(hotel)}) != 1:
        raise UsageError("values, days and hotels differ in length", next="give one of each per row")
    if not (np.isfinite(t).all() and np.isfinite(b).all()) or not b.sum():
        return Estimate(math.nan, math.nan, 0, 0, day_count, len(t))
    if hotel_count < MIN_HOTELS:
        hotel, hotel_count = np.zeros(len(t), np.intp), 1
    place = hotel * day_count + day
    tops, bottoms = (
        np.bincount(place, column, hotel_count * day_count).astype(np.float64).reshape(hotel_count, day_count)
        for column in (t, b)
    )
    mid, error = cell_errors(tops, bottoms)
    degrees = (min(hotel_count, day_count) if hotel_count > 1 else day_count) - 1
    return Estimate(float(mid), float(error), degrees, hotel_count if hotel_count > 1 else 0, day_count, len(t))


def cell_errors(tops: Floats, bottoms: Floats) -> tuple[Floats, Floats]:
    """Ratios and their standard errors from the sums of hotel-days.

    Args:
        tops, bottoms: sums of each hotel and day, shape (..., hotels, days); one hotel means that days alone are blocks.

    Returns:
        Two arrays of shape (...); the error is infinite with fewer than two days.
    """
    whole = bottoms.sum((-2, -1))
    mid = tops.sum((-2, -1)) / whole
    rest = tops - mid[..., None, None] * bottoms
    variance = _spread(rest.sum(-2))
    if tops.shape[-2] > 1:
        by_hotel = _spread(rest.sum(-1))
        cells = np.square(rest).sum((-2, -1))
        both = by_hotel + variance - cells
        variance = np.maximum(both, cells)
    return mid, np.sqrt(variance) / np.abs(whole)


def _spread(sums: Floats) -> Floats:
    blocks = sums.shape[-1]
    found = np.square(sums).sum(-1)
    return found * (blocks / (blocks - 1)) if blocks > 1 else np.full(found.shape, np.inf)


def _places(labels: npt.ArrayLike) -> tuple[npt.NDArray[np.intp], int]:
    column: npt.NDArray[Any] = np.asarray(labels).ravel()
    if column.dtype == object:
        column = column.astype(str)
    found = np.unique(column, return_inverse=True)[1].ravel()
    return found, int(found.max(initial=-1)) + 1
