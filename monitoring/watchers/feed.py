"""The price feed: prices shown that are not ours to ask, and hotels that are not offered.

A feed that breaks shows in the tail, not at the mean: some prices far below every rival's, and guests who pay another
rate than they were shown.
"""

from __future__ import annotations

from datetime import date

from monitoring.watchers.level import Ratio, watch_ratio
from monitoring.watchers.limits import Level, WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MarketSeries

_RATIOS = (
    Ratio("feed", "far_below_rivals", "far_lower", "priced", Level(0.04, 5.0, 100.0, 0.004),
          "the share of our prices more than 10 % below every rival's", is_share=True),
    Ratio("feed", "wrong_rates", "inaccurate", "checked", Level(0.15, 4.0, 5.0, 0.05),
          "the share of bookings at another rate than was shown", is_share=True),
)  # fmt: skip


def watch_feed(series: MarketSeries, day: date, limits: WatchLimits) -> list[Watched]:  # noqa: ARG001
    """Prices out of line, rates that differ from the price shown."""
    return [found for ratio in _RATIOS for found in watch_ratio(ratio, series, limits)]
