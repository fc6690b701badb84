"""How well probabilities and values were predicted: discrimination, proper losses, calibration.

A number that the rows do not determine is NaN, never a number that looks good: gates hold on NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ml.core.errors import UsageError

Floats: TypeAlias = npt.NDArray[np.float64]

SMALLEST_PROBABILITY = 1e-12
"""A predicted 0 or 1 that is wrong costs 27.6 nats instead of infinity."""


def auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Probability that a positive row scores above a negative one, ties counting half (Mann-Whitney).

    Args:
        labels: 0 or 1, shape (rows,).
        scores: any finite numbers, shape (rows,).

    Returns:
        0 to 1; NaN when there is no positive or no negative row, or a score is not finite.

    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
    0.875
    """
    y, s = _pair(labels, scores)
    positives = int(y.sum())
    negatives = len(y) - positives
    if not (positives and negatives and np.isfinite(s).all() and _binary(y)):
        return math.nan
    _, place, counts = np.unique(s, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[place.ravel()]  # ties share their mean rank
    above = float(ranks[y == 1].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)


def log_losses(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> Floats:
    """Negative log likelihood of each row, in nats; NaN where the probability is no probability.

    Args:
        labels: 0 or 1, shape (rows,).
        probabilities: predicted probability of a 1, shape (rows,); clipped at `SMALLEST_PROBABILITY`.

    Returns:
        Shape (rows,), 0 or more. A label other than 0 and 1, and a probability outside 0 to 1, give NaN.

    >>> log_losses([1, 0, 1], [0.5, 0.5, 1.5]).round(4).tolist()
    [0.6931, 0.6931, nan]
    """
    y, p = _pair(labels, probabilities)
    valid = ((y == 0) | (y == 1)) & (p >= 0) & (p <= 1)
    inside = np.clip(np.where(valid, p, 0.5), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    loss = -np.where(y == 1, np.log(inside), np.log1p(-inside))
    return np.where(valid, loss, math.nan)


def log_loss(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Mean of `log_losses`; NaN without rows."""
    return mean(log_losses(labels, probabilities))


def value_deviances(realised: npt.ArrayLike, predicted: npt.ArrayLike) -> Floats:
    """Poisson deviance of each row's value, a proper loss for an expected value that is often 0.

    2 (y log(y / m) - y + m) with realised y and predicted m (McCullagh and Nelder, Generalized Linear Models,
    section 2.3). The expected net value minimises it, as it does the squared error, but a single dear stay
    weighs in proportion to its value, not to its square.

    Args:
        realised: 0 or more, shape (rows,), in any unit of money.
        predicted: above 0 wherever the realised value is, shape (rows,), in the same unit.

    Returns:
        Shape (rows,), in that unit; NaN where a value is negative, infinite where 0 was predicted and came not.
    """
    y, m = _pair(realised, predicted)
    valid = (y >= 0) & (m >= 0) & np.isfinite(y) & np.isfinite(m)
    y, m = np.where(valid, y, 0.0), np.where(valid, m, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(y > 0, y * (np.log(y) - np.log(m)), 0.0)
    return np.where(valid, 2 * (logs - y + m), math.nan)


def mean(values: npt.ArrayLike) -> float:
    """Mean as a plain float; NaN of nothing."""
    column = np.asarray(values, dtype=np.float64)
    return float(column.mean()) if column.size else math.nan


def net_value_ratio(predicted: npt.ArrayLike, realised: npt.ArrayLike) -> float:
    """Sum predicted over sum realised; 1 is calibrated, above 1 promises too much; NaN when nothing was realised.

    Any unit of money, or probabilities against events (then it is the COPC of click prediction). For its
    interval see `ml.evaluation.paired.ratio_bootstrap`.

    >>> net_value_ratio([100.0, 50.0], [120.0, 0.0])
    1.25
    """
    p, r = _pair(predicted, realised)
    total = float(r.sum())
    return float(p.sum()) / total if total else math.nan


@dataclass(frozen=True)
class CalibrationBin:
    """Rows whose prediction lay from `low` to `high`: their mean prediction and their mean outcome."""

    low: float
    high: float
    rows: int
    predicted: float
    realised: float

    def as_json(self) -> dict[str, Any]:
        """The five numbers by name."""
        return {
            "low": self.low,
            "high": self.high,
            "rows": self.rows,
            "predicted": self.predicted,
            "realised": self.realised,
        }


def calibration_table(realised: npt.ArrayLike, predicted: npt.ArrayLike, *, bins: int = 10) -> list[CalibrationBin]:
    """Mean prediction and mean outcome in bins of equal numbers of rows, lowest predictions first.

    Rows with the same prediction may fall into neighbouring bins. Fewer rows than bins give a bin per row.

    Raises:
        UsageError: `bins` is not positive, or a number is not finite.
    """
    y, p = _pair(realised, predicted)
    if bins < 1 or not (np.isfinite(y).all() and np.isfinite(p).all()):
        raise UsageError(
            "a calibration table needs finite numbers and at least one bin", next="drop such rows and count them"
        )
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, min(bins, max(len(order), 1))) if len(part)]
    return [
        CalibrationBin(float(p[i].min()), float(p[i].max()), len(i), float(p[i].mean()), float(y[i].mean()))
        for i in parts
    ]


def calibration_error(table: list[CalibrationBin]) -> float:
    """Expected calibration error: mean of |predicted - realised| over the bins, weighted by rows; NaN if empty."""
    rows = sum(part.rows for part in table)
    if not rows:
        return math.nan
    return sum(part.rows * abs(part.predicted - part.realised) for part in table) / rows


def _pair(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.asarray(first, dtype=np.float64).ravel(), np.asarray(second, dtype=np.float64).ravel()
    if len(a) != len(b):
        raise UsageError(
            f"{len(a)} outcomes cannot be compared with {len(b)} predictions", next="give one of each per row"
        )
    return a, b


def _binary(labels: Floats) -> bool:
    return bool(((labels == 0) | (labels == 1)).all())
