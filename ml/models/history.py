"""The history features that models read: names of `ml.features.definitions`, written out so that a model does not
import the feature engine. A test holds the two together."""

from __future__ import annotations

from ml.models.encoding import Column

_BOOKING_WINDOWS = (28, 90, 365)
_TRAFFIC_WINDOWS = (7, 28)

_BOOKING_MEASURES = (
    ("bookings", "bookings", "bookings made"),
    ("cancel_ratio", "log ratio", "cancellations seen over cancellations expected by age"),
)
_TRAFFIC_MEASURES = (
    ("impressions", "impressions", "times our offer was shown"),
    ("ctr", "share", "clicks per impression"),
    ("cvr", "share", "bookings per click"),
    ("mean_cpc_micros", "micros", "mean cost of a click"),
)


def _columns(prefix: str, windows: tuple[int, ...], measures: tuple[tuple[str, str, str], ...]) -> tuple[Column, ...]:
    return tuple(
        Column(f"{prefix}_{name}_{window}d", unit, f"{meaning}, last {window} days, of the {prefix}")
        for window in windows
        for name, unit, meaning in measures
    )


BOOKING_HISTORY: tuple[Column, ...] = (
    *_columns("agent", _BOOKING_WINDOWS, _BOOKING_MEASURES),
    *_columns("company", _BOOKING_WINDOWS, _BOOKING_MEASURES),
    *_columns("segment", _BOOKING_WINDOWS, _BOOKING_MEASURES),
)
"""Histories of a booking's agent, company and segment. Two measures of the views are left out, because with them
the walk through the real bookings came out worse: the cancellation rate among known outcomes waits for stays and so
moves with the season of arrivals, and the mean value is a trend of prices that has ended by the day it is used."""

TRAFFIC_HISTORY: tuple[Column, ...] = _columns("traffic", _TRAFFIC_WINDOWS, _TRAFFIC_MEASURES)
"""History of a hotel at a partner."""
