"""Block bootstrap of paired differences and of ratios, by day.

Bookings of one day share weather, groups and price changes, so that rows are not independent, but days nearly
are: whole days are drawn, with replacement, and each draw carries all rows of its day. A statistic that is a
ratio of two sums needs only the two sums of each block, so that a resample costs as much as there are blocks,
not rows.

The bounds are percentiles of the resamples, widened for few blocks (the expanded percentile interval, T.
Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 69(4), 2015): the plain
percentile interval is too narrow by sqrt((B-1)/B) and by the difference of Student's t from the normal
distribution. Simulated, a nominal 5 % would be 10 % with 7 blocks and 7 % with 14; widened it is 6 % and 5 %.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, stdtrit

from ml.core.errors import UsageError
from ml.evaluation.interval import LEVEL, Interval

__all__ = ["LEVEL", "RESAMPLES", "Interval", "paired_bootstrap", "ratio_bootstrap"]

RESAMPLES = 2000

Floats: TypeAlias = npt.NDArray[np.float64]


def paired_bootstrap(
    loss_a: npt.ArrayLike,
    loss_b: npt.ArrayLike,
    blocks: npt.ArrayLike,
    *,
    seed: int,
    n: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Mean loss of a minus mean loss of b on the same rows; below 0 means that a is better.

    Args:
        loss_a: loss of each row under model a, shape (rows,).
        loss_b: loss of the same rows under model b, shape (rows,).
        blocks: what each row is resampled with, its day as a rule, shape (rows,); any sortable values.
        seed: of the resampling; the same arguments give the same interval.
        n: number of resamples.
        level: two-sided level, between 0 and 1.

    Returns:
        The interval, in the unit of the losses. See `ratio_bootstrap` for when it is not finite.

    Raises:
        UsageError: the three have different lengths, or the level is no level.
    """
    a, b = _column(loss_a), _column(loss_b)
    _same_length(a, b)
    with np.errstate(invalid="ignore"):  # inf - inf: the result is NaN, and the interval says so
        difference = a - b
    return ratio_bootstrap(difference, np.ones(len(a)), blocks, seed=seed, n=n, level=level)


def ratio_bootstrap(
    numerator: npt.ArrayLike,
    denominator: npt.ArrayLike,
    blocks: npt.ArrayLike,
    *,
    seed: int,
    n: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Sum of the numerator divided by sum of the denominator: predicted over realised, say.

    Args and Raises: as `paired_bootstrap`; shape (rows,) each.

    Returns:
        The interval. Its bounds are infinite with fewer than two blocks; all three numbers are NaN when a
        number handed in is not finite, and the bounds are NaN when a resample divides by zero.
    """
    top, bottom, labels = _column(numerator), _column(denominator), np.asarray(blocks)
    _same_length(top, bottom, labels)
    if not (0 < level < 1 and n >= 1):
        raise UsageError(f"level {level} with {n} resamples is no interval", next="give 0 < level < 1 and n >= 1")
    places = np.unique(labels, return_inverse=True)[1].ravel()
    count, rows = int(places.max(initial=-1)) + 1, len(top)
    if not (np.isfinite(top).all() and np.isfinite(bottom).all()):
        return Interval(math.nan, math.nan, math.nan, blocks=count, rows=rows, level=level)
    mid = _divide(top.sum(), bottom.sum())
    if count < 2:
        return Interval(-math.inf, mid, math.inf, blocks=count, rows=rows, level=level)
    tops, bottoms = _sums(places, top, count), _sums(places, bottom, count)
    low, high = _bounds(tops, bottoms, seed=seed, n=n, level=level)
    return Interval(low, mid, high, blocks=count, rows=rows, level=level)


def _bounds(top: Floats, bottom: Floats, *, seed: int, n: int, level: float) -> tuple[float, float]:
    count = len(top)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=n).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        resampled = (drawn @ top) / (drawn @ bottom)
    if not np.isfinite(resampled).all():
        return math.nan, math.nan
    tail = _expanded_tail((1 - level) / 2, count)
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


def _expanded_tail(tail: float, blocks: int) -> float:
    """The share to cut off each side of the resamples so that an interval of few blocks keeps its level."""
    return float(ndtr(stdtrit(blocks - 1, tail) * math.sqrt(blocks / (blocks - 1))))


def _sums(places: npt.NDArray[np.intp], values: Floats, count: int) -> Floats:
    """Sum of the values of each block, shape (count,)."""
    return np.asarray(np.bincount(places, values, count), dtype=np.float64)


def _divide(top: float, bottom: float) -> float:
    return float(top / bottom) if bottom else math.nan


def _column(values: npt.ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64).ravel()


def _same_length(*columns: npt.NDArray[Any]) -> None:
    if len({len(column) for column in columns}) != 1:
        lengths = ", ".join(str(len(column)) for column in columns)
        raise UsageError(
            f"columns of different lengths cannot be paired: {lengths}", next="give one value per row in each"
        )
