"""Means per bidding cell, shrunk towards coarser cells where a cell has seen little."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from ml.bidding.landscape import Floats

PRIOR_ROWS = 20.0
"""Weight, in rows, of the coarser cell's mean; a cell with 20 rows of its own counts half."""


def shrunk_means(
    rows: pd.DataFrame, values: Sequence[str], *, levels: Sequence[str], prior_rows: float = PRIOR_ROWS
) -> pd.DataFrame:
    """Mean of each of `values` per cell of `levels`, pulled towards the mean of the cell one level up.

    With levels (hotel, lead bucket, length of stay) the estimate of a cell is
    `(n * mean + prior_rows * parent) / (n + prior_rows)`, the parent being the same estimate for (hotel,
    lead bucket), whose parent is (hotel), whose parent is everything: the posterior mean of a normal
    model with known variance ratio.

    Args:
        rows: one row per observation, with the columns `levels` and `values`; at least one row.
        values: numeric columns to average.
        levels: from coarse to fine.
        prior_rows: strength of the parent, at least 0.

    Returns:
        One row per cell seen, sorted by `levels`: the levels, `rows` (observations) and each value.
    """
    *_, finest = _by_level(rows, list(values), levels, prior_rows)
    return finest[[*levels, "rows", *values]]


def shrunk_at(
    rows: pd.DataFrame, value: str, *, levels: Sequence[str], at: pd.DataFrame, prior_rows: float = PRIOR_ROWS
) -> Floats:
    """The same estimate of one column for cells that may not have been seen: then that of the nearest coarser one.

    Args:
        rows, levels, prior_rows: as of `shrunk_means`.
        value: the numeric column.
        at: the cells asked for, with the columns `levels`; shape (n,).

    Returns:
        Shape (n,), in the order of `at`.
    """
    found = pd.Series(float(rows[value].mean()), index=range(len(at)))
    for depth, estimate in enumerate(_by_level(rows, [value], levels, prior_rows), start=1):
        keys = list(levels[:depth])
        own = at[keys].merge(estimate[[*keys, value]], on=keys, how="left", validate="m:1")[value]
        found = own.where(own.notna(), found)
    return np.asarray(found, dtype=np.float64)


def _by_level(
    rows: pd.DataFrame, values: list[str], levels: Sequence[str], prior_rows: float
) -> Iterator[pd.DataFrame]:
    """The estimates of each level, from the coarsest: its keys, `rows` and the values."""
    estimate = rows[values].mean().to_frame().T
    for depth in range(1, len(levels) + 1):
        keys = list(levels[:depth])
        own = rows.groupby(keys, observed=True, sort=True)[values].agg("sum")
        counts = rows.groupby(keys, observed=True, sort=True).size()
        parent_keys = keys[:-1]
        if parent_keys:
            parent = own.reset_index()[parent_keys].merge(estimate, on=parent_keys, how="left", validate="m:1")
            prior = parent[values].to_numpy()
        else:
            prior = estimate[values].to_numpy()
        weight = counts.to_numpy()[:, None]
        estimate = own.reset_index()
        estimate[values] = (own[values].to_numpy() + prior_rows * prior) / (weight + prior_rows)
        estimate["rows"] = counts.to_numpy()
        yield estimate
