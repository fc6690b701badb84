"""How well single columns tell outcomes by themselves: where one does nearly alone, it was filled in after the outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml.evaluation.metrics import auc

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]

BINS = 64
WEIGHT = 5.0
"""A category counts as so many rows of the mean outcome besides its own, so that a rare one does not tell much."""


def strongest(
    rows: pd.DataFrame, columns: Sequence[str], labels: npt.ArrayLike, block: npt.ArrayLike
) -> tuple[str, float]:
    """The column that tells the label best by itself, and its AUC.

    Each value (a number by its quantile, missing as a value of its own) is scored by the mean label that it had in the other
    half of the blocks, so that neither many values nor an odd order of them can hide or feign anything.

    Args:
        rows: shape (n,), with `columns`.
        columns: those that a model reads.
        labels: 0 or 1, shape (n,).
        block: what the halves are made of, such as the day; shape (n,).

    Returns:
        The name, and an AUC of 0.5 to 1; NaN where a class is empty, an empty name where there is no column.
    """
    outcome = np.asarray(labels, dtype=np.float64)
    number = np.unique(np.asarray(block), return_inverse=True)[1]
    half = (number if number.max(initial=0) else np.arange(len(outcome))) % 2 == 0
    found = {name: _alone(_codes(rows[name]), outcome, half) for name in columns if name in rows}
    best = max(found, key=lambda name: found[name], default="")
    return best, found.get(best, float("nan"))


def _alone(codes: npt.NDArray[np.intp], outcome: Floats, half: npt.NDArray[np.bool_]) -> float:
    score = np.empty(len(outcome))
    values = int(codes.max(initial=0)) + 1
    for mine in (half, ~half):
        other = ~mine
        mean = float(outcome[other].mean()) if other.any() else 0.0
        counts = np.bincount(codes[other], minlength=values)
        sums = np.bincount(codes[other], weights=outcome[other], minlength=values)
        score[mine] = ((sums + WEIGHT * mean) / (counts + WEIGHT))[codes[mine]]
    return auc(outcome, score)


def _codes(column: pd.Series[Any]) -> npt.NDArray[np.intp]:
    """Values as small numbers; what is missing has one of its own."""
    import pandas as pd

    if not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column)):
        return np.asarray(pd.factorize(column.astype(object), use_na_sentinel=False)[0], dtype=np.intp)
    if pd.api.types.is_datetime64_any_dtype(column):
        column = column.astype("int64")
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    there = np.isfinite(numbers)
    if not there.any():
        return np.zeros(len(numbers), dtype=np.intp)
    values = np.unique(numbers[there])
    edges = values if len(values) <= BINS else np.unique(np.quantile(numbers[there], np.arange(1, BINS) / BINS))
    codes = np.searchsorted(edges, numbers, side="right")
    return np.where(there, codes, len(edges) + 1).astype(np.intp)
