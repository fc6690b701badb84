"""What the best bids would have earned: the yardsticks O1 to O4 that a policy's profit is held against.

Profit is expected, given the searches and the rivals' bids of the days in question: `sum of click x (conversion x value
- cost of the click)`. Whatever we bid, the contests stay the same, so that policies are compared on common random
numbers and without the dice of clicks and bookings.

    O1  omniscient: for every single search the best place, or none
    O2  the best that the bid language can say: per partner, a base bid for each hotel times a multiplier for each
        device, lead bucket and length of stay
    O3  the best single multiplier per partner on the true worth of each click
    O4  O2 under a budget, and over a floor of value per cost

O2, O3 and O4 are chosen on other draws of the same days (`redraws`), so that they know the market and not its dice, and
are then scored on the days themselves. In the language no closed form exists; `best_in_language` climbs by one factor
at a time (backfitting) until none moves, from the best base bid of each hotel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import numpy.typing as npt

from ml.core.units import MICROS_PER_UNIT
from ml.market.buckets import LEAD_BUCKETS, LEAD_STARTS, LOS_BUCKETS, LOS_STARTS, bucket_index
from ml.market.simulator.auction import answer
from ml.market.simulator.bids import Publication, Standing, our_bids
from ml.market.simulator.day import Contest, Market, contests
from ml.market.simulator.partners import NAMES
from ml.market.simulator.partners.rules import SLOTS
from ml.market.simulator.world import Floats, Ints, World
from ml.market.tables import DEVICES

STEP = 1.1
"""Ratio of one bid level to the next; a multiplier is a whole number of such steps."""

LOWEST, LEVELS = 0.02, 66
"""The lowest bid, in currency units, and the number of levels: up to 9.8; level 0 stands for no bid."""

MULTIPLIER_STEPS = 24
"""A multiplier is at most 1.1^24 = 9.8 and at least 1 / 9.8, as partners allow a tenth to the tenfold."""

SHAPE = (len(DEVICES), len(LEAD_BUCKETS), len(LOS_BUCKETS))
REACH = 8
"""So many steps a factor may move at once while the policy is sought."""

_SWEEPS = 40
_SEED_STEP = 1_000_003  # between redraws


def levels() -> Floats:
    """The bids per click of the levels, in currency units; shape (LEVELS,), 0 first."""
    return np.concatenate([[0.0], LOWEST * STEP ** np.arange(LEVELS - 1)])


@dataclass(frozen=True)
class Curves:
    """What each bid level brings in each cell over some days; every array has shape (cells, LEVELS), non-decreasing.

    A cell is partner x hotel x device x lead bucket x length of stay, in this order, in a flat index. `value` is what
    the clicks are worth and `cost` what they cost, in currency units, both expected.
    """

    hotels: int
    days: int
    clicks: Floats
    value: Floats
    cost: Floats

    @property
    def profit(self) -> Floats:
        """Value less cost."""
        return self.value - self.cost

    def of(self, choice: Ints) -> tuple[float, float, float]:
        """Clicks, value and cost of a policy: one level per cell, shape (cells,)."""
        rows = np.arange(len(choice))
        return tuple(float(table[rows, choice].sum()) for table in (self.clicks, self.value, self.cost))  # type: ignore[return-value]


def redraws(market: Market, number: int) -> Iterator[Market]:
    """The same world with other dice, `number` times."""
    for draw in range(1, number + 1):
        yield replace(market, seed=market.seed + _SEED_STEP * draw)


def curves(markets: Sequence[Market], days: Sequence[date]) -> Curves:
    """Add up every level's clicks, value and cost over the days of these markets, which share a world.

    Searches on which a commission is charged are left out: they bring the same whatever we bid.
    """
    world = markets[0].world
    cells = len(NAMES) * world.hotels * int(np.prod(SHAPE))
    size = cells * (LEVELS + 1)
    clicks, value, fixed, by_bid = (np.zeros(size) for _ in range(4))
    bids = levels()
    for market in markets:
        for day in days:
            for contest in contests(market, day):
                ladder = contest.ladder
                scale = np.maximum(_scale(world, contest), 1e-9)
                cell = cell_of(world, contest.searches) * (LEVELS + 1)
                worth = contest.conversion * contest.value
                auction = ~ladder.commission
                better = np.full(len(cell), LEVELS, dtype=np.intp)  # level from which the next higher place is had
                for place in range(SLOTS):
                    from_level = np.searchsorted(bids, ladder.needed[:, place] / scale - 1e-12)
                    click = np.where(auction, ladder.click[:, place], 0.0)
                    paid = np.where(ladder.first_price, 0.0, click * ladder.needed[:, place])
                    for table, amount in (
                        (clicks, click),
                        (value, click * worth),
                        (fixed, paid),
                        (by_bid, np.where(ladder.first_price, click * scale, 0.0)),
                    ):
                        np.add.at(table, cell + from_level, amount)
                        np.subtract.at(table, cell + better, amount)
                    better = from_level
    shape = (cells, LEVELS + 1)
    summed = [table.reshape(shape)[:, :LEVELS].cumsum(axis=1) for table in (clicks, value, fixed, by_bid)]
    cost = summed[2] + summed[3] * bids
    return Curves(world.hotels, len(days) * len(markets), summed[0], summed[1], cost)


def cell_of(world: World, searches: np.ndarray) -> Ints:
    """The flat index of each search's cell; shape (n,)."""
    place = (
        searches["partner"].astype(np.int64),
        searches["hotel"].astype(np.int64),
        searches["device"].astype(np.int64),
        bucket_index(searches["lead"], LEAD_STARTS),
        bucket_index(searches["los"], LOS_STARTS),
    )
    return np.ravel_multi_index(place, (len(NAMES), world.hotels, *SHAPE)).astype(np.int64)


