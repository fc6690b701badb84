"""What a partner may cost on a day, and when within the day its traffic comes: the figures that a day is paced by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

QUARTERS: Final = 96
"""Quarters of an hour of a UTC day."""
QUARTER_US: Final = 900_000_000
LEAST_SEEN: Final = 10 * QUARTERS
"""Searches below which nobody can say when in the day they come."""

_DIGITS = 6


class DayBudget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The figures of one partner.

    Attributes:
        budget_micros: what it may cost on a UTC day, above 0.
        shares: expected share of the day's traffic in each quarter of an hour from midnight UTC; `QUARTERS` of them, 0 or more,
            with a sum of 1 but for rounding.
        known: whether the shares were seen; else they are all the same.
    """

    budget_micros: int
    shares: tuple[float, ...]
    known: bool

    def __post_init__(self) -> None:
        """ValueError where it is no such thing: a plan that holds it is refused."""
        if self.budget_micros <= 0 or len(self.shares) != QUARTERS or not all(share >= 0 for share in self.shares):
            raise ValueError(f"a budget of {self.budget_micros} with {len(self.shares)} shares of a day paces nothing")
        if not 0.99 < sum(self.shares) < 1.01:
            raise ValueError("the shares of a day do not come to 1")


def day_budget(budget_micros: int, seen: Sequence[int] | npt.NDArray[np.int64]) -> DayBudget:
    """The figures of a partner whose searches of the last weeks are these.

    Neighbouring quarters are averaged in threes, since one busy quarter on one day is no habit, and one search is added to
    each, so that no quarter is expected to have none.

    Args:
        budget_micros: what it may cost on a day, above 0.
        seen: searches in each quarter of the UTC day, shape (QUARTERS,); all of them in the first where only dates are known.

    >>> day_budget(5_000_000, [0] * 96).known
    False
    >>> busy = day_budget(5_000_000, [0] * 48 + [100] * 48)
    >>> busy.known, round(sum(busy.shares[48:]), 2)
    (True, 0.98)
    """
    counts = np.asarray(seen, dtype=np.float64)
    if counts.sum() < LEAST_SEEN or (counts > 0).sum() <= 1:
        return DayBudget(budget_micros, (round(1 / QUARTERS, _DIGITS),) * QUARTERS, known=False)
    smooth = (np.roll(counts, 1) + counts + np.roll(counts, -1)) / 3 + 1
    return DayBudget(budget_micros, tuple(np.round(smooth / smooth.sum(), _DIGITS).tolist()), known=True)
