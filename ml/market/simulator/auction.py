"""One auction per search, told as a ladder: what each place needs, costs and draws, whatever we bid.

Rivals do not watch us (`rivals`), so everything but our bid is settled before we bid. The ladder of a search has a
step for each slot; a bid stands on the highest step that it reaches. An oracle asks the same ladder for every bid.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ml.market.simulator import rivals
from ml.market.simulator.demand import CLICK_CAP, MOBILE, to_cents
from ml.market.simulator.partners import PARTNERS
from ml.market.simulator.partners.rules import RESERVE, SLOTS
from ml.market.simulator.scenarios import Effects
from ml.market.simulator.world import COUNTRIES, Bools, Floats, Rows

if TYPE_CHECKING:
    from ml.market.simulator.day import Market

Singles = npt.NDArray[np.float32]

CPA_SHARE = 0.06
"""Commission on stays, as a share of their value, where a partner charges one."""

_RULES = tuple(PARTNERS.values())
_RANK_PRICE = np.array([rule.rank_price for rule in _RULES], dtype=np.float32)
_CLICK_PRICE = np.array([(rule.click_price, rule.click_price * rule.phone_price) for rule in _RULES], dtype=np.float32)
_RELEVANCE = np.array([rule.relevance for rule in _RULES], dtype=np.float32)
_ACCURACY = np.array([rule.accuracy for rule in _RULES], dtype=np.float32)
_FIRST_PRICE = np.array([rule.auction == "first_price" for rule in _RULES])
_OUTSIDE = np.exp(np.array([rule.outside for rule in _RULES])).astype(np.float32)
_SLOT = np.exp(np.array([[rule.slots, np.multiply(rule.slots, rule.phone_slots)] for rule in _RULES], dtype=np.float32))
"""Pull of each slot against the first; shape (partners, 2, slots), the second for phones."""
_SILOS = 1.0 + 0.1 * (np.arange(3 * len(COUNTRIES)).reshape(3, len(COUNTRIES)) % 4)
_RESERVES = RESERVE * np.stack([_SILOS if rule.silo_reserve else np.ones_like(_SILOS) for rule in _RULES])

_PRICE_MEAN, _PRICE_SD = rivals.column("price_mean"), rivals.column("price_sd")
_PRESENCE, _AGGRESSION = rivals.column("presence"), rivals.column("aggression")
_BRAND = np.exp(rivals.column("brand")).astype(np.float32)


@dataclass(frozen=True)
class Ladder:
    """What n searches offer to any bid of ours.

    Attributes:
        needed: lowest bid per click, in currency units, that reaches each place; falling; shape (n, 4).
        click: probability that a search which shows us there ends in a click on our offer; shape (n, 4).
        first_price: whether a click costs the bid, not what the place needs; shape (n,).
        commission: whether a commission on stays is charged in place of clicks; shape (n,). Then `ranked` is what
            we are ranked with, whatever we bid.
        ranked: the bid that stands in for ours where a commission is charged, 0 elsewhere; shape (n,).
        price_ratio: our price over the lowest one; shape (n,).
        rival_price: the cheapest rival's price, infinite without rivals; shape (n,).
        scores: the rivals' scores in our own bid's units, 0 where one does not take part; shape (n, 6).
        reserve: lowest price of a click; shape (n,).
    """

    needed: Floats
    click: Singles
    first_price: Bools
    commission: Bools
    ranked: Floats
    price_ratio: Floats
    rival_price: Floats
    scores: Singles
    reserve: Floats


@dataclass(frozen=True)
class Draws:
    """What chance decides about the rivals of n searches; arrays of shape (n, 6): two normal ones, one uniform."""

    price: Singles
    presence: Singles
    bid: Singles

    @classmethod
    def make(cls, rng: np.random.Generator, n: int) -> Draws:
        """Draw for n searches."""
        shape = (n, len(_PRESENCE))
        price, bid = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
        return cls(price, rng.random(shape, dtype=np.float32), bid)

    def of(self, chosen: npt.NDArray[np.intp]) -> Draws:
        """The draws of some of the searches."""
        return Draws(self.price[chosen], self.presence[chosen], self.bid[chosen])


@dataclass(frozen=True)
class Answer:
    """What bids reach; every array has the shape of the bids.

    `position` is 0 where we are not shown; `cost` is that of a click, in currency units, and `click` its probability
    given the search: both 0 where we are not shown.
    """

    position: npt.NDArray[np.int8]
    cost: Floats
    click: Singles


def answer(ladder: Ladder, bid: Floats) -> Answer:
    """What bids per click of shape (n,), or (n, levels) for several levels at once, reach on a ladder."""
    wide = np.atleast_2d(bid.T).T
    ours = np.where(ladder.commission, ladder.ranked, wide.T).T
    step = (ours[:, :, None] < ladder.needed[:, None, :]).sum(axis=2, dtype=np.int8)
    shown = step < SLOTS
    place = np.minimum(step, SLOTS - 1).astype(np.intp)
    rows = np.arange(len(wide))[:, None]
    cost = np.where(ladder.first_price[:, None], ours, np.minimum(ladder.needed[rows, place], ours))
    position = np.where(shown, step + 1, 0).astype(np.int8)
    cost = np.where(shown & ~ladder.commission[:, None], cost, 0.0)
    click = np.where(shown, ladder.click[rows, place], np.float32(0.0))
    return Answer(position.reshape(bid.shape), cost.reshape(bid.shape), click.reshape(bid.shape))


def build_ladder(market: Market, draws: Draws, day: date, searches: Rows, worth: Floats, effects: Effects) -> Ladder:
    """Let the rivals choose prices and bids for each search, and tell what is left to us.

    Args:
        market: the rules.
        draws: what chance decides about the rivals.
        day: the market day.
        searches: shape (n,).
        worth: what a click is usually worth, in currency units; shape (n,).
        effects: of the scenarios on each search.
    """
    partner = searches["partner"]
    price, present = _offers(draws, searches, effects)
    lowest = np.where(present, price, np.inf).min(axis=1)
    ratio = np.log(price / lowest[:, None]).astype(np.float32)
    learned = rivals.relevance(market.seed, day, market.scenarios).astype(np.float32)
    appeal = np.exp(-_RANK_PRICE[partner][:, None] * ratio + _RELEVANCE[partner][:, None] * learned)
    appeal[:, 0] *= np.exp(-_ACCURACY[partner] * rivals.wrong_prices_seen(day, market.scenarios))

    factor = rivals.bid_factors(market.seed, day, market.scenarios) * _AGGRESSION * rivals.SHARE_OF_VALUE
    noise = draws.bid * np.float32(rivals.BID_SD) + _lift(market.seed, day, effects)
    reserve = _RESERVES[partner, searches["device"], searches["country"]]
    bids = (worth[:, None] * factor).astype(np.float32) * np.exp(noise)
    bids = np.where(present[:, 1:] & (bids >= reserve[:, None]), bids, np.float32(0.0))
    scores = bids * appeal[:, 1:] / appeal[:, :1]
    needed, click = _steps(searches, ratio, scores, reserve)
    die = searches["number"] * 0.7548776662 % 1.0
    commission = die < effects.net_cpa
    return Ladder(
        needed=needed,
        click=click,
        first_price=_FIRST_PRICE[partner] | (searches["number"] * 0.5698402910 % 1.0 < effects.first_price),
        commission=commission,
        ranked=np.where(commission, worth * rivals.SHARE_OF_VALUE, 0.0),
        price_ratio=np.exp(ratio[:, 0], dtype=np.float64),
        rival_price=np.where(present[:, 1:], price[:, 1:], np.inf).min(axis=1),
        scores=scores,
        reserve=reserve,
    )


def _offers(draws: Draws, searches: Rows, effects: Effects) -> tuple[Floats, Bools]:
    """Prices shown and who takes part; both of shape (n, 7), we always do."""
    wander = draws.price * _PRICE_SD + _PRICE_MEAN + np.reshape(effects.rival_price, (-1, 1))
    price = np.empty((len(searches), 1 + len(_PRESENCE)))
    price[:, 0] = searches["price"]
    price[:, 1:] = to_cents(searches["market_rate"][:, None] * np.exp(wander))
    present = np.ones(price.shape, dtype=bool)
    present[:, 1:] = draws.presence < _PRESENCE
    return price, present


def _lift(seed: int, day: date, effects: Effects) -> Singles:
    """Log of what the scenarios do to the rivals' bids; shape (n, 6), or (1, 6) for all of them."""
    steps = rivals.test_steps(seed, day)
    lift = np.reshape(effects.rival_bid, (-1, 1)) + np.reshape(effects.rival_test, (-1, 1)) * steps
    return lift.astype(np.float32)


