"""One market day put together: its auctions and clicks, and the bookings that spring from it, today or later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from ml.market.simulator import demand
from ml.market.simulator.auction import Auctions, Climate, run_auctions
from ml.market.simulator.bookings import US_PER_DAY, US_PER_SECOND, click_bookings, direct_bookings
from ml.market.simulator.conversion import conversion_log_odds, conversion_probability
from ml.market.simulator.fates import decide_fates
from ml.market.simulator.world import Bools, Floats, Ints, Rows, World, stream

_TRAFFIC, _HOT, _DECISIVE, _REST, _BOOKED, _DIRECT = range(1, 7)
_REST_NUMBER = 1_000_000  # numbers of searches that cannot book start here
WAR_PRICE_FACTOR, WAR_BID_FACTOR = 0.94, 1.30


@dataclass(frozen=True)
class Market:
    """The rules of one simulated market; `shock_day` is when the rivals start a price war."""

    world: World
    seed: int
    opportunities_per_day: int
    shock_day: date | None

    def climate(self, day: date) -> Climate:
        """How the rivals act on a day."""
        war = self.shock_day is not None and day >= self.shock_day
        return Climate(WAR_PRICE_FACTOR, WAR_BID_FACTOR) if war else Climate()


@dataclass(frozen=True)
class AuctionDay:
    """A day's searches and auctions, of equal length and in no particular order."""

    searches: Rows
    auctions: Auctions


def origin_bookings(market: Market, day: date) -> Rows:
    """Every booking that springs from a day's clicks and direct visits, with its fate: told without the other auctions."""
    searches, log_odds, auctions = _decisive(market, day)
    chance = conversion_probability(log_odds, auctions.price_ratio)
    books = auctions.clicked & (searches["conversion_die"] < chance)
    converted = searches[books]
    rng = stream(market.seed, day, _BOOKED)
    through_clicks = click_bookings(rng, day, converted, click_times(day, converted))
    decide_fates(market.world, rng, through_clicks)
    rng = stream(market.seed, day, _DIRECT)
    direct = direct_bookings(market.world, rng, day)
    decide_fates(market.world, rng, direct)
    return np.concatenate([through_clicks, direct])


def auction_day(market: Market, day: date) -> AuctionDay:
    """All searches of a day with their auctions."""
    decisive, _, decided = _decisive(market, day)
    hot, log_odds = _hot(market, day)
    hot_rest = hot[~_can_book(hot, log_odds)]
    rng = stream(market.seed, day, _REST)
    counts, hot_counts = _counts(market, day)
    cold = demand.draw_searches(market.world, rng, day, counts - hot_counts, first_number=_REST_NUMBER)
    demand.cold_dice(rng, cold)
    rest = np.concatenate([hot_rest, cold])
    auctions = run_auctions(market.world, rng, rest, conversion_log_odds(market.world, rest), market.climate(day))
    return AuctionDay(np.concatenate([decisive, rest]), _join(decided, auctions))


def click_times(day: date, searches: Rows) -> Ints:
    """When each search would be clicked, microseconds since 1970: 5 to 95 s after it, within the day; shape (n,)."""
    start = (day - date(1970, 1, 1)).days * US_PER_DAY
    pause = 5.0 + 90.0 * (searches["number"] * 0.618034 % 1.0)
    after = ((searches["second"] + pause) * US_PER_SECOND).astype(np.int64)
    return start + np.minimum(after, US_PER_DAY - 1)


def search_times(day: date, searches: Rows) -> Ints:
    """When each search happened, microseconds since 1970; shape (n,)."""
    start = (day - date(1970, 1, 1)).days * US_PER_DAY
    return start + (searches["second"] * US_PER_SECOND).astype(np.int64)


def _decisive(market: Market, day: date) -> tuple[Rows, Floats, Auctions]:
    """The few searches that would book if clicked at the lowest price, and their auctions."""
    hot, hot_log_odds = _hot(market, day)
    can_book = _can_book(hot, hot_log_odds)
    searches, log_odds = hot[can_book], hot_log_odds[can_book]
    rng = stream(market.seed, day, _DECISIVE)
    return searches, log_odds, run_auctions(market.world, rng, searches, log_odds, market.climate(day))


def _can_book(hot: Rows, log_odds: Floats) -> Bools:
    can_book: Bools = hot["conversion_die"] < conversion_probability(log_odds)
    return can_book


def _hot(market: Market, day: date) -> tuple[Rows, Floats]:
    rng = stream(market.seed, day, _HOT)
    searches = demand.draw_searches(market.world, rng, day, _counts(market, day)[1], first_number=0)
    demand.hot_dice(rng, searches)
    return searches, conversion_log_odds(market.world, searches)


def _counts(market: Market, day: date) -> tuple[Ints, Ints]:
    rng = stream(market.seed, day, _TRAFFIC)
    counts = demand.traffic(market.world, rng, day, market.opportunities_per_day)
    return counts, demand.hot_counts(rng, counts)


def _join(first: Auctions, second: Auctions) -> Auctions:
    names = ("bid", "position", "cpc", "rival_price", "price_ratio", "clicked")
    return Auctions(**{name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in names})
