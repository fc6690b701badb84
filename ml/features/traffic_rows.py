"""Auctions, shown opportunities and clicks as rows to learn from, with what was known of their clicks and bookings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from typing import Any

import pandas as pd

from ml.features.decisions import (
    chosen_views,
    decided,
    last_day_before,
    share_of,
    to_pandas,
    with_features,
    without_days,
)
from ml.features.engine import Engine, engine, open_canonical
from ml.features.facts import day_number, first_known
from ml.features.tally import Tally, tally
from ml.lake.lake import Lake

Views = Collection[str] | None
"""Names of feature views; None for every view that the rows have the keys of."""


def opportunity_rows(
    lake: Lake,
    *,
    as_of: datetime,
    first: date | None = None,
    last: date | None = None,
    exclude_days: Sequence[date] = (),
    views: Views = None,
    share: float = 1.0,
    eligible: bool = False,
) -> pd.DataFrame:
    """Opportunities in which our offer was shown, known before `as_of`, and whether they were clicked.

    Args:
        lake: the market's lake.
        as_of: clicks known at or after it are not seen.
        first: first market day; None for all.
        last: last market day; None for the one before `as_of`.
        exclude_days: market days of which nothing is taken.
        views: feature views to join; None for all that describe traffic.
        share: of the opportunities, above 0 to 1; chosen by a hash of the id, so that it is the same choice always.
        eligible: also those in which our offer was not shown.

    Returns:
        One row per opportunity, ordered by ts and opportunity_id: the canonical columns, lead_bucket, los_bucket,
        `decision_at` (00:00 UTC of the day), `clicked` (bool), `clicked_known_at`, the views' features as float64 and
        `<view>_known_from`, from when they were known.
    """
    until = min(last or date.max, last_day_before(as_of))
    wanted = chosen_views(views, source="opportunities")
    with engine(lake) as backend:
        read = partial(_known, backend, lake, first=first, exclude_days=exclude_days, as_of=as_of)
        shown = read("opportunities", last=until)
        shown = share_of(shown if eligible else shown.filter(shown["shown"]), "opportunity_id", share)
        clicks = read("clicks", last=None)
        first_click = clicks.group_by("opportunity_id").agg(
            clicked_known_at=clicks["known_at"].min(), click_count=clicks.count()
        )
        both = shown.left_join(first_click, "opportunity_id")
        rows = both.select(*shown.columns, "clicked_known_at", clicked=both["click_count"].fill_null(0) > 0)
        order = ("ts", "opportunity_id")
        return with_features(backend, lake, decided(rows, time="ts"), views=wanted, last=until, order=order)


def traffic_tally(
    lake: Lake,
    *,
    day: date,
    days: Sequence[date],
    first: date,
    numbers: Mapping[str, tuple[float, float]],
    labels: Sequence[str],
) -> dict[str, Tally]:
    """All opportunities of these days, counted by day and bin: what was searched for, and our price among our rivals'.

    Args:
        lake: the market's lake.
        day: the last day of the tally.
        days: the days to count; others have no rows.
        first: the first day of the tally.
        numbers: columns of the canonical table, or `relative_price` (ours over the cheapest rival's), and their ranges.
        labels: columns of text.
    """
    there = set(lake.days("opportunities"))
    paths = lake.paths_of("opportunities", [one for one in days if one in there])
    with engine(lake) as backend:
        rows = backend.read(paths, "opportunities")
        ratio = rows["price_micros"].cast("float64") / rows["rival_price_micros"].cast("float64")
        rows = rows.mutate(known_day=day_number(rows["known_at"]), relative_price=ratio)
        epoch = date(1970, 1, 1)
        span = {"first": (first - epoch).days, "days": (day - first).days + 1}
        return tally(backend, rows, day="known_day", **span, numbers=numbers, labels=labels)


def click_rows(
    lake: Lake,
    *,
    as_of: datetime,
    first: date | None = None,
    last: date | None = None,
    exclude_days: Sequence[date] = (),
    views: Views = None,
) -> pd.DataFrame:
    """Clicks known before `as_of` with their search, and whether a booking was known to have come of them.

    Returns:
        One row per click, ordered by its opportunity's ts and click_id: the columns of `opportunity_rows` but for
        clicked, then click_id, `click_known_at`, cpc_micros, `booked` (bool), `booking_known_at` and
        `booking_value_micros` (both null where no booking is known).
    """
    until = min(last or date.max, last_day_before(as_of))
    wanted = chosen_views(views, source="opportunities")
    with engine(lake) as backend:
        read = partial(_known, backend, lake, first=first, exclude_days=exclude_days, as_of=as_of)
        shown = read("opportunities", last=until)
        clicks = first_known(read("clicks", last=until), "click_id", "opportunity_id", "cpc_micros")
        clicks = clicks.rename(click_known_at="known_at")
        bookings = first_known(read("bookings", last=None), "booking_id", "click_id", "value_micros")
        booked = bookings.group_by("click_id").agg(
            booking_known_at=bookings["known_at"].min(),
            booking_value_micros=bookings["value_micros"].sum().cast("int64"),
            booking_count=bookings.count(),
        )
        searched = shown.inner_join(clicks, "opportunity_id")
        both = searched.left_join(booked, "click_id")
        rows = both.select(
            *searched.columns,
            *("booking_known_at", "booking_value_micros"),
            booked=both["booking_count"].fill_null(0) > 0,
        )
        return with_features(
            backend, lake, decided(rows, time="ts"), views=wanted, last=until, order=("ts", "click_id")
        )


def auction_rows(
    lake: Lake,
    *,
    as_of: datetime,
    first: date | None = None,
    last: date | None = None,
    exclude_days: Sequence[date] = (),
) -> pd.DataFrame:
    """Every auction known before `as_of`, those that we lost too, with what we bid and what a click cost.

    Returns:
        One row per opportunity, ordered by its id: opportunity_id, ts, partner, market, hotel_id, device, lead_bucket,
        los_bucket, bid_micros, shown, `clicked` (bool) and cpc_micros (null where there was no click).
    """
    until = min(last or date.max, last_day_before(as_of))
    with engine(lake) as backend:
        read = partial(_known, backend, lake, first=first, exclude_days=exclude_days, as_of=as_of)
        auctions = decided(read("opportunities", last=until), time="ts")
        clicks = read("clicks", last=None)
        paid = clicks.group_by("opportunity_id").agg(cpc_micros=clicks["cpc_micros"].max())
        rows = auctions.left_join(paid, "opportunity_id").select(
            *("opportunity_id", "ts", "partner", "market", "hotel_id", "device", "lead_bucket", "los_bucket"),
            *("bid_micros", "shown", "cpc_micros"),
        )
        rows = rows.mutate(clicked=rows["cpc_micros"].fill_null(-1) >= 0)
        return to_pandas(backend, rows.order_by("opportunity_id"))


def _known(
    backend: Engine,
    lake: Lake,
    name: str,
    *,
    first: date | None,
    last: date | None,
    exclude_days: Sequence[date],
    as_of: datetime,
) -> Any:
    """The rows of a canonical table that were known before an instant."""
    until = min(last or date.max, last_day_before(as_of))
    rows = without_days(open_canonical(backend, lake, name, first=first, last=until), exclude_days)
    return rows.filter(rows["known_at"] < as_of)
