"""What the champion predicts of eligible traffic: won traffic moves with our own bids, eligible traffic with the market."""

from __future__ import annotations

from datetime import date

from monitoring.watchers.level import Ratio, watch_ratio
from monitoring.watchers.limits import Level, WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MarketSeries

_RATIOS = (
    Ratio("predictions", "predicted_click", "predicted_clicks", "sampled", Level(0.15, 5.0, 50.0, 0.02),
          "the predicted chance of a click"),
    Ratio("predictions", "predicted_booking", "predicted_bookings", "sampled", Level(0.15, 5.0, 50.0, 0.02),
          "the predicted chance that a click books"),
    Ratio("predictions", "predicted_value", "predicted_value", "sampled", Level(0.20, 5.0, 50.0, 0.03),
          "the predicted value of a click"),
)  # fmt: skip


def watch_predictions(series: MarketSeries, day: date, limits: WatchLimits) -> list[Watched]:  # noqa: ARG001
    """Predicted clicks, bookings and value of an eligible auction, all days scored by the same champion."""
    return [found for ratio in _RATIOS for found in watch_ratio(ratio, series, limits)]
