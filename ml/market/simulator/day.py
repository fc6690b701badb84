"""One market day: its searches, the contest that they are to us before we bid, and what our bids make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from ml.core.units import MICROS_PER_UNIT
from ml.market.simulator import demand
from ml.market.simulator.auction import Draws, Ladder, answer, build_ladder
from ml.market.simulator.bids import Standing, our_bids
from ml.market.simulator.bookings import US_PER_DAY, US_PER_SECOND, click_bookings, direct_bookings
from ml.market.simulator.conversion import conversion_log_odds, conversion_probability
from ml.market.simulator.fates import booking_value, decide_fates
from ml.market.simulator.partners import NAMES, PARTNERS
from ml.market.simulator.partners.rules import SLOTS
from ml.market.simulator.rivals import RIVALS
from ml.market.simulator.scenarios import Active, Effects, on_day, on_searches
from ml.market.simulator.world import Bools, Floats, Ints, Rows, World, number_of, stream

_TRAFFIC, _HOT, _HOT_RIVALS, _COLD, _COLD_RIVALS, _BOOKED, _DIRECT = range(1, 8)
_COLD_NUMBER = 1_000_000_000  # numbers of searches that cannot book start here
CHUNK = 100_000
"""Searches that are contested at once: bounds the memory of a large day."""

WRONG_PRICE = 0.85
_WRONG_PRICE_CONVERSION = 0.25

OUTCOME = np.dtype([
    ("bid", "i8"),  # ours, micros per click
    ("position", "i1"),  # 0: not shown
    ("cpc", "i8"),  # micros, of a click there; 0 where a commission is charged
    ("clicked", "?"),
    ("rival_price", "f8"),  # infinite without rivals
    ("price_ratio", "f4"),
    ("reserve", "f4"),
    ("first_price", "?"),
    ("commission", "?"),
    ("click_chance", "f4"),  # given the search
    ("conversion", "f4"),  # probability of a booking, given a click
    ("value", "f4"),  # what a booking is expected to earn, currency units
    *((f"needed_{place}", "f4") for place in range(1, SLOTS + 1)),
    *((f"click_{place}", "f4") for place in range(1, SLOTS + 1)),
    *((f"score_{rival.name}", "f4") for rival in RIVALS),
])  # fmt: skip
"""What became of a search, and what is true of it; equal in length and order to the searches."""


@dataclass(frozen=True, eq=False)
class Market:
    """The rules of one simulated market; equal to itself alone."""

    world: World
    seed: int
    opportunities_per_day: int
    scenarios: tuple[Active, ...] = ()


@dataclass(frozen=True)
class Contest:
    """n searches before we bid: all that is true of them. Whatever we bid, these stay the same.

    `conversion` is the probability that a click of ours books; `value` what a booking is expected to earn, in currency
    units, net of cancellations; both of shape (n,). A click is worth their product.
    """

    searches: Rows
    effects: Effects
    ladder: Ladder
    conversion: Floats
    value: Floats


@dataclass(frozen=True)
class Resolved:
    """Searches of a day and what became of them, of equal length.

    `stopped` says from which second of the day on a partner did not show us any more, our daily budget being spent; a
    partner that is missing showed us all day.
    """

    searches: Rows
    outcomes: Rows
    stopped: Mapping[str, float] = field(default_factory=dict)


def contests(market: Market, day: date, *, bookable_only: bool = False) -> Iterator[Contest]:
    """The day's searches in chunks; or only the few that could book, whose contests are the same either way."""
    hot, cold = _searches(market, day, hot_only=bookable_only)
    for searches, number in ((hot, _HOT_RIVALS), (cold, _COLD_RIVALS)):
        rng = stream(market.seed, day, number)
        for start in range(0, len(searches), CHUNK):
            part = searches[start : start + CHUNK]
            draws = Draws.make(rng, len(part))
            if bookable_only:
                chosen = np.flatnonzero(_could_book(market, day, part))
                part, draws = part[chosen], draws.of(chosen)
            yield _contest(market, draws, day, part)


