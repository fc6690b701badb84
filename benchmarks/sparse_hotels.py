"""Profit from hotels of which little is known: shrunk multipliers against raw ratios and against no hotel effect.

A market drawn by the formulas of section 8.2 of the domain notes, for each seed: Pareto popularity, hotel effects of
deviation .45 and market effects of .20 on the log odds, thirty days of about 28,500 clicks and 827 bookings. What is
learned from them bids on the same hotels against six rivals of known distribution for four slots at the generalised
second price. Every way bids its multiplier times the same shade, the one that is best for the truth. Profit is in
points of the omniscient's (O1), who chooses the best slot in each auction.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np

from benchmarks.common import Figure, median, run
from ml.models.numbers import Floats
from ml.models.shrinkage import HIGHEST, LOWEST, MAX_OVER, SPARSE_BOOKINGS, Multipliers, strength_of

SEEDS = 20
COUNTRIES, CITIES, CLUSTERS, HOTELS = 5, 6, 4, 20
"""So many markets, cities in each, clusters in each of those, and hotels in each of those: 2,400 hotels."""

CLICKS, BOOKINGS = 28_500, 827
HOTEL_DEVIATION, MARKET_DEVIATION = 0.45, 0.20
WORTH = 0.12 * (1 - 0.14)
"""Of a booking's gross value we keep the take less variable cost, of the bookings that are not cancelled."""

AGGRESSIVENESS = (1.25, 1.10, 0.95, 0.85, 0.70, 0.60)
PRESENT = (0.93, 0.88, 0.70, 0.60, 0.45, 0.50)
PRICE_MEAN = (0.0, 0.0, 0.005, 0.01, -0.04, -0.01)
PRICE_DEVIATION = (0.02, 0.03, 0.04, 0.05, 0.06, 0.07)
SLOT_CLICKS = (1.0, 0.638, 0.449, 0.333)
"""Clicks of each slot over those of the top one: exp of 0, -.45, -.80 and -1.10."""

AUCTIONS = 40_000
BIDS = np.geomspace(0.02, 20.0, 1_400)
"""Bids over worth at which profit is tabled."""


@dataclass(frozen=True)
class Market:
    """What is known of each hotel and what is true of it; each of shape (hotels,)."""

    levels: tuple[list[str], list[str], list[str], list[str]]
    bookings: Floats
    expected: Floats
    effect: Floats
    weight: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Market:
        """A market and its month of bookings; the context model is right on average and knows no hotel."""
        size = COUNTRIES * CITIES * CLUSTERS * HOTELS
        number = np.arange(size)
        cluster, city = number // HOTELS, number // (HOTELS * CLUSTERS)
        country = city // CITIES
        popularity = rng.pareto(1.1, size) + 0.05
        effect = np.exp(
            rng.normal(0, HOTEL_DEVIATION, size) + rng.normal(0, MARKET_DEVIATION, COUNTRIES)[country],
        )
        context = np.exp(rng.normal(0, 0.3, size))
        value = np.exp(rng.normal(5.0, 0.5, size))
        clicks = rng.poisson(CLICKS * popularity / popularity.sum())
        rate = BOOKINGS / CLICKS * context / np.average(context * effect, weights=popularity)
        names = [
            [f"{letter}{n:05d}" for n in code]
            for letter, code in zip("hkcn", (number, cluster, city, country), strict=True)
        ]
        bookings = rng.poisson(clicks * rate * effect).astype(float)
        expected = clicks * rate
        weight = popularity * rate * effect * value
        levels = (names[0], names[1], names[2], names[3])
        return cls(levels, bookings, expected * bookings.sum() / expected.sum(), effect, weight)


