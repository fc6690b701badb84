"""How far apart two windows of days were when nothing was wrong, and how odd a distance is beside that.

A column's past windows give distances d_1 .. d_n under "nothing happened" (A/A windows). A squared distance is much
like a sum of squares of normal errors, whose cube root is nearly normal (Wilson and Hilferty 1931), so z = d^(2/3) is
taken for Student-distributed: centre c, spread s = c r, and as many independent windows m as fit into the days without
overlap. The chance of a distance as large as d, were nothing wrong, is

    p(d) = P(T > (z - c) / (s sqrt(1 + 1/m))),  T of Student with v degrees of freedom

the predictive distribution of one more window, not an interval of those seen. Few windows make r a guess, so it leans
on the relative spread of the other columns (Smyth 2004, moderated t): r^2 = (v0 r0^2 + (m - 1) r_own^2) / (v0 + m - 1),
v = v0 + m - 1. Nothing here knows how many rows a window has: with more of them the past distances shrink as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtr, stdtrit

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALLEST_DISTANCE = 1e-4
"""Added to every distance: two equal windows have none, and no column is believed to be steadier than that."""

PRIOR_WINDOWS = 8.0
"""How many independent windows the spread of the other columns counts for (v0)."""

SMALLEST_SPREAD = 0.15
"""Relative: no column is believed to be steadier than this."""

UPPER = 0.9
_UPPER_Z = 1.2815515655446004
_MAD_Z = 1.4826


@dataclass(frozen=True)
class Null:
    """The distribution of a column's distance when nothing is wrong.

    Attributes:
        centre: of transformed distances.
        scale: of transformed distances, for one more window.
        freedom: Student's degrees of freedom.
        largest: the largest distance of the past windows.
        past: how many past windows it rests on.
    """

    centre: float
    scale: float
    freedom: float
    largest: float
    past: int

    def chance(self, distance: float) -> float:
        """The chance of a distance at least so large when nothing is wrong; never below what a larger past one says."""
        tail = float(stdtr(self.freedom, (self.centre - float(_transformed(distance))) / self.scale))
        return max(tail, 2.0 / (1.0 + self.past)) if distance <= self.largest else tail

    def distance(self, chance: float) -> float:
        """The distance that is exceeded with this chance when nothing is wrong; at least the largest seen."""
        quantile = -float(stdtrit(self.freedom, chance))
        root = max(self.centre + self.scale * quantile, 0.0)
        return max(float(root**1.5) - SMALLEST_DISTANCE, self.largest)


def own_spread(past: NDArray[np.float64]) -> float:
    """Robust relative spread of transformed distances: of their middle or of their upper tail, whichever is larger."""
    known = _transformed(past)
    middle = np.median(known)
    around = _MAD_Z * np.median(np.abs(known - middle))
    above = (np.quantile(known, UPPER) - middle) / _UPPER_Z
    return float(max(around, above) / middle)


def null(past: NDArray[np.float64], *, independent: float, others: float) -> Null:
    """The null distribution of a column.

    Args:
        past: distances of past windows, finite, shape (windows,).
        independent: how many of them do not overlap (m).
        others: the relative spread of the other columns (r0).
    """
    known = max(independent - 1.0, 0.0)
    variance = (PRIOR_WINDOWS * others**2 + known * own_spread(past) ** 2) / (PRIOR_WINDOWS + known)
    spread = max(float(np.sqrt(variance)), SMALLEST_SPREAD)
    centre = float(np.median(_transformed(past)))
    scale = centre * spread * float(np.sqrt(1.0 + 1.0 / max(independent, 1.0)))
    return Null(centre, scale, PRIOR_WINDOWS + known, float(past.max()), len(past))


def _transformed(distance: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(np.cbrt((np.asarray(distance) + SMALLEST_DISTANCE) ** 2))
