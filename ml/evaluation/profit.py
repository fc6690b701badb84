"""What bids by a model's worth would have earned on the same logged clicks: expected utility.

For a click that brought `V` and cost `c`, a bid `b` against prices that lie around `c` earns `U = integral of (V - x) over the
density of x up to b` (O. Chapelle, "Offline Evaluation of Response Prediction in Online Advertising Auctions", WWW 2015). It is
linear in V, so that what came of a click may stand for what was to be expected of it; and it is a proper score of worth in money:
no bid earns more on average than the true worth, promising too much pays prices above it, promising too little leaves clicks away.
Replaying the logged price alone (all or nothing at c) would not see a bid that is too high, and would jump at c.

The density is a gamma with mean c and coefficient of variation `PRICE_SPREAD`. Only clicks that we won are seen, for both
models alike: it compares, it does not forecast. Bids here are the worth itself: how far below it a policy bids is the same for both models.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import gammainc

Floats: TypeAlias = npt.NDArray[np.float64]

PRICE_SPREAD = 0.7
"""Spread of clearing prices around one that was paid: their logarithms spread by 0.8 to 1.2 over a whole campaign."""


def expected_utility(bids: npt.ArrayLike, values: npt.ArrayLike, costs: npt.ArrayLike) -> Floats:
    """Expected profit of each click, shape (n,), in the unit of the arguments.

    Args:
        bids: what is bid for each click, 0 or more, shape (n,).
        values: what came of it, shape (n,).
        costs: what it cost, shape (n,); a click that cost nothing says nothing of prices and gives NaN.

    >>> worth = expected_utility([0.5, 1.0, 2.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0])
    >>> bool(worth[1] > worth[0] and worth[1] > worth[2])
    True
    """
    b, v, c = (np.asarray(column, dtype=np.float64) for column in (bids, values, costs))
    shape = PRICE_SPREAD**-2
    with np.errstate(divide="ignore", invalid="ignore"):
        at = b * shape / c
    at = np.where(c > 0, at, np.nan)
    return np.asarray(v * gammainc(shape, at) - c * gammainc(shape + 1, at), dtype=np.float64)
