"""Bookings follow clicks late: which share of them is known by the age of a click.

The completion factors of a chain ladder: `F(a)` is the share of the bookings that ever follow which is known `a`
days after the click. Reading backwards from the horizon, `F(a) = product over j > a of (1 - r_j)`, where r_j is
the share that day j adds to what was known by its end, over the clicks that are old enough to have had day j.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.models.numbers import Bools, Floats, Ints

HORIZON_DAYS = 30
"""A booking is counted to a click for so long."""

_SMALLEST_FACTOR = 0.05


@dataclass(frozen=True)
class Completion:
    """Completion factors by age in whole days; shape (horizon + 1,), non-decreasing up to 1."""

    factors: Floats

    @classmethod
    def fit(cls, age: Ints, delay: Ints, booked: Bools) -> Completion:
        """Estimate it from clicks of any age.

        Args:
            age: whole days from each click to the instant of knowledge, shape (n,), at least 0.
            delay: whole days from click to the booking known of it, shape (n,); only read where `booked`.
            booked: whether a booking is known, shape (n,).
        """
        factors = np.ones(HORIZON_DAYS + 1)
        for day in range(HORIZON_DAYS, 0, -1):
            old_enough = booked & (age >= day)
            by_its_end = int((old_enough & (delay <= day)).sum())
            on_it = int((old_enough & (delay == day)).sum())
            share = on_it / by_its_end if by_its_end else 0.0
            factors[day - 1] = factors[day] * (1.0 - share)
        return cls(np.maximum(factors, _SMALLEST_FACTOR))

    def at(self, age: Ints) -> Floats:
        """The factor of each age, shape (n,); 1 beyond the horizon."""
        return self.factors[np.clip(age, 0, HORIZON_DAYS)]
