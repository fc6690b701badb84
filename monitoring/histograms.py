"""Daily histograms of a column: all that a distance needs, small enough to compare many windows of days.

Rows are counted once, per day and bin; every window of days is then a sum of a few rows of that table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from monitoring.subject import factors, numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ml.features.tally import Tally

BINS = 64
"""Quantile bins of a numeric column: a shift inside one bin, about 1.5 % of the rows, is not seen."""

CATEGORIES = 30
"""Categories told apart; rarer ones, and those never seen before, share one bin."""

DISCRETE_VALUES = 10
"""A numeric column with at most this many values in its history is compared like a categorical one."""

TAIL = 0.001
"""Share of rows at each end that is drawn in to the quantile, so that one absurd value moves nothing."""


EDGE_ROWS = 100_000
"""About so many rows set the edges of the bins; all rows are counted."""


@dataclass(frozen=True)
class DailyHistogram:
    """Rows per day and bin.

    Attributes:
        counts: shape (days, bins + 1), rows; the last bin holds what is null or not finite.
        values: shape (bins,), the mean value of each bin, ascending; None for a categorical column.
        names: of the bins of a categorical column, shorter than they by the one that holds all others.
        nonfinite: rows per day that are NaN or infinite, shape (days,), where they were told from nulls.
    """

    counts: NDArray[np.float64]
    values: NDArray[np.float64] | None
    names: tuple[str, ...] = ()
    nonfinite: NDArray[np.float64] | None = None

    @property
    def is_numeric(self) -> bool:
        """Whether bins have values, so that how far mass moves can be measured."""
        return self.values is not None


def numeric_histogram(column: pd.Series, days: NDArray[np.int64], n_days: int) -> DailyHistogram:
    """Count a numeric column into quantile bins; exact where it has no more distinct values than bins.

    Edges come from at most `EDGE_ROWS` to twice as many evenly spaced rows.

    Args:
        column: numbers, shape (rows,).
        days: day of each row, 0 to `n_days` - 1, shape (rows,).
        n_days: number of days.
    """
    values = numbers(column)
    finite = np.isfinite(values)
    if not finite.any():
        return DailyHistogram(_count(np.zeros(len(values), dtype=np.int64), finite, days, n_days, 1), np.zeros(1))
    some = _some(values[finite])
    low, high = np.quantile(some, [TAIL, 1.0 - TAIL])
    drawn = np.clip(values, low, high)
    edges = _edges(np.clip(some, low, high))
    bins = np.searchsorted(edges, drawn, side="right")
    rows = np.bincount(bins[finite], minlength=len(edges) + 1)
    sums = np.bincount(bins[finite], weights=drawn[finite], minlength=len(edges) + 1)
    used = rows > 0
    counts = _count(bins, finite, days, n_days, len(edges) + 1)
    return DailyHistogram(counts[:, np.append(used, True)], sums[used] / rows[used])


def categorical_histogram(column: pd.Series, days: NDArray[np.int64], n_days: int) -> DailyHistogram:
    """Count a categorical column into its most frequent categories, one bin for all others, and one for null."""
    codes, names = factors(column)
    present = codes >= 0
    rows = np.bincount(codes[present], minlength=len(names))
    ranked = sorted(range(len(names)), key=lambda code: (-rows[code], names[code]))
    bins = np.full(len(names) + 1, min(len(names), CATEGORIES), dtype=np.int64)
    bins[ranked[:CATEGORIES]] = np.arange(len(ranked[:CATEGORIES]))
    counts = _count(bins[codes], present, days, n_days, min(len(names), CATEGORIES) + 1)
    return DailyHistogram(counts, None, tuple(names[code] for code in ranked[:CATEGORIES]))


def of_tally(tally: Tally) -> DailyHistogram:
    """The histogram of a column that was counted where it lies."""
    counts = tally.counts.astype(np.float64)
    names: tuple[str, ...] = ()
    if tally.values is None:
        total = counts.sum(axis=0)
        ranked = sorted(range(len(tally.labels)), key=lambda code: (-total[code], tally.labels[code]))
        top, rest = ranked[:CATEGORIES], ranked[CATEGORIES:]
        names = tuple(tally.labels[code] for code in top)
        counts = np.column_stack([counts[:, top], counts[:, rest].sum(axis=1)])
    every = np.column_stack([counts, tally.missing])
    return DailyHistogram(every, tally.values, names, tally.nonfinite.astype(np.float64))


def is_discrete(column: pd.Series) -> bool:
    """Whether a numeric column has so few values that each is a category of its own."""
    return len(np.unique(_some(column.dropna().to_numpy()))) <= DISCRETE_VALUES


def _some(values: NDArray[Any]) -> NDArray[Any]:
    """Every n-th value, so many that their quantiles are as good as those of all: edges need no more."""
    return values[:: max(1, len(values) // EDGE_ROWS)]


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    distinct = np.unique(values)
    if len(distinct) <= BINS:
        return np.asarray((distinct[1:] + distinct[:-1]) / 2.0)
    return np.unique(np.quantile(values, np.linspace(0.0, 1.0, BINS + 1)[1:-1]))


def _count(
    bins: NDArray[np.int64], present: NDArray[np.bool_], days: NDArray[np.int64], n_days: int, n_bins: int
) -> NDArray[np.float64]:
    cell = days * (n_bins + 1) + np.where(present, bins, n_bins)
    counted = np.bincount(cell, minlength=n_days * (n_bins + 1))
    return counted.reshape(n_days, n_bins + 1).astype(np.float64)