def standing(world: World, choice: Ints) -> Standing:
    """A policy of levels as publications that a market can be played with."""
    cells = levels()[choice].reshape(len(NAMES), world.hotels, *SHAPE)
    return {name: Publication(date.min, "oracle", cells[number]) for number, name in enumerate(NAMES)}


def best_in_language(profit: Floats, hotels: int) -> Ints:
    """O2: one level per cell, base times multipliers; shape (cells,).

    Args:
        profit: what each level earns in each cell; shape (cells, LEVELS).
        hotels: how many there are.
    """
    whole = profit.reshape(len(NAMES), hotels, *SHAPE, LEVELS)
    chosen: Ints = np.concatenate([_climb(one).ravel() for one in whole])
    return chosen


def _climb(profit: Floats) -> Ints:
    """Backfitting for one partner; profit of shape (hotels, devices, leads, stays, LEVELS)."""
    axes = (0, 1, 2, 3)
    factors = [np.zeros(size, dtype=np.int64) for size in profit.shape[:4]]
    factors[0] = profit.sum(axis=(1, 2, 3)).argmax(axis=1)
    best = _earned(profit, factors)
    for _ in range(_SWEEPS):
        before = best
        for axis in axes:
            factors[axis] = _best_factor(profit, factors, axis)
        best = _earned(profit, factors)
        if best <= before + 1e-6 * abs(before):
            break
    return _levels_of(factors, profit.shape[:4])


def _levels_of(factors: Sequence[Ints], shape: tuple[int, ...]) -> Ints:
    """Level of each cell: the sum of its steps, none where the hotel has no bid."""
    index = np.zeros(shape, dtype=np.int64)
    for axis, steps in enumerate(factors):
        index = index + steps.reshape([-1 if a == axis else 1 for a in range(4)])
    base = factors[0].reshape(-1, 1, 1, 1)
    return np.where(base == 0, 0, np.clip(index, 1, LEVELS - 1))


def _earned(profit: Floats, factors: Sequence[Ints]) -> float:
    index = _levels_of(factors, profit.shape[:4])
    return float(np.take_along_axis(profit, index[..., None], axis=-1).sum())


def _best_factor(profit: Floats, factors: Sequence[Ints], axis: int) -> Ints:
    """The nearby step of each value of one dimension that earns most, the other dimensions being as they are."""
    low, high = (0, LEVELS - 1) if axis == 0 else (-MULTIPLIER_STEPS, MULTIPLIER_STEPS)
    others = tuple(a for a in range(4) if a != axis)
    moves = sorted(range(-REACH, REACH + 1), key=abs)  # the first of equals is the smallest move
    earned = np.empty((len(moves), profit.shape[axis]))
    for number, move in enumerate(moves):
        tried = [np.clip(steps + move, low, high) if a == axis else steps for a, steps in enumerate(factors)]
        index = _levels_of(tried, profit.shape[:4])
        earned[number] = np.take_along_axis(profit, index[..., None], axis=-1)[..., 0].sum(axis=others)
    gain = earned.max(axis=0) > earned[0] + 1e-12
    chosen = np.array(moves)[earned.argmax(axis=0)]
    moved: Ints = np.clip(factors[axis] + np.where(gain, chosen, 0), low, high)
    return moved


