"""Watchers: each looks at some daily series of the market and says what moved. One place to add: a file, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from monitoring.watchers.calibration import watch_calibration
from monitoring.watchers.cancellations import watch_cancellations
from monitoring.watchers.completion import watch_completion
from monitoring.watchers.demand import watch_demand
from monitoring.watchers.feed import watch_feed
from monitoring.watchers.freshness import watch_freshness
from monitoring.watchers.landscape import watch_landscape
from monitoring.watchers.limits import LIMITS, WatchLimits
from monitoring.watchers.places import watch_places
from monitoring.watchers.predictions import watch_predictions
from monitoring.watchers.prices import watch_prices
from monitoring.watchers.protocol import Watched, Watcher
from monitoring.watchers.reports import watch_reports
from monitoring.watchers.series import MarketSeries
from monitoring.watchers.skew import watch_skew
from monitoring.watchers.spend import watch_spend

WATCHERS: Mapping[str, Watcher] = {
    "completion": watch_completion,
    "cancellations": watch_cancellations,
    "prices": watch_prices,
    "feed": watch_feed,
    "landscape": watch_landscape,
    "places": watch_places,
    "spend": watch_spend,
    "demand": watch_demand,
    "predictions": watch_predictions,
    "calibration_bets": watch_calibration,
    "freshness": watch_freshness,
    "reports": watch_reports,
    "skew": watch_skew,
}
"""Every watcher by name, the name being the `check` of its findings that judge something."""


def watch(series: MarketSeries, day: date, limits: WatchLimits = LIMITS) -> list[Watched]:
    """What every watcher finds on the last day of the series, which is `day`."""
    if series.day != day:
        series = series.up_to(day)
    return [found for watcher in WATCHERS.values() for found in watcher(series, day, limits)]
