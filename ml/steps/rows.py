"""The rows that several steps look at: recent bookings and traffic, and how much history counts as recent."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from ml.platform import Platform

VALUE_DAYS = 56
"""Bookings of these last days carry the mix that a value table averages over: eight whole weeks."""

TRAFFIC_DAYS = 14
"""Traffic of these last days carries the mix that bids are made for: two whole weeks."""


def held_days(platform: Platform, day: date) -> list[date]:
    """Days that nothing may be learned from."""
    from ml.ledger import stages

    return stages.held_days(platform.db, platform.market, last=day)


def recent_bookings(platform: Platform, day: date, *, days: int) -> pd.DataFrame:
    """Bookings made in the last `days` market days up to `day`, with features as known when each was made."""
    from ml.features.training_set import decision_rows

    return decision_rows(
        platform.lake,
        market=platform.market,
        first=day - timedelta(days=days - 1),
        last=day,
        exclude_days=held_days(platform, day),
    )


def recent_traffic(platform: Platform, day: date, *, days: int) -> pd.DataFrame:
    """Shown opportunities of the last `days` market days, with what was known of their clicks by the end of `day`."""
    from ml.core.units import known_by
    from ml.features.training_set import opportunity_rows

    return opportunity_rows(
        platform.lake,
        first=day - timedelta(days=days - 1),
        last=day,
        as_of=known_by(day),
        exclude_days=held_days(platform, day),
    )
