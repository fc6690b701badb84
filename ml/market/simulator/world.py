"""What stays the same from day to day: the hotels, the points of sale, the seasons."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[Any]
"""A structured array: one record a row."""

CITIES = ("lisbon", "porto", "madrid", "seville", "algarve", "madeira", "newyork")
_RESORT_PLACES = (4, 5)
_NEW_PLACE = 6
COUNTRIES = ("PT", "DE", "GB", "ES", "FR")
"""The points of sale: country sites of the partners, by the traveller's country."""
COUNTRY_SHARES = (0.45, 0.15, 0.15, 0.15, 0.10)
TAKE_SHARE = 0.12
"""What a booking earns of its value: 15 % commission less 3 % cost of service."""

_LAUNCH_SHARE = 0.25  # hotels of a new market, as a share of the old ones
_MAX_TRAFFIC_SHARE = 0.06  # no hotel dominates the market
_PEAK_DAY = 205  # of the year: the last week of July
_EPOCH = date(1970, 1, 1)
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday


@dataclass(frozen=True)
class World:
    """The hotels with their hidden qualities; every array has shape (hotels,) unless it says otherwise.

    `conversion` and `cancellation` are additions to the log odds; `by_device` has shape (hotels, 3), `by_country`
    (countries,). `new` marks the hotels of a market that is launched later; `popularity` sums to 1 over the others
    and to 1 over the new ones.
    """

    city: Ints
    resort: Bools
    stars: Floats
    rate: Floats
    popularity: Floats
    conversion: Floats
    by_device: Floats
    by_country: Floats
    cancellation: Floats
    new: Bools

    @classmethod
    def make(cls, seed: int, hotels: int) -> World:
        """Draw `hotels` hotels and, after them, a quarter as many of a market to be launched."""
        rng = np.random.default_rng([seed, 0])
        by_country = rng.normal(0.0, 0.20, len(COUNTRIES))
        old = _draw(rng, rng.integers(0, _NEW_PLACE, hotels))
        fresh = max(int(hotels * _LAUNCH_SHARE), 1)
        # What nobody knows of the new market: a room costs 1.6 times as much there, and clicks book less often.
        new = _draw(np.random.default_rng([seed, 1]), np.full(fresh, _NEW_PLACE), rate=1.6, conversion=-0.4)
        both = {name: np.concatenate([old[name], new[name]]) for name in old}
        return cls(**both, by_country=by_country, new=np.arange(hotels + fresh) >= hotels)

    @property
    def hotels(self) -> int:
        """How many hotels there are, the new ones included."""
        return len(self.city)


def _draw(rng: np.random.Generator, city: Ints, *, rate: float = 1.0, conversion: float = 0.0) -> dict[str, Any]:
    """Class, usual rate, popularity, and effects on conversion and cancellation of the hotels in these cities."""
    n = len(city)
    resort = np.isin(city, _RESORT_PLACES)
    stars = rng.choice([2.0, 3.0, 4.0, 5.0], n, p=[0.10, 0.40, 0.35, 0.15])
    return {
        "city": city,
        "resort": resort,
        "stars": stars,
        "rate": np.round(rate * np.exp(rng.normal(4.45 + 0.22 * (stars - 3) + 0.10 * resort, 0.35))),
        "popularity": _popularity(rng, n),
        "conversion": rng.normal(conversion, 0.45, n),
        "by_device": rng.normal(0.0, 0.30, (n, 3)),
        "cancellation": rng.normal(0.0, 0.40, n),
    }


def _popularity(rng: np.random.Generator, hotels: int) -> Floats:
    """Shares of traffic, heavy-tailed: Pareto(1.1) + 0.05, capped."""
    share = rng.pareto(1.1, hotels) + 0.05
    for _ in range(50):
        share = np.minimum(share / share.sum(), max(_MAX_TRAFFIC_SHARE, 2 / hotels))
    normed: Floats = share / share.sum()
    return normed


def season(day_number: npt.ArrayLike, resort: npt.ArrayLike) -> Floats:
    """Demand relative to the year's middle, by day since 1970: `exp(a cos(2 pi (d - 205) / 365))`, a = .18 or .45."""
    angle = 2 * np.pi * ((np.asarray(day_number) % 365.25) - _PEAK_DAY) / 365.25
    swing: Floats = np.exp(np.where(resort, 0.45, 0.18) * np.cos(angle))
    return swing


def weekend(day_number: npt.ArrayLike) -> Bools:
    """Whether a day since 1970 is a Friday, Saturday or Sunday."""
    weekdays: Bools = (np.asarray(day_number) + _EPOCH_WEEKDAY) % 7 >= 4
    return weekdays


def number_of(day: date) -> int:
    """Days since 1970."""
    return (day - _EPOCH).days


def stream(seed: int, day: date, number: int) -> np.random.Generator:
    """The random numbers of one purpose on one day, independent of every other."""
    return np.random.default_rng([seed, day.toordinal(), number])
