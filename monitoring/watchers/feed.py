"""The price feed: prices shown that are not ours to ask, and hotels that are not offered.

A feed that breaks shows in the tail, not at the mean: some prices far below every rival's, and guests who pay another
rate than they were shown.
"""

from __future__ import annotations

from datetime import date

import numpy as np

from monitoring.watchers.level import Ratio, hold, judge_level, watch_ratio
from monitoring.watchers.limits import Level, WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MarketSeries

_RATIOS = (
    Ratio("feed", "far_below_rivals", "far_lower", "priced", Level(0.04, 5.0, 100.0, 0.004),
          "the share of our prices more than 10 % below every rival's", is_share=True, alarms=False),
    Ratio("feed", "wrong_rates", "inaccurate", "checked", Level(0.15, 4.0, 5.0, 0.05),
          "the share of bookings at another rate than was shown", is_share=True),
)  # fmt: skip


_SPREAD = Ratio("feed", "price_spread", "gap_squares", "priced", Level(0.25, 5.0, 100.0, 0.02),
                "the spread of our prices around the cheapest rival's")  # fmt: skip
"""A price that we mean to ask moves all prices alike and leaves their spread; one that a feed gets wrong does not."""


def watch_feed(series: MarketSeries, day: date, limits: WatchLimits) -> list[Watched]:  # noqa: ARG001
    """The spread of our prices against the rivals', prices out of line, rates that differ from the price shown."""
    return [*_spread(series, limits), *[found for ratio in _RATIOS for found in watch_ratio(ratio, series, limits)]]


def _spread(series: MarketSeries, limits: WatchLimits) -> list[Watched]:
    missing = series.why_missing("gap_squares", "gap", "priced")
    if missing:
        return [hold("feed", "price_spread", f"{_SPREAD.says}: {missing}")]
    least = limits.level("price_spread", _SPREAD.limit).least
    found = []
    for scope in series.scopes:
        squares, gap, priced = (series.need(name, scope) for name in ("gap_squares", "gap", "priced"))
        rows = np.where(priced >= least, priced, np.nan)
        spread = np.sqrt(np.maximum(squares / rows - (gap / rows) ** 2, 0.0))
        found.append(judge_level(_SPREAD, spread, series, scope, limits))
    return found
