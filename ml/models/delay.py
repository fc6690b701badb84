"""Bookings follow clicks late: which share of them is known by the age of a click.

The completion factors of a chain ladder, without its calendar cells. A booking `d` days after its click is seen only
where the click is at least so old: the delays seen are truncated on the right. Their distribution is the product limit
over the reversed clock (Lynden-Bell 1971), `F(t) = product over delays s > t of (1 - dN(s) / Y(s))`, with `dN(s)`
bookings at delay s and `Y(s)` bookings of at most that delay on clicks of at least that age. Old cohorts, whose
bookings are all known, carry the late part; young ones add to the early part without biasing it.

Partners and lead times differ (nobody books tonight's room next week), but most have too few bookings for a curve.
A cell's curve is the pooled one with the reversed hazard of each band of delays scaled by
`(seen + a) / (expected + a)`, the Gamma-Poisson shrinkage of `ml.models.shrinkage`, with `a` from the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ml.models.numbers import Bools, Floats, Ints
from ml.models.shrinkage import fit_strength

HORIZON_DAYS = 30
"""A booking is counted to a click for so long."""

BANDS_DAYS = (0.0, 0.25, 1.0, 3.0, 7.0, 14.0, float(HORIZON_DAYS))
"""In each of these bands of delay a cell is slower or faster than the pool by one factor."""

_HOURS = (0.5, 1, 2, 3, 4, 6, 8, 10, 12, 15, 18, 21)
KNOTS_DAYS: Floats = np.unique([0.0, *(hour / 24 for hour in _HOURS), *np.arange(1, HORIZON_DAYS + 1)])
"""Ages at which the factors are kept; between them they are interpolated."""

_SMALLEST_FACTOR = 0.01
_LARGEST_STEP = 20.0
_BAND_USUAL = 0.3


@dataclass(frozen=True)
class Completion:
    """Completion factors.

    Attributes:
        pooled: the factor at each of `KNOTS_DAYS`, non-decreasing up to 1.
        cells: the same per cell, by name.
    """

    pooled: Floats
    cells: Mapping[str, Floats] = field(default_factory=dict)

    @classmethod
    def none(cls) -> Completion:
        """Every booking is known at once."""
        return cls(np.ones(len(KNOTS_DAYS)))

    @classmethod
    def fit(
        cls, age: npt.ArrayLike, delay: npt.ArrayLike, booked: Bools, *, cell: Sequence[str] | None = None
    ) -> Completion:
        """Estimate it from clicks of any age.

        Args:
            age: days from each click to the instant of knowledge, shape (n,), at least 0; whole or not.
            delay: days from click to the booking known of it, shape (n,), at most the age; only read where `booked`.
            booked: whether a booking is known, shape (n,).
            cell: the cell of each click, such as partner and lead bucket, shape (n,); none pools all of them.
        """
        seen = booked & (np.asarray(delay, dtype=np.float64) <= HORIZON_DAYS)
        delays = np.asarray(delay, dtype=np.float64)[seen]
        ages = np.maximum(np.asarray(age, dtype=np.float64)[seen], delays)
        if not len(delays):
            return cls.none()
        at, on = np.unique(delays, return_counts=True)
        step = np.minimum(-np.log1p(-np.minimum(on / _at_risk(delays, ages, at), 1 - 1e-12)), _LARGEST_STEP)
        pooled = _factors(at, step)
        if cell is None:
            return cls(pooled)
        names, code = np.unique(np.asarray(cell, dtype=object).astype(str)[seen], return_inverse=True)
        ratio = _ratios(delays, ages, code.ravel(), len(names), at, step)
        band = _band(at)
        return cls(pooled, {str(name): _factors(at, step * ratio[n, band]) for n, name in enumerate(names)})

    def at(self, age: npt.ArrayLike, cell: Sequence[str] | None = None) -> Floats:
        """The factor of each age in days, shape (n,), above 0 to 1: 1 beyond the horizon; by the pooled curve where no
        cell is given, and of a cell that was not seen."""
        ages = np.asarray(age, dtype=np.float64)
        found = np.interp(ages, KNOTS_DAYS, self.pooled)
        if cell is not None:
            names, code = np.unique(np.asarray(cell, dtype=object).astype(str), return_inverse=True)
            for n, name in enumerate(names):
                if name in self.cells:
                    rows = code.ravel() == n
                    found[rows] = np.interp(ages[rows], KNOTS_DAYS, self.cells[name])
        return np.maximum(found, _SMALLEST_FACTOR)


def _at_risk(delays: Floats, ages: Floats, at: Floats) -> Ints:
    """Bookings of at most each delay `at`, on clicks of at least that age; shape of `at`."""
    by_then = np.searchsorted(np.sort(delays), at, side="right")
    too_young = np.searchsorted(np.sort(ages), at, side="left")
    return (by_then - too_young).astype(np.int64)


def _factors(at: Floats, step: Floats) -> Floats:
    """`exp(-sum of steps later than t)` at each knot."""
    later = np.concatenate([np.cumsum(step[::-1])[::-1], [0.0]])
    return np.asarray(np.exp(-later[np.searchsorted(at, KNOTS_DAYS, side="right")]), dtype=np.float64)


def _band(at: Floats) -> Ints:
    return np.clip(np.searchsorted(BANDS_DAYS, at, side="right") - 1, 0, len(BANDS_DAYS) - 2).astype(np.int64)


def _ratios(delays: Floats, ages: Floats, code: Ints, cells: int, at: Floats, step: Floats) -> Floats:
    """How much faster each cell's reversed hazard is than the pool's, shape (cells, bands), shrunk towards 1."""
    bands = len(BANDS_DAYS) - 1
    seen, expected = np.zeros((cells, bands)), np.zeros((cells, bands))
    for n in range(cells):
        own = code == n
        seen[n] = np.bincount(_band(delays[own]), minlength=bands)
        due = _at_risk(delays[own], ages[own], at) * -np.expm1(-step)
        expected[n] = np.bincount(_band(at), due, minlength=bands)
    strength = np.array([fit_strength(seen[:, b], expected[:, b], usual=_BAND_USUAL) for b in range(bands)])
    return np.asarray((seen + strength) / (expected + strength), dtype=np.float64)
