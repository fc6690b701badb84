"""What stays the same from day to day: the hotels, the rivals, the seasons."""

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

HOTELS = 60
CITIES = ("lisbon", "porto", "madrid", "seville", "algarve", "madeira")
_RESORT_PLACES = (4, 5)
COUNTRIES = ("PT", "DE", "GB", "ES", "FR")
COUNTRY_SHARES = (0.45, 0.15, 0.15, 0.15, 0.10)
TAKE_SHARE = 0.12
"""What a booking earns of its value: 15 % commission less 3 % cost of service."""

_MAX_TRAFFIC_SHARE = 0.08  # no hotel dominates the market
_PEAK_DAY = 205  # of the year: the last week of July
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday


@dataclass(frozen=True)
class Rivals:
    """Six competitors: two large agencies, two middling ones, one that undercuts, one hotel's own site; shape (6,)."""

    price_mean: Floats
    price_sd: Floats
    presence: Floats
    aggression: Floats
    bid_sd: float = 0.55


RIVALS = Rivals(
    price_mean=np.array([0.0, 0.0, 0.005, 0.01, -0.04, -0.01]),
    price_sd=np.array([0.02, 0.02, 0.025, 0.03, 0.04, 0.07]),
    presence=np.array([0.93, 0.88, 0.70, 0.60, 0.45, 0.50]),
    aggression=np.array([1.25, 1.10, 0.95, 0.85, 0.70, 0.60]),
)


@dataclass(frozen=True)
class World:
    """The hotels with their hidden qualities; every array has shape (hotels,) unless it says otherwise.

    `conversion` and `cancellation` are additions to the log odds; `by_device` has shape (hotels, 3).
    """

    city: Ints
    resort: Bools
    stars: Floats
    rate: Floats
    popularity: Floats
    conversion: Floats
    by_device: Floats
    cancellation: Floats

    @classmethod
    def make(cls, seed: int) -> World:
        """Draw the hotels: class, usual rate, popularity, and effects on conversion and cancellation."""
        rng = np.random.default_rng([seed, 0])
        city = rng.integers(0, len(CITIES), HOTELS)
        resort = np.isin(city, _RESORT_PLACES)
        stars = rng.choice([2.0, 3.0, 4.0, 5.0], HOTELS, p=[0.10, 0.40, 0.35, 0.15])
        rate = np.exp(rng.normal(4.45 + 0.22 * (stars - 3) + 0.10 * resort, 0.35))
        return cls(
            city=city,
            resort=resort,
            stars=stars,
            rate=np.round(rate).astype(np.float64),
            popularity=_popularity(rng),
            conversion=rng.normal(0.0, 0.45, HOTELS) + rng.normal(0.0, 0.20),
            by_device=rng.normal(0.0, 0.30, (HOTELS, 3)),
            cancellation=rng.normal(0.0, 0.40, HOTELS),
        )


def _popularity(rng: np.random.Generator) -> Floats:
    """Shares of traffic, heavy-tailed: Pareto(1.1) + 0.05, capped."""
    share = rng.pareto(1.1, HOTELS) + 0.05
    for _ in range(50):
        share = np.minimum(share / share.sum(), _MAX_TRAFFIC_SHARE)
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


def stream(seed: int, day: date, number: int) -> np.random.Generator:
    """The random numbers of one purpose on one day, independent of every other."""
    return np.random.default_rng([seed, day.toordinal(), number])
