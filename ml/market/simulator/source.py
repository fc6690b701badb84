"""The simulated market as a source."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from ml.core.errors import NoData
from ml.core.settings import Settings
from ml.core.units import parse_day
from ml.market.simulator.bookings import BOOKING, MAX_LAG_DAYS, US_PER_DAY
from ml.market.simulator.day import Market, auction_day, origin_bookings
from ml.market.simulator.fates import LONGEST_FATE_DAYS
from ml.market.simulator.frames import (
    PARTNER,
    bookings_frame,
    clicks_frame,
    events_frame,
    hotels_frame,
    opportunities_frame,
)
from ml.market.simulator.world import Ints, Rows, World

if TYPE_CHECKING:
    import pandas as pd

FIRST_DAY = date(2025, 1, 6)
"""A Monday. Bookings made before it are told too, as far as they become known or end after it."""

_CLOCKS = ("known", "event_known", "settled")
_MEMORY_DAYS = MAX_LAG_DAYS + LONGEST_FATE_DAYS


class Simulator:
    """The market of `ml.market.simulator`; `fetch(day)` depends on the settings and the day alone."""

    name = "simulator"
    tables = ("hotels", "opportunities", "clicks", "bookings", "booking_events")
    partners = (PARTNER,)
    has_opportunities = True

    def __init__(self, market: Market, *, name_of_market: str) -> None:
        self.market, self.name_of_market = market, name_of_market
        self._origins: dict[date, tuple[Rows, Ints]] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> Simulator:
        """The simulator with the seed, traffic and shock of the settings."""
        shock = settings.simulator_shock_day
        market = Market(
            world=World.make(settings.seed),
            seed=settings.seed,
            opportunities_per_day=settings.simulator_opportunities_per_day,
            shock_day=parse_day(shock) if shock else None,
        )
        return cls(market, name_of_market=settings.market_name)

    def first_day(self) -> date:
        """The first market day."""
        return FIRST_DAY

    def last_day(self) -> None:
        """There is no last day."""
        return

    def fetch(self, day: date) -> dict[str, pd.DataFrame]:
        """The day's auctions and clicks, and the bookings and outcomes that become known on it."""
        if day < FIRST_DAY:
            raise NoData(f"the simulator has no market day {day}", next=f"choose {FIRST_DAY} or a later day")
        auctions = auction_day(self.market, day)
        booked, ended, settled = self._learned(day)
        return {
            "hotels": hotels_frame(self.market.world, self.name_of_market, day),
            "opportunities": opportunities_frame(self.name_of_market, day, auctions),
            "clicks": clicks_frame(self.name_of_market, day, auctions),
            "bookings": bookings_frame(self.name_of_market, booked),
            "booking_events": events_frame(ended, settled),
        }

    def _learned(self, day: date) -> tuple[Rows, Rows, Rows]:
        """Bookings, ends and settlements that become known on a day."""
        rows = [self._origin(day - timedelta(days=age)) for age in range(_MEMORY_DAYS, -1, -1)]
        today = (day - date(1970, 1, 1)).days
        booked, ended, settled = (
            _join([origin[days[clock] == today] for origin, days in rows]) for clock in range(len(_CLOCKS))
        )
        for old in [known for known in self._origins if known < day - timedelta(days=2 * _MEMORY_DAYS)]:
            del self._origins[old]
        return booked, ended, settled

    def _origin(self, day: date) -> tuple[Rows, Ints]:
        """The bookings that spring from a day, and the days on which each clock rings; shape (clocks, n)."""
        if day not in self._origins:
            rows = origin_bookings(self.market, day)
            self._origins[day] = rows, np.stack([rows[clock] // US_PER_DAY for clock in _CLOCKS])
        return self._origins[day]


def _join(parts: list[Rows]) -> Rows:
    """Concatenate records as plain bytes: numpy would otherwise compare every field of every part."""
    opaque = np.dtype(f"V{BOOKING.itemsize}")
    return np.concatenate([part.view(opaque) for part in parts]).view(BOOKING)
