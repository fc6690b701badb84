"""Watchers: each looks at some daily series of the market and says what moved. One place to add: a file, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from monitoring.watchers.limits import LIMITS, WatchLimits
from monitoring.watchers.protocol import Watched, Watcher
from monitoring.watchers.series import MarketSeries

WATCHERS: Mapping[str, Watcher] = {}
"""Every watcher by name, the name being the `check` of its findings."""


def watch(series: MarketSeries, day: date, limits: WatchLimits = LIMITS) -> list[Watched]:
    """What every watcher finds on the last day of the series."""
    return [found for watcher in WATCHERS.values() for found in watcher(series, day, limits)]
