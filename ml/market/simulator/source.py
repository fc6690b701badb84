"""The simulated market as a source."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ml.core.digests import digest_json
from ml.core.errors import NoData
from ml.core.settings import Settings
from ml.core.units import day_start
from ml.lake.blobs import BlobStore, open_blobs
from ml.market.simulator.bids import Publications, Standing
from ml.market.simulator.bookings import MAX_LAG_DAYS, US_PER_DAY
from ml.market.simulator.day import Market, Resolved, join, origin_bookings, resolve
from ml.market.simulator.fates import LONGEST_FATE_DAYS
from ml.market.simulator.frames import (
    bookings_frame,
    clicks_frame,
    events_frame,
    hotel_ids,
    hotels_frame,
    opportunities_frame,
)
from ml.market.simulator.partners import NAMES
from ml.market.simulator.scenarios import Active, on_day, parse_scenarios
from ml.market.simulator.truth import DayTruth, TruthStore
from ml.market.simulator.world import Ints, Rows, World, number_of

if TYPE_CHECKING:
    import pandas as pd

FIRST_DAY = date(2025, 1, 6)
"""A Monday. Bookings made before it are told too, as far as they become known or end after it."""

_CLOCKS = ("known", "event_known", "settled")
_MEMORY_DAYS = MAX_LAG_DAYS + LONGEST_FATE_DAYS
_RULES = 2
"""Version of the market's rules; a change of them is another world, with a truth of its own."""


