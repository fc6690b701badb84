"""The log of the off-policy benchmark: what the house policy's weeks on the simulated market leave behind, and the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml.core.units import MICROS_PER_UNIT
from ml.market.buckets import LEAD_STARTS, bucket_index
from ml.market.simulator.bids import HOUSE_JITTER_SD, our_bids

if TYPE_CHECKING:
    from ml.market.simulator.day import Contest, Market

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SD = 0.20
"""Jitter of the policies that are judged: nearly deterministic, and inside the logged one of 0.35."""

NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(5)
NODE_WEIGHTS = NODE_WEIGHTS / NODE_WEIGHTS.sum()
"""Means over that jitter, by quadrature."""

SETTLED_DAYS, YEAR = 60, 365


@dataclass(frozen=True)
class Log:
    """What we know of n opportunities after the event; every array of shape (n,), money in currency units.

    `centre` is the bid that the house policy jittered, `cpc` 0 without a click, `rival` the cheapest rival's price.
    """

    day: Ints
    partner: Ints
    hotel: Ints
    device: Ints
    country: Ints
    lead: Ints
    los: Ints
    default_date: npt.NDArray[np.bool_]
    price: Floats
    rival: Floats
    centre: Floats
    bid: Floats
    place: Ints
    clicked: npt.NDArray[np.bool_]
    cpc: Floats
    booked: npt.NDArray[np.bool_]

    @property
    def lead_bucket(self) -> Ints:
        """Number of the lead bucket."""
        return bucket_index(self.lead, LEAD_STARTS).astype(np.int64)

    @property
    def price_gap(self) -> Floats:
        """Logarithm of our price over the cheapest rival's; 0 without a rival."""
        known = np.isfinite(self.rival)
        return np.where(known, np.log(self.price / np.where(known, self.rival, self.price)), 0.0)

    @property
    def gross(self) -> Floats:
        """Price of the stay."""
        return self.price * self.los

    def rows(self, chosen: npt.NDArray[np.intp]) -> Log:
        """Some of the opportunities, by number."""
        return Log(**{name: getattr(self, name)[chosen] for name in Log.__dataclass_fields__})


Policy = Callable[[Log], Floats]
"""Factor on the house policy's centre, shape (n,), from what is known before the auction."""


def play_days(market: Market, first: date, days: int, policies: Mapping[str, Policy]) -> tuple[Log, dict[str, float]]:
    """The log of these days under the house policy, and the true profit per opportunity of other policies on them."""
    from ml.market.simulator.day import contests, play

    parts, profit, opportunities = [], dict.fromkeys(policies, 0.0), 0
    for number in range(days):
        for contest in contests(market, first + timedelta(days=number)):
            part = _log(
                market, contest, play(contest, our_bids(market.world, contest.searches, {}, contest.effects)), number
            )
            parts.append(part)
            opportunities += len(part.bid)
            for name, factor in policies.items():
                profit[name] += _true_profit(contest, part.centre * factor(part))
    names = Log.__dataclass_fields__
    log = Log(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
    return log, {name: total / opportunities for name, total in profit.items()}


def _log(market: Market, contest: Contest, outcome: npt.NDArray[Any], number: int) -> Log:
    """What is known of a contest after it; nothing of its truth."""
    searches = contest.searches
    still = searches.copy()
    still["jitter"] = 0.0
    centre = our_bids(market.world, still, {}, contest.effects) / MICROS_PER_UNIT * np.exp(HOUSE_JITTER_SD**2 / 2)
    return Log(
        day=np.full(len(searches), number, dtype=np.int64),
        **{name: searches[name].astype(np.int64) for name in ("partner", "hotel", "device", "country", "lead", "los")},
        default_date=searches["default_date"],
        price=searches["price"],
        rival=outcome["rival_price"],
        centre=centre,
        bid=outcome["bid"] / MICROS_PER_UNIT,
        place=outcome["position"].astype(np.int64),
        clicked=outcome["clicked"],
        cpc=np.where(outcome["clicked"], outcome["cpc"] / MICROS_PER_UNIT, 0.0),
        booked=outcome["clicked"] & (searches["conversion_die"] < outcome["conversion"]),
    )


def kept_shares(market: Market, *, before: date) -> Floats:
    """What we take of a booking's value, by lead bucket: from bookings made more than a year before, all of them ended by now."""
    from ml.market.simulator.bookings import DIRECT
    from ml.market.simulator.day import join, origin_bookings, resolve
    from ml.market.simulator.world import TAKE_SHARE

    days = [before - timedelta(days=YEAR + n) for n in range(SETTLED_DAYS)]
    rows = join([origin_bookings(market, day, resolve(market, day, {}, bookable_only=True)) for day in days])
    rows = rows[rows["segment"] != DIRECT]
    value = (rows["rate"] * rows["los"]).astype(np.float64)
    bucket = bucket_index(rows["lead"], LEAD_STARTS)
    gross = np.bincount(bucket, value, len(LEAD_STARTS))
    net = np.bincount(bucket, value * ~rows["cancelled"], len(LEAD_STARTS))
    mean = net.sum() / gross.sum()
    worth_ten = 10 * value.mean()  # ten bookings' worth of the mean, so that an empty bucket has it
    return np.asarray(TAKE_SHARE * (net + worth_ten * mean) / (gross + worth_ten), dtype=np.float64)


def _true_profit(contest: Contest, centre: Floats) -> float:
    """Expected profit of bids that jitter around these, in currency units."""
    from ml.market.simulator.auction import answer

    worth = (contest.conversion * contest.value)[:, None]
    found = answer(contest.ladder, centre[:, None] * np.exp(SD * NODES - SD**2 / 2))
    return float(((found.click * (worth - found.cost)) @ NODE_WEIGHTS).sum())
