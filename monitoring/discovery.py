"""Which of many columns moved, when each is tested: false discoveries held to a share (Benjamini and Hochberg 1995).

With weights (Genovese, Roeder and Wasserman 2006): a column that carries much of the model's gain needs less proof
than one that carries little; the weights' mean is one, so that the share of false discoveries stays what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RATE = 0.05
"""Of the discoveries of a day, the share that may be false; on a quiet day, the chance of any."""

EVEN = 0.5
"""Part of a weight that every column has; the rest follows its importance."""


@dataclass(frozen=True)
class Discovery:
    """One test: its adjusted p-value (`q`), and the p-value up to which it would have been a discovery (`cutoff`)."""

    q: float
    cutoff: float


def discoveries(chances: Sequence[float], weights: Sequence[float], *, rate: float = RATE) -> list[Discovery]:
    """Judge tests together.

    Args:
        chances: p-value of each test.
        weights: of each test, positive, with mean one.
        rate: share of false discoveries allowed.

    Returns:
        One discovery per test, in the same order: `q` <= `rate` exactly where the p-value is at most `cutoff`.

    >>> [round(found.q, 3) for found in discoveries([0.001, 0.02, 0.5], [1.0, 1.0, 1.0])]
    [0.003, 0.03, 0.5]
    """
    weight = np.asarray(weights, dtype=np.float64)
    weighted = np.asarray(chances, dtype=np.float64) / weight
    count = len(weighted)
    order = np.argsort(weighted, kind="stable")
    ranks = np.arange(1, count + 1)
    stepped = np.minimum.accumulate((weighted[order] * count / ranks)[::-1])[::-1]
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(stepped, 1.0)
    found = max(int((adjusted <= rate).sum()), 1)
    cutoffs = np.minimum(rate * found / max(count, 1) * weight, 1.0)
    return [Discovery(float(q), float(cutoff)) for q, cutoff in zip(adjusted, cutoffs, strict=True)]


def weights(importance: Sequence[float | None]) -> list[float]:
    """Weights with mean one: half even, half by importance; None is a test whose importance is not told, an average one.

    >>> weights([0.6, 0.2, None])
    [1.25, 0.75, 1.0]
    """
    told = [max(share, 0.0) for share in importance if share is not None]
    total = sum(told)
    if not told or total <= 0:
        return [1.0] * len(importance)
    mean = total / len(told)
    return [1.0 if share is None else EVEN + (1.0 - EVEN) * max(share, 0.0) / mean for share in importance]
