"""Pacing in a small market of its own: does spend keep to plan, the return to its floor, and how soon after a shock.

A month of 28 days of 96 quarter hours, about 40,000 clicks a day. Clicks at a bid are those of second-price auctions
with Hill-distributed prices, so that a marginal click costs its bid; traffic has a known curve over the day and the
week, day-to-day and slow intraday noise; bookings are Poisson with log-normal values, so that the return is as noisy
as it is. Spend and value are told half an hour late. Each month has one lasting shock, in traffic or in prices,
between its days 6 and 20. The month's budget is given, each day's plan is its share of what is left.

The peer is the same market under a multiplier of 1 throughout; `budget_only` is the PID without a floor, which shows
what the floor asks for. Settings were chosen on seeds 0 to 29 (`--tune`); the figures are of seeds 200 and on.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.common import Figure, run
from ml.bidding.landscape import Floats
from ml.bidding.pacing import RULES, DayPlan, Pacer, open_pacer

DAYS, STEPS, LAG = 28, 96, 2
CLICKS = 40_000.0
VALUE = 6_000_000.0
"""Gross value of a click, in micros."""
P_BOOK = 0.03
FLOOR = 37.0
"""Return at the plan's bids is 39, so that the floor binds once prices rise or traffic falls, and not before."""
SHOCKS = (("traffic", 2.0), ("traffic", 1.5), ("traffic", 0.6), ("price", 1.4), ("price", 1.8), ("price", 0.7))
TUNED_ON, QUOTED_ON = tuple(range(30)), tuple(range(200, 240))


@dataclass(frozen=True)
class Month:
    """A month's market, known to the simulation and not to the pacer.

    Attributes:
        traffic: clicks that a bid at the price scale would bring twice; shape (days, steps).
        price: scale of the prices in micros; shape (days, steps).
        curve: the pacer's expectation of a day's traffic share per step; shape (steps,).
        weekday: expected share of the month's traffic per day; shape (days,).
        budget: money of the month in micros.
        base_bid: bid at multiplier 1 in micros.
        shock_day: day on which the shock sets in.
    """

    traffic: Floats
    price: Floats
    curve: Floats
    weekday: Floats
    budget: float
    base_bid: float
    shock_day: int