@dataclass(frozen=True)
class Rivals:
    """Many auctions against rivals of known distribution, in units of what a click is worth to us.

    Attributes:
        earned: expected profit per auction of each of `BIDS`, in clicks of the top slot times worth.
        omniscient: the same of choosing the best slot, or none, in each auction.
        shade: the share of the worth that is best to bid, were the worth known.
    """

    earned: Floats
    omniscient: float
    shade: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Rivals:
        """Six rivals' scores, brought to our price; four slots, each costing the next score below."""
        shape = (AUCTIONS, len(AGGRESSIVENESS))
        bid = 0.125 * np.array(AGGRESSIVENESS) * np.exp(rng.normal(0, 0.55, shape))
        price = rng.normal(PRICE_MEAN, PRICE_DEVIATION, shape)
        ours = rng.normal(0, 0.035, (AUCTIONS, 1))
        bid = bid * np.exp(-6.0 * (price - ours)) * (rng.random(shape) < PRESENT)
        score = -np.sort(-bid, axis=1)[:, : len(SLOT_CLICKS)] / WORTH
        gain = np.array(SLOT_CLICKS) * (1.0 - score)
        # A bid takes the best slot whose score it beats, so that beating score j brings gain j instead of j + 1.
        earned = np.zeros(len(BIDS))
        for slot in range(len(SLOT_CLICKS)):
            step = gain[:, slot] - (gain[:, slot + 1] if slot + 1 < len(SLOT_CLICKS) else 0.0)
            order = np.argsort(score[:, slot])
            total = np.concatenate([[0.0], np.cumsum(step[order])])
            earned += total[np.searchsorted(score[order, slot], BIDS)] / AUCTIONS
        omniscient = float(np.maximum(gain.max(axis=1), 0.0).mean())
        return cls(earned, omniscient, float(BIDS[np.argmax(earned)]))

    def share(self, bids: Floats, weight: Floats) -> float:
        """Profit of bids (over worth) weighted by `weight`, both of shape (n,), as a share of the omniscient's."""
        profit = np.interp(bids, BIDS, self.earned)
        return float((weight * profit).sum() / (weight.sum() * self.omniscient))


def one_seed(seed: int) -> dict[str, float]:
    """Profit of each way as a share of O1, and how often a sparse hotel is bid above twice its worth."""
    rng = np.random.default_rng(seed)
    market, rivals = Market.draw(rng), Rivals.draw(rng)
    shrunk = Multipliers.fit(market.levels, market.bookings, market.expected)
    raw = np.divide(market.bookings, market.expected, out=np.zeros_like(market.expected), where=market.expected > 0)
    # What the context model calls average is the bookings' own mean, weighted by clicks.
    truth = market.effect / np.average(market.effect, weights=market.expected)
    ways = {
        "truth": truth,
        "careful": shrunk.of(market.levels, shade=rivals.shade),
        "mean": shrunk.of(market.levels, shade=None),
        "none": np.ones_like(raw),
        "raw": raw,
    }
    sparse = market.expected < SPARSE_BOOKINGS
    found = {"shade": rivals.shade, "strength": shrunk.strengths[0], "without": float((market.bookings == 0).mean())}
    for name, multiplier in ways.items():
        bids = rivals.shade * multiplier / truth
        found[name] = 100 * rivals.share(bids, market.weight)
        found[f"{name}_over"] = float((bids > MAX_OVER)[sparse].mean())
    return found | {"lowest": float(ways["careful"].min()), "highest": float(ways["careful"].max())}


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """All seeds; the settings of `ml.models.shrinkage` were chosen on seeds 100 to 159 and 300 to 359."""
    runs = [one_seed(seed) for seed in range(given.seeds)]

    def of(name: str) -> tuple[float, ...]:
        return tuple(round(found[name], 4) for found in runs)

    def mean(name: str) -> float:
        return round(sum(of(name)) / len(runs), 4)

    def ahead(name: str) -> tuple[float, ...]:
        return tuple(round(ours - theirs, 3) for ours, theirs in zip(of("careful"), of(name), strict=True))

    figures = {
        "profit": Figure(mean("careful"), "points of O1", peer=mean("truth"), runs=of("careful")),
        "posterior_mean": Figure(mean("mean"), "points of O1", peer=mean("truth"), runs=of("mean")),
    }
    for key, name, limit in (("ahead_of_raw_ratio", "raw", 20.0), ("ahead_of_no_hotel_effect", "none", 3.0)):
        figures[key] = Figure(
            round(sum(ahead(name)) / len(runs), 3), "points of O1", peer=mean(name), limit=limit, runs=ahead(name)
        )
        figures[f"{key}_least"] = Figure(min(ahead(name)), "points of O1")
    figures["bid_over_twice_worth"] = Figure(
        mean("careful_over"), "share of sparse hotels", peer=mean("none_over"), limit=0.01, runs=of("careful_over")
    )
    figures["lowest_multiplier"] = Figure(min(of("lowest")), "multiplier", limit=LOWEST)
    figures["highest_multiplier"] = Figure(max(of("highest")), "multiplier", limit=HIGHEST)
    figures["strength"] = Figure(median(of("strength")), "bookings", peer=strength_of(HOTEL_DEVIATION))
    figures["hotels_without_booking"] = Figure(mean("without"), "share")
    return figures


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=SEEDS, help="markets to draw")


if __name__ == "__main__":
    sys.exit(run("sparse_hotels", measure, arguments=_arguments))
