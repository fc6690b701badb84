"""A market's daily series made by hand: quiet, with what a test changes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from monitoring.watchers.series import NO_CLICK, Floats, MarketSeries, Scope

DAYS, LAST = 63, date(2026, 3, 8)
LEAVES = tuple(Scope(partner, point) for partner in ("google", "trivago") for point in ("DE", "FR"))
PER_LEAF = {
    "eligible": 4000.0,
    "impressions": 2000.0,
    "places": 1200.0,
    "places_expected": 1200.0,
    "clicks": 150.0,
    "clicks_expected": 150.0,
    "spend": 60e6,
    "clicked_bids": 100e6,
    "bids": 2000e6,
    "priced": 3800.0,
    "lower": 1000.0,
    "higher": 2000.0,
    "far_lower": 4.0,
    "gap": 100.0,
    "gap_squares": 12.0,
    "matched": 3000.0,
    "own_price_change": 0.0,
    "rival_price_change": 0.0,
    "matched_rivals": 2900.0,
    "new_hotels": 0.0,
    "bookings": 12.0,
    "day0": 10.0,
    "late": 2.0,
    "booking_value": 2400e6,
    "checked": 11.0,
    "inaccurate": 0.0,
    "early_cancelled": 5.0,
    "early_expected": 5.0,
    "sampled": 100.0,
    "predicted_clicks": 6.0,
    "predicted_bookings": 4.0,
    "predicted_value": 900e6,
    "expected_bookings": 12.0,
    "champion_bookings": 12.0,
}
WHOLE = {
    "planned_spend": 240e6,
    "planned_profit": 500e6,
    "direct": 300.0,
    "listed": 240.0,
    "covered": 235.0,
    "rows": 700.0,
    "repeated": 0.0,
    "restated": 0.0,
    "last_seen_hour": 23.9,
    "skew_compared": 200.0,
    "skew_equal": 200.0,
}
COUNTS = ("clicks", "bookings", "day0", "late", "early_cancelled", "champion_bookings", "eligible")

Change = Callable[[dict[str, Floats]], None]


def quiet(*, seed: int = 0, days: int = DAYS) -> MarketSeries:
    """A market in which nothing happens: counts are Poisson, the rest strays by 1 %."""
    rng = np.random.default_rng(seed)
    shape = (len(LEAVES) + 1, days)
    sums = {}
    for name, usual in PER_LEAF.items():
        drawn = rng.poisson(usual, shape) if name in COUNTS else usual * np.exp(rng.normal(0.0, 0.01, shape))
        sums[name] = np.asarray(drawn, dtype=np.float64)
        sums[name][-1] = 0.0
    for name in ("own_price_change", "rival_price_change"):
        sums[name][:-1] = rng.normal(0.0, 0.002, (len(LEAVES), days)) * 3000
    hours = {name: rng.poisson(PER_LEAF[name] / 24, (*shape, 24)).astype(np.float64) for name in ("clicks", "day0")} | {
        "spend": np.zeros((*shape, 24))
    }
    hours["spend"] = hours["clicks"] * 0.4e6
    for name in ("clicks", "day0"):
        sums[name] = hours[name].sum(axis=2)
        sums[name][-1] = 0.0
    sums["bookings"] = sums["day0"] + sums["late"]
    whole = {name: np.full(days, usual) for name, usual in WHOLE.items()}
    whole["direct"] = rng.poisson(WHOLE["direct"], days).astype(np.float64)
    first = LAST - timedelta(days=days - 1)
    return MarketSeries(
        tuple(first + timedelta(days=n) for n in range(days)),
        (*LEAVES, Scope(NO_CLICK)),
        sums,
        hours,
        whole,
        take_share=0.15,
    )


def times(
    series: MarketSeries, factor: float, *names: str, last: int, partner: str = "", point: str = ""
) -> MarketSeries:
    """Some sums of the last days times a factor, everywhere or in a part of the market; their hours too."""
    rows = [
        n for n, leaf in enumerate(series.leaves) if Scope(partner, point).covers(leaf) and leaf.partner != NO_CLICK
    ]
    sums, hours = dict(series.sums), dict(series.hourly)
    for name in names:
        sums[name] = sums[name].copy()
        sums[name][rows, -last:] *= factor
        if name in hours:
            hours[name] = hours[name].copy()
            hours[name][rows, -last:] *= factor
    return replace(series, sums=sums, hourly=hours)


def plus(series: MarketSeries, amount: float, top: str, bottom: str, *, last: int, partner: str = "") -> MarketSeries:
    """A sum of the last days raised by so much per unit of another."""
    rows = [n for n, leaf in enumerate(series.leaves) if Scope(partner).covers(leaf) and leaf.partner != NO_CLICK]
    sums = {**series.sums, top: series.sums[top].copy()}
    sums[top][rows, -last:] += amount * series.sums[bottom][rows, -last:]
    return replace(series, sums=sums)


def whole(series: MarketSeries, name: str, value: float) -> MarketSeries:
    """A value of the whole market on the last day."""
    found = series.whole[name].copy()
    found[-1] = value
    return replace(series, whole={**series.whole, name: found})


def without(series: MarketSeries, *names: str) -> MarketSeries:
    """The series of a source that does not provide these."""
    return replace(
        series,
        sums={name: found for name, found in series.sums.items() if name not in names},
        whole={name: found for name, found in series.whole.items() if name not in names},
        hourly={name: found for name, found in series.hourly.items() if name not in names},
    )
