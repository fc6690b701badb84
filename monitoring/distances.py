"""How far two histograms are apart, on scales that do not depend on the number of rows.

Numeric columns: first Wasserstein distance over the reference's standard deviation. Categorical columns:
Jensen-Shannon distance (natural logarithm, 0 to 0.83). Both as Evidently computes them; 0.1 is its
threshold for either. A p-value would call every difference significant once the day has enough rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from monitoring.histograms import DailyHistogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

WASSERSTEIN = "wasserstein"
JENSEN_SHANNON = "jensenshannon"
SMALLEST_STD = 1e-3
"""Evidently's floor under the standard deviation."""


def distance(
    histogram: DailyHistogram, current: NDArray[np.float64], reference: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance of pairs of histograms; shapes (..., bins + 1) in, (...) out; NaN where a side is empty.

    For a numeric column, at least the change of its null share: a distance over values alone would not see it.
    """
    if histogram.values is None:
        return jensen_shannon(current, reference)
    moved = wasserstein(histogram.values, current[..., :-1], reference[..., :-1])
    nulls = np.abs(shares(current)[..., -1] - shares(reference)[..., -1])
    return np.fmax(moved, nulls)


def wasserstein(
    values: NDArray[np.float64], current: NDArray[np.float64], reference: NDArray[np.float64]
) -> NDArray[np.float64]:
    """First Wasserstein distance over the reference's standard deviation.

    >>> wasserstein(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 1.0]), np.array([1.0, 1.0, 0.0])).item()
    2.0
    """
    p, q = shares(current), shares(reference)
    mean = (q * values).sum(-1)
    variance = (q * values**2).sum(-1) - mean**2
    moved = (np.abs(np.cumsum(p - q, axis=-1))[..., :-1] * np.diff(values)).sum(-1)
    return np.asarray(moved / np.maximum(np.sqrt(np.maximum(variance, 0.0)), SMALLEST_STD))


def jensen_shannon(current: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Jensen-Shannon distance with the natural logarithm: 0 for equal shares, 0.8326 for disjoint ones.

    >>> round(jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])).item(), 4)
    0.8326
    """
    p, q = shares(current), shares(reference)
    middle = (p + q) / 2.0
    divergence = (_kullback_leibler(p, middle) + _kullback_leibler(q, middle)) / 2.0
    return np.asarray(np.sqrt(np.maximum(divergence, 0.0)))


def shares(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts over their sum; NaN where there are none."""
    total = counts.sum(-1, keepdims=True)
    return np.asarray(np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0))


def _kullback_leibler(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    p, q = np.broadcast_arrays(p, q)
    ratio = np.divide(p, q, out=np.ones(p.shape), where=p > 0)
    return np.asarray((p * np.log(ratio)).sum(-1))