def play(contest: Contest, bid_micros: Ints) -> Rows:
    """What bids per click, in micros, shape (n,), make of a contest: rows of `OUTCOME`."""
    searches, ladder = contest.searches, contest.ladder
    found = answer(ladder, bid_micros / MICROS_PER_UNIT)
    rows = np.zeros(len(searches), dtype=OUTCOME)
    rows["bid"], rows["position"] = bid_micros, found.position
    rows["cpc"] = np.minimum(np.rint(found.cost * 1e4).astype(np.int64) * 100, bid_micros)
    rows["click_chance"], rows["clicked"] = found.click, searches["click_die"] < found.click
    for name in ("rival_price", "price_ratio", "reserve", "first_price", "commission"):
        rows[name] = getattr(ladder, name)
    rows["conversion"], rows["value"] = contest.conversion, contest.value
    for place in range(SLOTS):
        rows[f"needed_{place + 1}"], rows[f"click_{place + 1}"] = ladder.needed[:, place], ladder.click[:, place]
    for place, rival in enumerate(RIVALS):
        rows[f"score_{rival.name}"] = ladder.scores[:, place]
    return rows


def resolve(market: Market, day: date, standing: Standing, *, bookable_only: bool = False) -> Resolved:
    """A day's searches, or those that could book, and what our standing bids make of them.

    Raises:
        ValueError: only some searches are asked for where a bid has a daily budget, which the others use up too.
    """
    budgets = {name: bid.daily_budget_micros for name, bid in standing.items() if bid.daily_budget_micros is not None}
    if budgets and bookable_only:
        raise ValueError("a daily budget is spent on all the searches of a day")
    parts = []
    for contest in contests(market, day, bookable_only=bookable_only):
        bid = our_bids(market.world, contest.searches, standing, contest.effects)
        parts.append((contest.searches, play(contest, bid)))
    if not parts:
        return Resolved(np.zeros(0, dtype=demand.SEARCH), np.zeros(0, dtype=OUTCOME))
    searches, outcomes = (join(rows) for rows in zip(*parts, strict=True))
    return Resolved(searches, outcomes, _keep_budgets(searches, outcomes, budgets))


def origin_bookings(market: Market, day: date, resolved: Resolved) -> Rows:
    """Every booking that springs from a day's clicks and direct visits, with its fate; `resolved` may lack the searches
    that could not book."""
    books = resolved.outcomes["clicked"] & (resolved.searches["conversion_die"] < resolved.outcomes["conversion"])
    converted = resolved.searches[np.flatnonzero(books)]
    effects = on_searches(market.scenarios, day, converted)
    rng = stream(market.seed, day, _BOOKED)
    through_clicks = click_bookings(market.world, rng, day, converted, click_times(day, converted), effects)
    decide_fates(market.world, rng, through_clicks, effects.cancellation)
    rng = stream(market.seed, day, _DIRECT)
    direct = direct_bookings(market.world, rng, day)
    decide_fates(market.world, rng, direct, on_day(market.scenarios, day).cancellation)
    return np.concatenate([through_clicks, direct])


def click_times(day: date, searches: Rows) -> Ints:
    """When each search would be clicked, microseconds since 1970: 5 to 95 s after it, within the day; shape (n,)."""
    pause = 5.0 + 90.0 * (searches["number"] * 0.618034 % 1.0)
    after = ((searches["second"] + pause) * US_PER_SECOND).astype(np.int64)
    return number_of(day) * US_PER_DAY + np.minimum(after, US_PER_DAY - 1)


def search_times(day: date, searches: Rows) -> Ints:
    """When each search happened, microseconds since 1970; shape (n,)."""
    return number_of(day) * US_PER_DAY + (searches["second"] * US_PER_SECOND).astype(np.int64)


def join(parts: tuple[Rows, ...] | list[Rows]) -> Rows:
    """Concatenate records of one kind as plain bytes: numpy would otherwise compare every field of every part."""
    kind = parts[0].dtype
    opaque = np.dtype(f"V{kind.itemsize}")
    return np.concatenate([np.ascontiguousarray(part).view(opaque) for part in parts]).view(kind)


