"""Six rivals, each with a price policy and a strategy for its bids.

Rivals watch the market's demand and conversion, and act on what they saw some days ago. They do not watch us: each
auction is then known but for our own bid, which is what makes an exact oracle possible.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np

from ml.market.simulator.scenarios import Active, on_day
from ml.market.simulator.world import Floats, number_of, season, stream

BID_SD = 0.55
"""Spread, in the logarithm, of a rival's bid around its aim."""

SHARE_OF_VALUE = 0.125 / 0.12
"""What a rival of aggression 1 bids, as a share of a click's true worth to us."""

_NOISE = 20  # number of the stream; see day.py for the others
_RELEVANCE_DAYS = 14
_RELEVANCE_NOISE = 0.03


@dataclass(frozen=True)
class Signals:
    """What a rival sees: demand against the year's middle (last 3 days), log odds of booking against the usual
    (last 7 days), and a draw of its own for the day (standard normal)."""

    demand: float
    conversion: float
    draw: float


def _static(_: Signals) -> float:
    return 1.0


def _daily_value(seen: Signals) -> float:
    """Bids what a click was worth last week, as far as it can tell."""
    return float(np.exp(0.9 * seen.conversion + 0.05 * seen.draw))


def _paced_budget(seen: Signals) -> float:
    """Holds its spend: bids less when there is more to buy. Where a PID controller of the daily budget settles."""
    return float(np.clip(seen.demand**-0.5, 0.6, 1.5))


def _target_roas(seen: Signals) -> float:
    """Holds its return: a fall of conversion is answered by more than the fall, because cheap clicks go last."""
    return float(np.clip(np.exp(1.4 * seen.conversion), 0.5, 1.8))


STRATEGIES: Mapping[str, Callable[[Signals], float]] = {
    "static": _static,
    "daily_value": _daily_value,
    "paced_budget": _paced_budget,
    "target_roas": _target_roas,
}
"""From what a rival saw to a factor on its bids."""


@dataclass(frozen=True)
class Rival:
    """One competitor: log price against the market's (mean and sd), how often it takes part, how hard it bids, how its
    name draws clicks (utility), the log of its post-click quality against ours, and its strategy."""

    name: str
    price_mean: float
    price_sd: float
    presence: float
    aggression: float
    brand: float
    quality: float
    strategy: str


RIVALS = (
    Rival("mega_one", 0.0, 0.02, 0.93, 1.25, 0.10, 0.10, "static"),
    Rival("mega_two", 0.0, 0.02, 0.88, 1.10, 0.10, 0.05, "daily_value"),
    Rival("middle_one", 0.005, 0.025, 0.70, 0.95, 0.0, 0.0, "paced_budget"),
    Rival("middle_two", 0.01, 0.03, 0.60, 0.85, 0.0, -0.05, "target_roas"),
    Rival("undercutter", -0.04, 0.04, 0.45, 0.70, -0.10, -0.15, "static"),
    Rival("hotel_direct", -0.01, 0.07, 0.50, 0.60, 0.05, 0.10, "daily_value"),
)
"""Two large agencies, two middling ones, one that undercuts, one hotel's own site."""


def column(name: str) -> Floats:
    """One property of all rivals; shape (6,)."""
    return np.array([getattr(rival, name) for rival in RIVALS], dtype=np.float64)


def bid_factors(seed: int, day: date, active: Sequence[Active]) -> Floats:
    """The factor on each rival's bids on a day, by its strategy; shape (6,)."""
    draws = stream(seed, day, _NOISE).standard_normal(len(RIVALS))
    demand = float(np.mean([_demand(day - timedelta(days=age), active) for age in range(1, 4)]))
    conversion = float(np.mean([on_day(active, day - timedelta(days=age)).conversion for age in range(1, 8)]))
    return np.array([
        STRATEGIES[rival.strategy](Signals(demand, conversion, draw))
        for rival, draw in zip(RIVALS, draws, strict=True)
    ])  # fmt: skip


def test_steps(seed: int, day: date) -> Floats:
    """The direction in which each rival moves its bids on a day while rivals are testing: -1 or 1; shape (6,)."""
    return np.where(stream(seed, day, _NOISE + 1).random(len(RIVALS)) < 0.5, -1.0, 1.0)


def relevance(seed: int, day: date, active: Sequence[Active]) -> Floats:
    """Log of the post-click quality that a partner ascribes to us and to each rival: an EWMA over 14 days; shape (7,).

    The quality of a day is the log of the advertiser's conversion against the market's, seen with a little noise: our
    site's faults and wrong prices lower ours, the rivals differ by nature.
    """
    weights = 0.8 ** np.arange(_RELEVANCE_DAYS)
    days = [day - timedelta(days=age) for age in range(1, _RELEVANCE_DAYS + 1)]
    seen = np.zeros((_RELEVANCE_DAYS, 1 + len(RIVALS)))
    seen[:, 1:] = column("quality")
    for place, then in enumerate(days):
        effects = on_day(active, then)
        seen[place, 0] = effects.site + np.log(1 - 0.75 * min(effects.wrong_price, 1.0))
        seen[place] += _measured(seed, then)
    learned: Floats = weights @ seen / weights.sum()
    return learned


@lru_cache(maxsize=1024)
def _measured(seed: int, day: date) -> Floats:
    """How far off a partner's measure of each advertiser's quality is on a day; shape (7,)."""
    return _RELEVANCE_NOISE * stream(seed, day, _NOISE + 2).standard_normal(1 + len(RIVALS))


def wrong_prices_seen(day: date, active: Sequence[Active]) -> float:
    """Share of our prices that a partner's checks found wrong over the last 7 days, the newest counting most."""
    weights = 0.7 ** np.arange(7)
    seen = np.array([on_day(active, day - timedelta(days=age)).wrong_price for age in range(1, 8)])
    return float(weights @ seen / weights.sum())


def _demand(day: date, active: Sequence[Active]) -> float:
    return float(season(number_of(day), False) * np.exp(on_day(active, day).demand))