def month(seed: int) -> Month:
    """The market of a seed."""
    rng = np.random.default_rng(seed)
    hours = np.array([2, 1, 1, 1, 1, 2, 3, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7, 8, 9, 9, 8, 6, 4], dtype=float)
    curve = np.interp(np.arange(STEPS) / 4, np.arange(25), np.append(hours, hours[0]))
    curve /= curve.sum()
    week = np.array([1.05, 1.0, 1.0, 0.95, 0.9, 1.0, 1.1])
    weekday = np.tile(week, 4) / week.sum() / 4
    daily = np.exp(rng.normal(0, 0.08, DAYS))
    slow = np.zeros(DAYS * STEPS)
    for step in range(1, len(slow)):
        slow[step] = 0.97 * slow[step - 1] + rng.normal(0, 0.02)
    traffic = CLICKS * 2 * DAYS * weekday[:, None] * daily[:, None] * curve * np.exp(slow).reshape(DAYS, STEPS)
    price = np.full((DAYS, STEPS), 400_000.0) * np.exp(rng.normal(0, 0.03, (DAYS, 1)))
    kind, size = SHOCKS[seed % len(SHOCKS)]
    start = int(rng.integers(6 * STEPS, 20 * STEPS))
    {"traffic": traffic, "price": price}[kind].reshape(-1)[start:] *= size
    base = 400_000.0
    _, cost = _auction(base, 400_000.0)
    return Month(traffic, price, curve, weekday, CLICKS * 2 * DAYS * cost, base, start // STEPS)


def _auction(bid: Floats | float, price: Floats | float) -> tuple[Any, Any]:
    """Clicks and cost per unit of traffic at a bid: k = b / (b + p), the marginal click costing its bid."""
    ratio = bid / np.asarray(price)
    clicks = ratio / (1 + ratio)
    return clicks, price * (np.log1p(ratio) - clicks)


def simulate(
    market: Month, pacer: Pacer | None, *, seed: int, floor: float | None = FLOOR
) -> tuple[Floats, Floats, Floats]:
    """Spend, value and plan per day; without a pacer the multiplier is 1."""
    rng = np.random.default_rng([seed, 7])
    spent, value, plans = np.zeros(DAYS), np.zeros(DAYS), np.zeros(DAYS)
    flying: list[tuple[float, float]] = []
    for day in range(DAYS):
        # The month's money that is left, by the traffic that is left.
        share = market.weekday[day] / market.weekday[day:].sum()
        plans[day] = share * (market.budget - spent[:day].sum()) if pacer else market.budget * market.weekday[day]
        if pacer is not None:
            pacer.start_day(DayPlan(plans[day], market.curve, floor, VALUE / market.base_bid))
        for step in range(STEPS):
            bid = market.base_bid * (pacer.multiplier(step) if pacer is not None else 1.0)
            rate, cost = _auction(bid, market.price[day, step]) if bid > 0 else (0.0, 0.0)
            clicks = rng.poisson(market.traffic[day, step] * rate)
            paid = (
                float(clicks * (cost / rate) * np.exp(rng.normal(0, 0.5 / np.sqrt(max(clicks, 1))))) if clicks else 0.0
            )
            bookings = rng.poisson(clicks * P_BOOK)
            brought = float(rng.lognormal(np.log(VALUE / P_BOOK) - 0.18, 0.6, bookings).sum())
            spent[day] += paid
            value[day] += brought
            if pacer is not None:
                flying.append((paid, brought))
                if len(flying) > LAG:
                    pacer.told(*flying.pop(0))
    return spent, value, plans


def oracle(market: Month, plans: Floats) -> Floats:
    """Spend per day of the best constant multiplier that knows the day: within its plan and above the floor."""
    best = np.zeros(DAYS)
    tried = np.geomspace(0.05, 4, 400)
    for day in range(DAYS):
        clicks, cost = _auction(market.base_bid * tried[:, None], market.price[day])
        total = (cost * market.traffic[day]).sum(axis=1)
        back = VALUE * (clicks * market.traffic[day]).sum(axis=1)
        fits = (total <= plans[day]) & (back >= FLOOR * total)
        best[day] = total[fits].max(initial=0.0)
    return best


def judge(name: str, seeds: tuple[int, ...]) -> dict[str, float]:
    """The figures of one rule over seeds; `fixed` is a multiplier of 1."""
    over_day, over_month, weeks, settled, value, spend_share = [], [], [], [], [], []
    for seed in seeds:
        market = month(seed)
        pacer = None if name == "fixed" else open_pacer(name.replace("budget_only", "pid"))
        spent, back, plans = simulate(market, pacer, seed=seed, floor=None if name == "budget_only" else FLOOR)
        over_day.append((spent / plans).max() - 1)
        over_month.append(spent.sum() / market.budget - 1)
        roas = back.reshape(4, 7).sum(axis=1) / spent.reshape(4, 7).sum(axis=1)
        weeks += [bool(week >= 0.95 * FLOOR) for week in roas]
        best = oracle(market, plans)
        near = np.abs(spent / best - 1) <= 0.10
        settled.append(_days_to_settle(near, market.shock_day))
        spend_share.append(spent.sum() / best.sum())
        value.append(back.sum() / 1e12)
    return {
        "over_day": max(over_day),
        "over_month": max(over_month),
        "weeks_above_floor": float(np.mean(weeks)),
        "settled_within_3_days": float(np.mean([days <= 3 for days in settled])),
        "settle_days": float(np.median(settled)),
        "spend_of_oracle": float(np.mean(spend_share)),
        "value": float(np.mean(value)),
    }


def _days_to_settle(near: npt.NDArray[np.bool_], shock_day: int) -> int:
    """Days after the day of the shock until spend is within 10 % of the oracle's on two days running."""
    for day in range(shock_day, DAYS - 1):
        if near[day] and near[day + 1]:
            return day - shock_day
    return DAYS


LIMITS = {"over_day": 0.02, "over_month": 0.005, "weeks_above_floor": 0.95, "settled_within_3_days": 1.0}
UNITS = {
    "over_day": "share above plan, worst day",
    "over_month": "share above plan, worst month",
    "weeks_above_floor": "share of weeks with ROAS >= 0.95 x floor",
    "settled_within_3_days": "share of shocks",
    "settle_days": "days, median",
    "spend_of_oracle": "spend over the oracle's",
    "value": "gross value a month, millions",
}


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """Every rule beside the fixed multiplier."""
    seeds = TUNED_ON if given.tune else QUOTED_ON[: given.seeds]
    peer = judge("fixed", seeds)
    without = judge("budget_only", seeds)["weeks_above_floor"]
    figures = {"budget_only_weeks_above_floor": Figure(without, UNITS["weeks_above_floor"])}
    return figures | {
        f"{name}_{key}": Figure(ours, UNITS[key], peer=peer[key], limit=LIMITS.get(key))
        for name in RULES
        for key, ours in judge(name, seeds).items()
    }


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tune", action="store_true", help="the seeds that settings were chosen on")
    parser.add_argument("--seeds", type=int, default=len(QUOTED_ON), help="how many of the quoted seeds")


if __name__ == "__main__":
    sys.exit(run("pacing", measure, arguments=_arguments))
