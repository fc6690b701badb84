"""What watchers look at: sums per market day of each partner and point of sale, and of the market as a whole.

Everything is a sum, so that a partner is the sum of its points of sale, and a ratio is made of sums by whoever asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

NO_CLICK = "(no click)"
"""Stands as the partner of bookings that no click is credited with."""


@dataclass(frozen=True, order=True)
class Scope:
    """A part of the market: a partner, a point of sale, or one in the other; empty names mean all of them.

    >>> str(Scope()), str(Scope("google")), str(Scope("", "DE")), str(Scope("google", "DE"))
    ('the market', 'google', 'DE', 'google in DE')
    """

    partner: str = ""
    point_of_sale: str = ""

    def __str__(self) -> str:
        if self.partner and self.point_of_sale:
            return f"{self.partner} in {self.point_of_sale}"
        return self.partner or self.point_of_sale or "the market"

    def covers(self, leaf: Scope) -> bool:
        """Whether a part lies in this one."""
        return self.partner in ("", leaf.partner) and self.point_of_sale in ("", leaf.point_of_sale)


MARKET = Scope()


@dataclass(frozen=True)
class MarketSeries:
    """Daily sums up to the judged day. Every name is in `SUMS` or `WHOLE` of `monitoring.watchers.measures`.

    Attributes:
        days: consecutive market days, ascending; the last one is judged.
        leaves: the partner and point of sale of each row.
        sums: by name, shape (leaves, days); NaN on a day that did not land.
        hourly: by name, shape (leaves, days, 24): the same by the UTC hour.
        whole: by name, shape (days,): what has no partner; NaN where it is not known.
        missing: why a name is in none of these.
        held: days that nothing may be learned from; they are no reference, and no bet is placed on them.
        masked: days of an outage or a broken feed: no reference either, but looked at as long as it lasts.
        take_share: what a booking earns, as a share of its value; None where that is not known.
    """

    days: tuple[date, ...]
    leaves: tuple[Scope, ...]
    sums: Mapping[str, Floats]
    hourly: Mapping[str, Floats] = field(default_factory=dict)
    whole: Mapping[str, Floats] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    held: frozenset[date] = frozenset()
    masked: frozenset[date] = frozenset()
    take_share: float | None = None

    @property
    def day(self) -> date:
        """The judged day."""
        return self.days[-1]

    @cached_property
    def usable(self) -> npt.NDArray[np.bool_]:
        """Days that may serve as reference, shape (days,): neither held nor masked."""
        return np.array([day not in self.held and day not in self.masked for day in self.days])

    @cached_property
    def watched(self) -> npt.NDArray[np.bool_]:
        """Days that are looked at, shape (days,): the judged one, and those that are not held."""
        return np.array([day not in self.held or day == self.day for day in self.days])

    @cached_property
    def scopes(self) -> tuple[Scope, ...]:
        """What is judged: the market, each partner, each point of sale."""
        real = [leaf for leaf in self.leaves if leaf.partner != NO_CLICK]
        partners = sorted({leaf.partner for leaf in real})
        points = sorted({leaf.point_of_sale for leaf in real})
        found = [MARKET]
        found += [Scope(name) for name in partners] if len(partners) > 1 else []
        found += [Scope("", name) for name in points] if len(points) > 1 else []
        return tuple(found)

    def sum(self, name: str, scope: Scope = MARKET) -> Floats | None:
        """A measure of a part of the market by day, shape (days,); None where the source does not provide it."""
        found = self.sums.get(name)
        return None if found is None else np.asarray(found[self._rows(scope)].sum(axis=0))

    def need(self, name: str, scope: Scope = MARKET) -> Floats:
        """A measure that `why_missing` was asked about, by day, shape (days,)."""
        found = self.sum(name, scope)
        if found is None:
            raise KeyError(name)
        return found

    def hours(self, name: str, scope: Scope = MARKET) -> Floats | None:
        """The same by day and hour, shape (days, 24)."""
        found = self.hourly.get(name)
        return None if found is None else np.asarray(found[self._rows(scope)].sum(axis=0))

    def why_missing(self, *names: str) -> str:
        """Why the first of these that is missing is not there; empty where all are."""
        for name in names:
            if name not in self.sums and name not in self.whole:
                return self.missing.get(name, f"the source does not provide {name.replace('_', ' ')}")
        return ""

    def up_to(self, day: date) -> MarketSeries:
        """The series as they end with an earlier day."""
        n = self.days.index(day) + 1
        return replace(
            self,
            days=self.days[:n],
            sums={name: found[:, :n] for name, found in self.sums.items()},
            hourly={name: found[:, :n] for name, found in self.hourly.items()},
            whole={name: found[:n] for name, found in self.whole.items()},
        )

    def _rows(self, scope: Scope) -> npt.NDArray[np.bool_]:
        return np.array([scope.covers(leaf) and (scope == MARKET or leaf.partner != NO_CLICK) for leaf in self.leaves])
