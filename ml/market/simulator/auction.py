"""One second-price auction (GSP) per search: bids, ranks, what a click costs, how likely it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.market.simulator.conversion import conversion_probability, value_per_booking
from ml.market.simulator.demand import CLICK_CAP, MOBILE, to_cents
from ml.market.simulator.world import RIVALS, Bools, Floats, Ints, Rows, World

SLOTS = 4
RESERVE = 0.05
"""Lowest price of a click, in currency units; a lower bid is not shown."""
OUR_SHARE_OF_VALUE = 0.70
"""Our bid, as a share of what we believe a click to be worth."""
_OUR_NOISE_SD = 0.35
_RIVAL_SHARE_OF_VALUE = 0.125 / 0.12
_QUALITY_SLOPE = 6.0
_PRICE_SLOPE = 14.0
_SLOT_UTILITY = np.array([0.0, -0.45, -0.80, -1.10])
_PHONE_SLOT_FACTOR = 1.5  # a small screen shows less of the lower offers
_OUTSIDE_UTILITY = 1.9  # of clicking nothing; 3.3 to 3.9 gives CTRs of 3 %, too few clicks for a market of this size


@dataclass(frozen=True)
class Climate:
    """How the rivals act on a day: factors on their prices and bids."""

    price_factor: float = 1.0
    bid_factor: float = 1.0


@dataclass(frozen=True)
class Auctions:
    """Results for n searches; every array has shape (n,). `position` is 0 where we were not shown."""

    bid: Floats
    position: Ints
    cpc: Floats
    rival_price: Floats
    price_ratio: Floats
    clicked: Bools

    @property
    def shown(self) -> Bools:
        """Whether our offer was among those shown."""
        shown: Bools = self.position > 0
        return shown


def run_auctions(
    world: World, rng: np.random.Generator, searches: Rows, log_odds: Floats, climate: Climate
) -> Auctions:
    """Let everyone bid on each search; column 0 is us, the other six are the rivals."""
    n = len(searches)
    price, present = _offers(rng, searches, climate)
    worth = conversion_probability(log_odds) * value_per_booking(world, searches)
    bid = np.empty((n, 1 + len(RIVALS.presence)))
    bid[:, 0] = OUR_SHARE_OF_VALUE * worth * np.exp(rng.normal(0.0, _OUR_NOISE_SD, n))
    noise = np.exp(rng.normal(0.0, RIVALS.bid_sd, (n, len(RIVALS.presence))))
    bid[:, 1:] = (_RIVAL_SHARE_OF_VALUE * climate.bid_factor) * worth[:, None] * RIVALS.aggression * noise
    bid[:, 0] = np.round(bid[:, 0], 4)

    lowest = np.where(present, price, np.inf).min(axis=1)
    ratio = np.log(price / lowest[:, None])
    quality = np.exp(-_QUALITY_SLOPE * ratio)
    score = np.where(present & (bid >= RESERVE), bid * quality, -np.inf)
    rank = _ranks(score)
    shown = (rank < SLOTS) & np.isfinite(score)
    below = np.where(score < score[:, :1], score, 0.0).max(axis=1)
    cpc = np.clip(below / quality[:, 0], RESERVE, np.maximum(bid[:, 0], RESERVE))
    chance = _click_chance(searches["device"], ratio, rank, shown)
    return Auctions(
        bid=bid[:, 0],
        position=np.where(shown[:, 0], rank[:, 0] + 1, 0),
        cpc=np.round(cpc, 4),
        rival_price=np.where(present[:, 1:], price[:, 1:], np.inf).min(axis=1),
        price_ratio=np.exp(ratio[:, 0]),
        clicked=searches["click_die"] < chance,
    )


def _offers(rng: np.random.Generator, searches: Rows, climate: Climate) -> tuple[Floats, Bools]:
    """Prices shown and who takes part; both of shape (n, 7), we always do."""
    shape = (len(searches), len(RIVALS.presence))
    wander = rng.standard_normal(shape) * RIVALS.price_sd + RIVALS.price_mean
    price = np.empty((shape[0], shape[1] + 1))
    price[:, 0] = searches["price"]
    price[:, 1:] = to_cents(searches["market_rate"][:, None] * climate.price_factor * np.exp(wander))
    present = np.ones(price.shape, dtype=bool)
    present[:, 1:] = rng.random(shape) < RIVALS.presence
    return price, present


def _ranks(score: Floats) -> Ints:
    """The place of each score in its row, 0 for the highest; shape (n, 7)."""
    order = np.argsort(-score, axis=1)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(score.shape[1])[None, :], axis=1)
    return rank


def _click_chance(device: np.ndarray, ratio: Floats, rank: Ints, shown: Bools) -> Floats:
    """Multinomial logit over the offers shown and clicking nothing; the chance that ours is clicked, shape (n,)."""
    steepness = np.where(device == MOBILE, _PHONE_SLOT_FACTOR, 1.0)[:, None]
    utility = 1.0 - _PRICE_SLOPE * ratio + _SLOT_UTILITY[np.minimum(rank, SLOTS - 1)] * steepness
    weight = np.where(shown, np.exp(utility), 0.0)
    chance: Floats = weight[:, 0] / (np.exp(_OUTSIDE_UTILITY) + weight.sum(axis=1))
    return np.minimum(chance, CLICK_CAP)
