"""Second-price auctions replayed in log order, in episodes with a budget each: exact in integers, and fast.

The protocol is that of rlb-dp (H. Cai et al., "Real-Time Bidding by Reinforcement Learning in Display
Advertising", WSDM 2017; github.com/han-cai/rlb-dp, python/mcpc.py and lin_bid.py):

* the auctions are cut into episodes of N in log order; the last one may be shorter and has the whole budget too;
* each episode starts with floor(CPM x share x N), CPM being train cost / train impressions;
* the bid is min(floor(bid), 300), and never more than what is left of the budget;
* a bid at or above the market price wins and pays the market price; a bid of 0 wins an auction at price 0.

As prices are integers, min(bid, left) >= price means bid >= price and left >= price. So the auctions that a plan
would win with money enough are known at once, and order matters only in the episodes where that money is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from ml.core.errors import UsageError
from ml.evaluation.replay.inputs import Auctions, CampaignStats

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]

Number = TypeVar("Number", np.int64, np.float64)

MAX_BID = 300
"""No bid is above it, and no market price that a bid could meet."""

MOST_AUCTIONS = 2**31 - 1
"""No episode has more; no budget is above what so many auctions can cost."""

MOST_SLOTS = 1000
"""A plan that looks at its budget does so that many times an episode at most."""

_ROW_COST = 30
"""How many steps over all episodes cost as much as settling one episode by itself (measured)."""


@dataclass(frozen=True)
class Rules:
    """Auctions per episode, and the budget of each episode in price units (1/1000 fen)."""

    episode: int
    budget: int


def rules_for(stats: CampaignStats, *, episode: int, budget_share: float) -> Rules:
    """The rules of a campaign: its budget is floor(train cost / train impressions x share x N).

    Raises:
        UsageError: fewer than 1 auction in an episode, or absurdly many, or a share that is not above 0.
    """
    if not (budget_share > 0 and np.isfinite(budget_share)):
        raise UsageError(
            f"a budget share of {budget_share} buys nothing", next="give a share above 0, for example 0.03125"
        )
    if not 1 <= episode <= MOST_AUCTIONS:
        raise UsageError(
            f"an episode of {episode} auctions cannot be", next=f"give --episode between 1 and {MOST_AUCTIONS}"
        )
    budget = stats.cpm * budget_share * episode  # in the order of the published code
    return Rules(episode, int(min(budget, MOST_AUCTIONS * MAX_BID)))


@dataclass(frozen=True)
class Plan:
    """What a policy bids on each auction: floor(base), or floor(base x factor) where it looks at its budget.

    Attributes:
        base: shape (auctions,), 0 or more, in price units.
        pace: from the budgets left, shape (episodes,), and the auctions left in each episode, to the factor of
            each episode, shape (episodes,); None for a plan that does not look.
    """

    base: Floats
    pace: Callable[[Ints, int], Floats] | None = None


@dataclass(frozen=True)
class Outcome:
    """What each episode brought, shape (episodes,) each; cost in price units, never above the budget."""

    auctions: Ints
    impressions: Ints
    clicks: Ints
    cost: Ints

    def __len__(self) -> int:
        return len(self.auctions)


def replay(auctions: Auctions, plan: Plan, rules: Rules) -> Outcome:
    """Let a plan bid on every auction under the rules.

    All episodes are settled side by side, position by position; matrices have the shape (positions, episodes).
    """
    price = _by_position(np.minimum(auctions.market_price, MAX_BID + 1), rules.episode, empty=MAX_BID + 1)
    base = _by_position(plan.base, rules.episode, empty=0)
    left = np.full(price.shape[1], rules.budget, dtype=np.int64)
    won = np.zeros(price.shape, dtype=np.bool_)
    width = rules.episode if plan.pace is None else -(-rules.episode // MOST_SLOTS)
    for start in range(0, len(price), width):
        block = slice(start, start + width)
        bids = base[block] if plan.pace is None else base[block] * plan.pace(left, rules.episode - start)
        wanted = np.floor(np.minimum(bids, MAX_BID)) >= price[block]
        won[block] = _affordable(wanted, price[block], left)
        left -= np.sum(price[block], axis=0, where=won[block], dtype=np.int64)
    count = len(auctions.click)
    sizes = np.full(len(left), rules.episode, dtype=np.int64)
    sizes[-1:] = count - rules.episode * (len(left) - 1)
    clicks = np.asarray(np.sum(_by_position(auctions.click, rules.episode, empty=0), axis=0, where=won))
    return Outcome(sizes, np.asarray(won.sum(axis=0)), clicks, rules.budget - left)


def _by_position(values: npt.NDArray[Number], episode: int, *, empty: int) -> npt.NDArray[Number]:
    """The values of shape (auctions,) as (positions, episodes), the missing end of the last episode filled."""
    count = len(values)
    episodes = -(-count // episode)
    if episodes <= 1:
        return np.ascontiguousarray(values.reshape(count, episodes))
    padded = np.full(episodes * episode, empty, dtype=values.dtype)
    padded[:count] = values
    return np.ascontiguousarray(padded.reshape(episodes, episode).T)


def _affordable(wanted: Bools, price: Ints, left: Ints) -> Bools:
    """Which of the wanted auctions each episode can still pay when it comes to them."""
    if len(wanted) == 1:
        return wanted & (price <= left)
    won = wanted.copy()
    tight = np.flatnonzero(np.sum(price, axis=0, where=wanted, dtype=np.int64) > left)
    if len(wanted) <= _ROW_COST * len(tight):
        purse, cost = left[tight], price[:, tight]
        part = wanted[:, tight]
        for position in range(len(wanted)):
            part[position] &= cost[position] <= purse
            purse -= cost[position] * part[position]
        won[:, tight] = part
    else:
        for episode in tight:
            won[:, episode] = _affordable_alone(wanted[:, episode], price[:, episode], int(left[episode]))
    return won


def _affordable_alone(wanted: Bools, price: Ints, left: int) -> Bools:
    """The same of one long episode: buy up to the first price too high, forget all that are, go on.

    The purse is smaller after each round and smaller than a price after the first, so there are few rounds.
    """
    won = np.zeros(len(wanted), dtype=bool)
    places = np.flatnonzero(wanted & (price <= left))
    while len(places):
        running = np.cumsum(price[places])
        bought = int(np.searchsorted(running, left, side="right"))
        won[places[:bought]] = True
        left -= int(running[bought - 1])
        places = places[bought:]
        places = places[price[places] <= left]
    return won