def _keep_budgets(searches: Rows, outcomes: Rows, budgets: Mapping[str, int]) -> dict[str, float]:
    """Take us out of the auctions after the click with which the day's clicks have cost a partner's budget.

    That click is still charged in full. From then on our bid counts as 0: we take no part, and nothing is learned of
    what the bid would have reached.

    Returns:
        By partner, the second of the day after which it did not show us.
    """
    stopped = {}
    for name, budget in budgets.items():
        mine = np.flatnonzero(searches["partner"] == NAMES.index(name))
        mine = mine[np.lexsort((searches["number"][mine], searches["second"][mine]))]
        spent = np.cumsum(np.where(outcomes["clicked"][mine], outcomes["cpc"][mine], 0))
        last = int(np.searchsorted(spent, budget)) if budget > 0 else -1
        if last >= len(mine):
            continue
        left_out = mine[last + 1 :]
        for column in ("bid", "position", "cpc", "clicked", "click_chance"):
            outcomes[column][left_out] = 0
        stopped[name] = float(searches["second"][mine[last]]) if last >= 0 else 0.0
    return stopped


def _searches(market: Market, day: date, *, hot_only: bool) -> tuple[Rows, Rows]:
    """The day's two strata; the second empty with `hot_only`. The first is the same either way."""
    world, effects = market.world, on_day(market.scenarios, day)
    rng = stream(market.seed, day, _TRAFFIC)
    counts = demand.traffic(
        world,
        rng,
        day,
        market.opportunities_per_day,
        demand=_demand(market, day),
        launched=min(effects.launch, 1.0),
    )
    hot_counts = demand.hot_counts(rng, counts)
    rng = stream(market.seed, day, _HOT)
    hot = demand.draw_searches(world, rng, day, hot_counts, first_number=0)
    demand.hot_dice(rng, hot)
    if hot_only:
        return hot, hot[:0]
    rng = stream(market.seed, day, _COLD)
    cold = demand.draw_searches(world, rng, day, counts - hot_counts, first_number=_COLD_NUMBER)
    demand.cold_dice(rng, cold)
    return hot, cold


def _demand(market: Market, day: date) -> Floats | float:
    """Log of the factor on searches by partner and hotel; a scenario of some countries counts by their share."""
    total: Floats | float = 0.0
    partners, hotels = np.arange(len(PARTNERS))[:, None], np.arange(market.world.hotels)
    for one in market.scenarios:
        weight = one.weight(day) * one.scenario.effects.demand * one.country_share
        if weight:
            total = total + weight * one.touches(partners, hotels)
    return total


def _could_book(market: Market, day: date, searches: Rows) -> Bools:
    """Which searches would book if clicked at the lowest price."""
    lift = on_searches(market.scenarios, day, searches).conversion
    highest = conversion_probability(conversion_log_odds(market.world, searches) + lift)
    could: Bools = searches["conversion_die"] < highest
    return could


def _contest(market: Market, draws: Draws, day: date, searches: Rows) -> Contest:
    world = market.world
    effects = on_searches(market.scenarios, day, searches)
    log_odds = conversion_log_odds(world, searches)
    usual = conversion_probability(log_odds) * searches["market_rate"] * searches["los"]
    searches = searches.copy()
    searches["landing_price"] = demand.to_cents(searches["price"] * np.exp(effects.own_price))
    wrong = searches["number"] * 0.3247179572 % 1.0 < effects.wrong_price
    shown = np.where(wrong, WRONG_PRICE, 1.0) * searches["landing_price"]
    searches["price"] = demand.to_cents(shown)
    kept = booking_value(world, searches, effects.cancellation)
    worth = usual * kept / (searches["landing_price"] * searches["los"])
    ladder = build_ladder(market, draws, day, searches, worth, effects)
    conversion = conversion_probability(log_odds + effects.conversion, ladder.price_ratio)
    conversion = conversion * np.exp(effects.site) * np.where(wrong, _WRONG_PRICE_CONVERSION, 1.0)
    return Contest(searches, effects, ladder, conversion, kept)
