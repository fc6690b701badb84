"""What our bids and prices reach: rivals' bids show in the places that the same bids at the same price gap had before."""

from __future__ import annotations

import math
from datetime import date

from monitoring.watchers.level import Ratio, watch_ratio
from monitoring.watchers.limits import Level, WatchLimits
from monitoring.watchers.own_bids import OWN_BID, without_our_doing
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MarketSeries

_RATIOS = (
    Ratio("places", "places_reached", "places", "places_expected", Level(0.10, 5.0, 100.0, 0.01),
          "the places reached over those that such bids and prices reached before"),
    Ratio("places", "impression_share", "impressions", "eligible", Level(0.15, 5.0, 100.0, 0.015),
          "our impression share", alarms=False),
)  # fmt: skip


def watch_places(series: MarketSeries, day: date, limits: WatchLimits) -> list[Watched]:  # noqa: ARG001
    """Places at the same bids and prices; impression share and our own bids as evidence of whose doing it is."""
    reached, share = (watch_ratio(ratio, series, limits) for ratio in _RATIOS)
    own = watch_ratio(OWN_BID, series, limits)
    return [*without_our_doing(reached, series, limits, unless=math.inf), *share, *own]
