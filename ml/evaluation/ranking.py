"""How well a list of offers was ranked, and how probable the one was that was clicked; a number per list.

The lists of one session are not independent: for an interval of a mean, resample whole sessions
(`ml.evaluation.paired.ratio_bootstrap` with the session as the block).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ml.core.errors import UsageError
from ml.evaluation.metrics import SMALLEST_PROBABILITY

Floats: TypeAlias = npt.NDArray[np.float64]


def list_starts(lists: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """Where each list begins, of rows whose lists stand together; shape (lists,).

    Raises:
        UsageError: a list stands in two places.

    >>> list_starts(["a", "a", "b"]).tolist()
    [0, 2]
    """
    names: npt.NDArray[Any] = np.asarray(lists)
    starts = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]])) if len(names) else np.empty(0, np.intp)
    if len(np.unique(names[starts])) != len(starts):
        raise UsageError("the rows of a list do not stand together", next="sort the rows by list")
    return starts


def reciprocal_ranks(clicked: npt.ArrayLike, scores: npt.ArrayLike, lists: npt.ArrayLike) -> Floats:
    """One over the rank of the offer clicked when a list is ordered by falling score; shape (lists,).

    Ties count as the mean of their ranks, so that a constant score gains nothing. Their mean over lists is the MRR.

    Args:
        clicked: 1 for the one offer of its list that was clicked, else 0, shape (rows,).
        scores: any finite numbers, shape (rows,).
        lists: the list of each row, shape (rows,); the rows of one stand together.

    Raises:
        UsageError: the lengths differ, a list has not exactly one click, or a score is not finite.

    >>> reciprocal_ranks([0, 1, 1], [0.9, 0.4, 0.1], ["a", "a", "b"]).tolist()
    [0.5, 1.0]
    """
    y, s, starts, sizes = _checked(clicked, scores, lists)
    own = np.repeat(s[y == 1], sizes)
    above = np.add.reduceat((s > own).astype(np.float64), starts)
    level = np.add.reduceat((s == own).astype(np.float64), starts)
    return np.asarray(1.0 / (above + (level + 1.0) / 2.0), dtype=np.float64)


def list_log_losses(clicked: npt.ArrayLike, probabilities: npt.ArrayLike, lists: npt.ArrayLike) -> Floats:
    """Negative logarithm of the probability of the offer clicked, in nats; shape (lists,), 0 or more.

    Args:
        clicked: as in `reciprocal_ranks`.
        probabilities: that the offer is the one clicked of its list, shape (rows,); 1 in sum over each list.
        lists: as in `reciprocal_ranks`.

    Raises:
        UsageError: as in `reciprocal_ranks`, or the probabilities of a list do not sum to 1.

    >>> list_log_losses([0, 1], [0.5, 0.5], ["a", "a"]).round(4).tolist()
    [0.6931]
    """
    y, p, starts, _ = _checked(clicked, probabilities, lists)
    if (p < 0).any() or not np.allclose(np.add.reduceat(p, starts), 1.0, atol=1e-6):
        raise UsageError("the probabilities of a list do not sum to 1", next="divide them by their sum")
    return np.asarray(-np.log(np.maximum(p[y == 1], SMALLEST_PROBABILITY)), dtype=np.float64)


def softmax(utilities: Floats, starts: npt.NDArray[np.intp]) -> Floats:
    """Probabilities within each list, shape (rows,), of utilities; the lists begin at `starts`."""
    sizes = np.diff(np.append(starts, len(utilities)))
    share = np.exp(utilities - np.repeat(np.maximum.reduceat(utilities, starts), sizes))
    return np.asarray(share / np.repeat(np.add.reduceat(share, starts), sizes), dtype=np.float64)


def _checked(
    clicked: npt.ArrayLike, scores: npt.ArrayLike, lists: npt.ArrayLike
) -> tuple[Floats, Floats, npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    y, s = np.asarray(clicked, dtype=np.float64).ravel(), np.asarray(scores, dtype=np.float64).ravel()
    starts = list_starts(lists)
    if not len(y) == len(s) == len(np.asarray(lists)) or not len(y):
        raise UsageError("clicks, scores and lists differ in length, or are none", next="give one of each per row")
    if not np.isfinite(s).all():
        raise UsageError("a score is not finite", next="score every offer of a list")
    if not (np.add.reduceat(y, starts) == 1).all() or not ((y == 0) | (y == 1)).all():
        raise UsageError("a list has not exactly one click", next="leave such lists out and count them")
    return y, s, starts, np.diff(np.append(starts, len(y)))
