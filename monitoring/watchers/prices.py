"""Price parity: our prices, the cheapest rival's, and the gap between them.

Prices are held against those of the same hotel and day of arrival in the weeks before, so that neither the season nor the
mix of what is searched moves them, and it can be told whose prices moved.
"""

from __future__ import annotations

from datetime import date

from monitoring.watchers.level import Ratio, watch_ratio
from monitoring.watchers.limits import Level, WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MarketSeries

_RATIOS = (
    Ratio("prices", "own_price", "own_price_change", "matched", Level(0.015, 5.0, 100.0, 0.0015),
          "our price over that of the same stays before", is_log=True),
    Ratio("prices", "rival_price", "rival_price_change", "matched_rivals", Level(0.015, 5.0, 100.0, 0.0015),
          "the cheapest rival's price over that of the same stays before", is_log=True),
    Ratio("prices", "price_gap", "gap", "priced", Level(0.015, 5.0, 100.0, 0.0015),
          "our price over the cheapest rival's", is_log=True),
)  # fmt: skip


def watch_prices(series: MarketSeries, day: date, limits: WatchLimits) -> list[Watched]:  # noqa: ARG001
    """Whose prices moved, and the gap between them."""
    return [found for ratio in _RATIOS for found in watch_ratio(ratio, series, limits)]
