"""The rows that a candidate is trained on: what was known before one instant, held days left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from ml.features.training_set import TrainingSet
    from ml.platform import Platform

BOOKING_DAYS = 2 * 365
"""Bookings older than this would weigh less than a quarter; they are left out."""

CLICK_DAYS = 180
"""Clicks of half a year: a season, and few enough to read in a second."""

OFFER_DAYS = 28
"""Offers shown in four weeks tell places and prices apart; clicks on them are plenty."""

OFFER_ROWS = 300_000
"""At most about so many offers shown; beyond that a fixed share of them."""

AUCTIONS, AUCTION_ROWS = "auctions", 150_000
"""Name of the rows of all auctions of the same weeks, lost ones too, and about how many there are at most."""


def training_rows(platform: Platform, *, as_of: datetime, exclude_days: Sequence[date]) -> dict[str, pd.DataFrame]:
    """Rows for each model that the source has data for, and all `AUCTIONS`, which the conversion model reads too.

    Raises:
        NoData: the lake lacks a table or its features.
    """
    return {name: made.rows for name, made in training_sets(platform, as_of=as_of, exclude_days=exclude_days).items()}


def training_sets(platform: Platform, *, as_of: datetime, exclude_days: Sequence[date]) -> dict[str, TrainingSet]:
    """As `training_rows`, each with the queries that made it."""
    from ml.evaluation.rows import traffic_share
    from ml.features.place_rows import place_rows
    from ml.features.training_set import TrainingSet, booking_rows, click_rows, opportunity_rows
    from ml.models.rival_level import AUCTION_COLUMNS

    last = (as_of - timedelta(microseconds=1)).date()
    lake = platform.lake
    first_booking = last - timedelta(days=BOOKING_DAYS - 1)
    reads: dict[str, Callable[[], pd.DataFrame]] = {
        "value": lambda: booking_rows(
            lake, market=platform.market, as_of=as_of, first=first_booking, exclude_days=exclude_days
        )
    }
    if platform.source.has_opportunities:
        first_click, first_offer = last - timedelta(days=CLICK_DAYS - 1), last - timedelta(days=OFFER_DAYS - 1)
        share = traffic_share(platform, last, days=OFFER_DAYS, rows=OFFER_ROWS)
        reads["conversion"] = lambda: click_rows(lake, as_of=as_of, first=first_click, exclude_days=exclude_days)
        share_of_all = traffic_share(platform, last, days=OFFER_DAYS, rows=AUCTION_ROWS)
        reads[AUCTIONS] = lambda: place_rows(
            lake, AUCTION_COLUMNS, as_of=as_of, first=first_offer, exclude_days=exclude_days, share=share_of_all
        )
        reads["click"] = lambda: opportunity_rows(
            lake, as_of=as_of, first=first_offer, exclude_days=exclude_days, share=share
        )
    return {name: TrainingSet.made_by(read) for name, read in reads.items()}


def days_used(rows: dict[str, pd.DataFrame]) -> set[date]:
    """The market days whose partitions the rows came from."""
    return {day for frame in rows.values() for day in frame["known_at"].dt.date.unique()}