class Simulator:
    """The market of `ml.market.simulator`.

    A day answers to the bids that stood when it was first resolved. Then it is frozen in the truth store: fetched
    again, in whatever order and by whatever process, it has the same bytes.
    """

    name = "simulator"
    tables = ("hotels", "opportunities", "clicks", "bookings", "booking_events")
    partners = NAMES
    has_opportunities = True

    def __init__(self, market: Market, publications: Publications, truth: TruthStore, *, name_of_market: str) -> None:
        self.market, self.publications, self.truth = market, publications, truth
        self.name_of_market = name_of_market
        self._origins: dict[date, tuple[Rows, Ints]] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> Simulator:
        """The simulator with the seed, size and scenarios of the settings; UsageError for an unknown scenario."""
        market = make_market(
            settings.seed,
            settings.simulator_hotels,
            settings.simulator_opportunities_per_day,
            scenarios_of(settings),
        )
        blobs: BlobStore = open_blobs(
            settings.blobs, cache=settings.home / "cache" / "blobs", endpoint=settings.s3_endpoint
        )
        publications = Publications(blobs, settings.market_name, hotel_ids(market.world.hotels))
        return cls(market, publications, open_truth(settings), name_of_market=settings.market_name)

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
        truth = self.resolved(day)
        booked, ended, settled = self._learned(day)
        listed = ~self.market.world.new | (on_day(self.market.scenarios, day).launch > 0)
        return {
            "hotels": hotels_frame(self.market.world, self.name_of_market, day, listed),
            "opportunities": opportunities_frame(self.name_of_market, day, truth),
            "clicks": self._clicks(day, truth),
            "bookings": bookings_frame(self.name_of_market, booked),
            "booking_events": events_frame(ended, settled),
        }

    def partner_reports(self, day: date, as_of: datetime) -> dict[str, pd.DataFrame]:
        """What each partner's reports tell of a day at an instant; see `ml.market.simulator.partner_reports`.

        NoData when the day has not begun by then, or is before the first.
        """
        from ml.market.simulator.partner_reports import REPORTS
        from ml.market.simulator.reports import all_reports, counted_at

        if day < FIRST_DAY or counted_at(as_of) < day_start(day):
            raise NoData(
                f"no partner tells anything of {day} by {as_of:%Y-%m-%d %H:%M}", next="ask for a later instant"
            )
        self._settle_before(day)
        return all_reports(REPORTS, self._truth_of(day), day=day, as_of=as_of, seed=self.market.seed)

    def resolved(self, day: date) -> Resolved:
        """The day's searches and what our bids made of them; resolved and frozen if that is still to be done."""
        self._settle_before(day)
        return self._truth_of(day).resolved

    def _market_on(self, day: date) -> Market:
        """The market without scenarios, on days before any of them: the days that many markets have in common."""
        market = self.market
        if any(one.onset <= day for one in market.scenarios):
            return market
        return make_market(market.seed, int((~market.world.new).sum()), market.opportunities_per_day, ())

    def _truth_of(self, day: date) -> DayTruth:
        if self.truth.has(day):
            return self.truth.day(day)
        standing = {} if self._is_house(day) else self.publications.standing(day)
        resolved = resolve(self.market, day, standing)
        bookings = origin_bookings(self.market, day, resolved)
        return self.truth.freeze(day, DayTruth(resolved, bookings, self._record(day, standing, resolved)))

    def _record(self, day: date, standing: Standing, resolved: Resolved) -> dict[str, object]:
        """What the day was resolved with, and which partners stopped showing us, our daily budget being spent."""
        active = {one.name: one.weight(day) for one in self.market.scenarios if one.weight(day)}
        bids = {name: {"day": bid.day.isoformat(), "digest": bid.digest} for name, bid in standing.items()}
        stopped = {"stopped": dict(resolved.stopped)} if resolved.stopped else {}
        return {"day": day.isoformat(), "seed": self.market.seed, "bids": bids, "scenarios": active, **stopped}

    def _is_house(self, day: date) -> bool:
        until = self.truth.house_until()
        return until is not None and day <= until

    def _settle_before(self, day: date) -> None:
        """Decide what bid on the days before, which this day's bookings come from, before a later bid can.

        Days up to the first publication had the house policy; a day after it that was skipped is resolved now.
        """
        before, published = day - timedelta(days=1), self.publications.first_day()
        quiet = before if published is None else min(before, published)
        until = self.truth.house_until()
        if until is None or any(not self.truth.has(skipped) for skipped in _after(until, quiet)):
            self.truth.set_house_until(quiet)
        for skipped in _after(quiet if until is None else max(quiet, until), before):
            if not self.truth.has(skipped):
                self._truth_of(skipped)

    def _clicks(self, day: date, resolved: Resolved) -> pd.DataFrame:
        """The day's clicks; the same rows twice where a scenario delivers the file twice."""
        import pandas as pd

        frame = clicks_frame(self.name_of_market, day, resolved)
        twice = on_day(self.market.scenarios, day).duplicate > 0
        return pd.concat([frame, frame], ignore_index=True) if twice else frame

    def _learned(self, day: date) -> tuple[Rows, Rows, Rows]:
        """Bookings, ends and settlements that become known on a day."""
        rows = [self._origin(day - timedelta(days=age)) for age in range(_MEMORY_DAYS, -1, -1)]
        today = number_of(day)
        booked, ended, settled = (
            join([origin[days[clock] == today] for origin, days in rows]) for clock in range(len(_CLOCKS))
        )
        for old in [known for known in self._origins if known < day - timedelta(days=2 * _MEMORY_DAYS)]:
            del self._origins[old]
        return booked, ended, settled

    def _origin(self, day: date) -> tuple[Rows, Ints]:
        """The bookings that spring from a day, and the days on which each clock rings; shape (clocks, n)."""
        if day not in self._origins:
            rows = self.truth.bookings(day) if self.truth.has(day) else _house_bookings(self._market_on(day), day)
            self._origins[day] = rows, np.stack([rows[clock] // US_PER_DAY for clock in _CLOCKS])
        return self._origins[day]


@lru_cache(maxsize=8)
def make_market(seed: int, hotels: int, opportunities_per_day: int, scenarios: tuple[Active, ...]) -> Market:
    """The market of these rules; the same object for the same rules, so that what is told of it can be kept."""
    return Market(World.make(seed, hotels), seed, opportunities_per_day, scenarios)


@lru_cache(maxsize=4 * _MEMORY_DAYS)
def _house_bookings(market: Market, day: date) -> Rows:
    """The bookings of a day that was never resolved: of the few searches that could book, and the house's bids."""
    rows = origin_bookings(market, day, resolve(market, day, {}, bookable_only=True))
    rows.flags.writeable = False
    return rows


def scenarios_of(settings: Settings) -> tuple[Active, ...]:
    """The scenarios that the settings name, the shock day's price war among them."""
    shock = settings.simulator_shock_day
    return parse_scenarios([*settings.simulator_scenarios, *([f"price_war@{shock}"] if shock else [])])


def open_truth(settings: Settings) -> TruthStore:
    """The truth of the world that the settings describe. Another seed or size is another world."""
    world = {
        "seed": settings.seed,
        "opportunities_per_day": settings.simulator_opportunities_per_day,
        "hotels": settings.simulator_hotels,
        "rules": _RULES,
    }
    folder: Path = settings.home / "truth" / settings.market_name / digest_json(world)[:12]
    return TruthStore(folder)


def _after(first: date, last: date) -> list[date]:
    """The days after `first`, up to `last`."""
    return [first + timedelta(days=n) for n in range(1, (last - first).days + 1)]