def best_per_cell(found: Curves) -> Ints:
    """The best level of every cell by itself, which no bid language can say in general; shape (cells,)."""
    best: Ints = found.profit.argmax(axis=1)
    return best


def under_budget(found: Curves, *, budget: float, value_per_cost: float = 0.0) -> Ints:
    """O4: the best policy of the language that costs at most `budget` and earns at least `value_per_cost` per cost.

    Both enter with a price (Lagrange multipliers): profit + ratio price x (value - floor x cost) - budget price x cost.
    Each is the smallest that keeps its limit, by bisection, the ratio's first; shape (cells,). Without a bid every
    limit is kept, so that there is always an answer.
    """

    def chosen(ratio_price: float, budget_price: float) -> Ints:
        gained = (1 + ratio_price) * found.value - (1 + ratio_price * value_per_cost + budget_price) * found.cost
        return best_in_language(gained, found.hotels)

    def ratio_kept(choice: Ints) -> bool:
        _, value, cost = found.of(choice)
        return value >= value_per_cost * cost

    def budget_kept(choice: Ints) -> bool:
        return found.of(choice)[2] <= budget

    ratio_price = _least_price(lambda price: ratio_kept(chosen(price, 0.0)))
    return chosen(ratio_price, _least_price(lambda price: budget_kept(chosen(ratio_price, price))))


def _least_price(holds: Callable[[float], bool]) -> float:
    """The smallest price at which a limit is kept, within a hundredth of it."""
    if holds(0.0):
        return 0.0
    high = 1.0
    while not holds(high) and high < 1e6:
        high *= 4
    low = 0.0 if high == 1.0 else high / 4
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def omniscient(market: Market, days: Sequence[date]) -> float:
    """O1: the profit of the best place of every single search, in currency units."""
    total = 0.0
    for day in days:
        for contest in contests(market, day):
            worth = (contest.conversion * contest.value)[:, None]
            earned = contest.ladder.click * (worth - contest.ladder.needed)
            best = np.maximum(earned.max(axis=1), 0.0)
            total += float(best[~contest.ladder.commission].sum())
    return total


def multiplier_profits(markets: Sequence[Market], days: Sequence[date], multipliers: Floats) -> Floats:
    """What bidding each multiple of the true worth of a click earns; shape (partners, multipliers)."""
    total = np.zeros((len(NAMES), len(multipliers)))
    for market in markets:
        for day in days:
            for contest in contests(market, day):
                worth = contest.conversion * contest.value
                partner = contest.searches["partner"]
                for number, multiplier in enumerate(multipliers):
                    earned = _profit(contest, multiplier * worth, worth)
                    total[:, number] += np.bincount(partner, weights=earned, minlength=len(NAMES))
    return total


def policy_profit(market: Market, days: Sequence[date], bids: Standing) -> float:
    """What standing bids earn over the days, in currency units."""
    return sum(float(partner_profits(market, day, [bids]).sum()) for day in days)


def partner_profits(market: Market, day: date, policies: Sequence[Standing]) -> Floats:
    """What each of several policies would earn on a day at each partner, in currency units; shape (policies, partners)."""
    total = np.zeros((len(policies), len(NAMES)))
    for contest in contests(market, day):
        worth = contest.conversion * contest.value
        for number, bids in enumerate(policies):
            bid = our_bids(market.world, contest.searches, bids, contest.effects) / MICROS_PER_UNIT
            earned = _profit(contest, bid, worth)
            total[number] += np.bincount(contest.searches["partner"], weights=earned, minlength=len(NAMES))
    return total


def _profit(contest: Contest, bid: Floats, worth: Floats) -> Floats:
    found = answer(contest.ladder, bid)
    earned: Floats = np.where(contest.ladder.commission, 0.0, found.click * (worth - found.cost))
    return earned


def _scale(world: World, contest: Contest) -> npt.NDArray[np.float64]:
    """What a published bid of 1 becomes on each search, by its partner's unit; shape (n,)."""
    ones = np.ones((world.hotels, *SHAPE))
    bids: Standing = {name: Publication(date.min, "oracle", ones) for name in NAMES}
    return our_bids(world, contest.searches, bids, contest.effects) / MICROS_PER_UNIT
