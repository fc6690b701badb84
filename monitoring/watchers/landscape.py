"""What a click costs of what was bid for it, and how often a place is clicked.

Where the next score sets the price, the ratio stays well below 1 and moves slowly with how dense rivals stand. A ratio near
1 is a first price; above 1 no auction charges: a unit is wrong; of 0, clicks are not what is paid for.
"""

from __future__ import annotations

from datetime import date

from monitoring.watchers.level import Ratio, watch_ratio
from monitoring.watchers.limits import Level, WatchLimits
from monitoring.watchers.own_bids import without_our_doing
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MarketSeries

_RATIOS = (
    Ratio("landscape", "cost_of_bid", "spend", "clicked_bids", Level(0.12, 5.0, 1.0, 0.02),
          "the cost of a click over our bid"),
    Ratio("landscape", "click_rate", "clicks", "clicks_expected", Level(0.25, 5.0, 15.0, 0.03),
          "clicks over those that such places and prices had before"),
)  # fmt: skip


def watch_landscape(series: MarketSeries, day: date, limits: WatchLimits) -> list[Watched]:  # noqa: ARG001
    """Cost of a click over our bid, and clicks of the places reached."""
    cost, clicked = (watch_ratio(ratio, series, limits) for ratio in _RATIOS)
    return [*without_our_doing(cost, series, limits), *clicked]