def _steps(searches: Rows, ratio: Singles, scores: Singles, reserve: Floats) -> tuple[Floats, Singles]:
    """What each place needs and its probability of a click; both of shape (n, 4).

    Clicks: multinomial logit over the offers shown and clicking nothing, `u = 1 - slope log(price / lowest) + brand +
    place`. The rivals below our place move down by one.
    """
    partner = searches["partner"]
    order = np.argsort(-scores, axis=1)[:, :SLOTS]
    best = np.take_along_axis(scores, order, axis=1)
    phone = (searches["device"] == MOBILE).astype(np.intp)
    pull = np.exp(1.0 - _CLICK_PRICE[partner, phone][:, None] * ratio)
    theirs = np.where(best > 0, np.take_along_axis(pull[:, 1:] * _BRAND, order, axis=1), np.float32(0.0))
    slot = _SLOT[partner, phone]
    above = np.cumsum(theirs * slot, axis=1)  # of the rivals down to each place, were we not there
    below = np.cumsum((theirs[:, :-1] * slot[:, 1:])[:, ::-1], axis=1)[:, ::-1]
    click = np.empty_like(slot)
    for place in range(SLOTS):
        ours = pull[:, 0] * slot[:, place]
        others = (above[:, place - 1] if place else 0.0) + (below[:, place] if place < SLOTS - 1 else 0.0)
        click[:, place] = ours / (_OUTSIDE[partner] + ours + others)
    needed = np.maximum(best, reserve[:, None].astype(np.float64))
    return needed, np.minimum(click, np.float32(CLICK_CAP))
