"""Daily facts of the market for those who watch it: one pass of the lake's engine over the canonical tables.

Everything counts on the day on which it became known, so that what a day taught never changes, whatever comes later.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import ibis
import pandas as pd

from ml.core.errors import NoData
from ml.features.engine import Engine, engine, open_canonical
from ml.features.facts import bucket_label, day_number, first_known
from ml.lake.lake import Lake
from ml.market.buckets import LEAD_BUCKETS, LEAD_STARTS

PLACES = 4
"""A place below this one counts as the last."""

LATE_DAYS = 30
"""A booking is counted to a click for so long."""

REFERENCE_DAYS, GAP_DAYS = 28, 3
"""Prices of a day are held against those of so many days, which end so many days before it."""

EARLY_AGES = 8
"""Cancellations are early on the day of booking and the seven after it."""

BID_STEP, GAP_STEP = 0.35, 0.02
BID_BINS, GAP_BINS = 40, 14
"""Auctions are alike whose bid over the stay's price lies in one step of its logarithm, and our price over the cheapest
rival's in another; the last bin of the gap is that of auctions without rivals."""

SAME_PRICE, FAR_PRICE, WRONG_RATE = 0.01, 0.10, 0.05

_KEYS = ("day", "partner", "point")


@dataclass(frozen=True)
class Facts:
    """Counts and sums by day (days since 1970-01-01), partner and point of sale, as frames; by name:

    auctions, clicks, bookings, prices, fresh: the columns of `monitoring.watchers.measures.SUMS` that come from each.
    cells: `cell` (bid and price gap), auctions `n` and `places`. shown, shown_clicks: `cell` (place and price gap), `n`.
    hours: `hour`, clicks, spend, day0. made: bookings by `lead`; cancelled: by `lead` and `age` in days.
    whole: by day alone, direct, last_seen_hour, listed, covered.

    `frames` lacks what the source does not deliver. `days` are those that landed.
    """

    first: date
    last: date
    days: frozenset[date]
    frames: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def watch_facts(lake: Lake, *, first: date, last: date, odd: Collection[date] = ()) -> Facts:
    """The facts of the days from `first` to `last` from what these days' partitions tell.

    A booking or a price is held against what `LATE_DAYS` before it told, so the first weeks know less than the rest.
    `odd` days are nobody's reference: their prices count for no later day.
    """
    found: dict[str, Any] = {}
    days: set[date] = set()
    with engine(lake) as backend:
        if lake.days("opportunities"):
            days = {day for day in lake.days("opportunities") if first <= day <= last}
            auctions = backend.keep(
                "auctions", _auctions(open_canonical(backend, lake, "opportunities", first=first, last=last))
            )
            found |= _traffic(auctions) | {"prices": _prices(auctions, odd), "fresh": _fresh(auctions)}
            if lake.days("clicks"):
                clicks = backend.keep("clicked", _clicked(backend, lake, auctions, first=first, last=last))
                found |= _clicks(clicks)
                if lake.days("bookings"):
                    booked = backend.keep("booked", _booked(backend, lake, clicks, first=first, last=last))
                    found |= _bookings(booked)
                    found |= {"hours": _hours(clicks, booked)}
                    found |= _cohorts(backend, lake, booked, first=first, last=last)
            found |= _whole(backend, lake, auctions, first=first, last=last)
        return Facts(first, last, frozenset(days), {name: _frame(backend, rows) for name, rows in found.items()})


def read_prices(lake: Lake, *, first: date, last: date, odd: Collection[date] = ()) -> pd.DataFrame:
    """The frame `prices` of `watch_facts` by itself: the only one that depends on which days are odd."""
    with engine(lake) as backend:
        rows = _auctions(open_canonical(backend, lake, "opportunities", first=first, last=last))
        auctions = backend.keep("auctions", rows.select(*_KEYS, "hotel_id", "arrival", "own", "rival"))
        return _frame(backend, _prices(auctions, odd))


def _frame(backend: Engine, rows: Any) -> pd.DataFrame:
    frame: pd.DataFrame = backend.to_pyarrow(rows).to_pandas()
    return frame


def _auctions(rows: Any) -> Any:
    """The auctions in the numbers that are asked of them."""
    price, rival = rows["price_micros"].cast("float64"), rows["rival_price_micros"].cast("float64")
    stay = price * rows["los_nights"].cast("float64")
    place = ibis.greatest(PLACES + 1 - rows["position"].fill_null(PLACES).cast("int64"), 1).cast("float64") / PLACES
    gap = (price / rival).ln()
    bid = (ibis.greatest(rows["bid_micros"].cast("float64"), 1.0) / stay).ln()
    return rows.select(
        "opportunity_id",
        "partner",
        "hotel_id",
        "bid_micros",
        "price_micros",
        "shown",
        point=rows["user_country"],
        day=day_number(rows["known_at"]),
        hour=rows["ts"].hour() + rows["ts"].minute() / 60.0,
        arrival=day_number(rows["check_in"]),
        own=price.ln(),
        rival=rival.ln(),
        gap=gap,
        gap_bin=ibis.greatest(ibis.least((gap / GAP_STEP).round().cast("int64"), 6), -6).fill_null(7) + 6,
        bid_bin=ibis.greatest(ibis.least((bid / BID_STEP).round().cast("int64"), 0), 1 - BID_BINS) + BID_BINS - 1,
        place=ibis.cases((rows["shown"], place), else_=0.0),
    )


def _traffic(auctions: Any) -> dict[str, Any]:
    gap = auctions["gap"]
    totals = auctions.group_by(*_KEYS).agg(
        eligible=auctions.count(),
        impressions=auctions["shown"].sum(),
        places=auctions["place"].sum(),
        bids=auctions["bid_micros"].sum(),
        priced=gap.count(),
        lower=(gap < -SAME_PRICE).sum(),
        higher=(gap > SAME_PRICE).sum(),
        far_lower=(gap < -FAR_PRICE).sum(),
        gap=gap.sum(),
        gap_squares=(gap * gap).sum(),
    )
    cell = (auctions["bid_bin"] * GAP_BINS + auctions["gap_bin"]).cast("int64")
    cells = auctions.mutate(cell=cell).group_by(*_KEYS, "cell").agg(n=ibis._.count(), places=ibis._.place.sum())
    shown = auctions.filter(auctions["shown"]).mutate(cell=_listing(auctions))
    return {
        "auctions": totals,
        "cells": cells,
        "shown": shown.group_by(*_KEYS, "cell").agg(n=ibis._.count()),
    }


def _listing(rows: Any) -> Any:
    """The cell of a shown offer: place and price gap."""
    return ((rows["place"] * PLACES).round().cast("int64") * GAP_BINS + rows["gap_bin"]).cast("int64")


def _clicked(backend: Engine, lake: Lake, auctions: Any, *, first: date, last: date) -> Any:
    """A row per click with its auction, on the day on which it was first known."""
    clicks = first_known(
        open_canonical(backend, lake, "clicks", first=first, last=last),
        "click_id",
        "opportunity_id",
        "cpc_micros",
        "ts",
    )
    clicks = clicks.select(
        "click_id",
        "opportunity_id",
        "cpc_micros",
        click_day=day_number(clicks["known_at"]),
        click_hour=clicks["ts"].hour(),
    )
    both = clicks.inner_join(auctions, "opportunity_id")
    return both.select(
        *("click_id", "cpc_micros", "bid_micros", "price_micros", "partner", "point", "hotel_id", "click_hour"),
        day=both["click_day"],
        cell=_listing(both),
    )


def _clicks(clicks: Any) -> dict[str, Any]:
    return {
        "clicks": clicks.group_by(*_KEYS).agg(
            clicks=clicks.count(), spend=clicks["cpc_micros"].sum(), clicked_bids=clicks["bid_micros"].sum()
        ),
        "shown_clicks": clicks.group_by(*_KEYS, "cell").agg(n=clicks.count()),
    }


def _booked(backend: Engine, lake: Lake, clicks: Any, *, first: date, last: date) -> Any:
    """A row per booking, on the day on which it was first known, with its click where one is credited with it."""
    bookings = open_canonical(backend, lake, "bookings", first=first, last=last)
    bookings = first_known(bookings, "booking_id", "click_id", "hotel_id", "lead_days", "rate_micros", "value_micros")
    bookings = bookings.rename(booked_hotel="hotel_id").mutate(
        booked_day=day_number(bookings["known_at"]), booked_hour=bookings["known_at"].hour()
    )
    clicks = clicks.rename(click_day="day")
    both = bookings.left_join(clicks, "click_id")
    return both.select(
        *("booking_id", "partner", "point", "value_micros", "rate_micros", "price_micros", "booked_hour"),
        day=both["booked_day"],
        age=both["booked_day"] - both["click_day"],
        direct=both["click_id"].isnull(),  # noqa: PD003  (Ibis)
        same_hotel=(both["booked_hotel"] == both["hotel_id"]).fill_null(False),
        lead=bucket_label(both["lead_days"], LEAD_STARTS, LEAD_BUCKETS),
    )


def _bookings(booked: Any) -> dict[str, Any]:
    counted = booked.filter(booked["age"] >= 0, booked["age"] <= LATE_DAYS)
    off = counted["rate_micros"].cast("float64") / counted["price_micros"].cast("float64") - 1.0
    wrong = counted["same_hotel"] & (off.abs() > WRONG_RATE)
    return {
        "bookings": counted.group_by(*_KEYS).agg(
            bookings=counted.count(),
            day0=(counted["age"] == 0).sum(),
            late=(counted["age"] > 0).sum(),
            booking_value=counted["value_micros"].sum(),
            checked=counted["same_hotel"].sum(),
            inaccurate=wrong.sum(),
        )
    }


def _hours(clicks: Any, booked: Any) -> Any:
    """Clicks and their cost by the hour of the click, bookings of the same day by the hour in which they were known."""
    of_clicks = clicks.select(
        *_KEYS, hour=clicks["click_hour"].cast("int64"), clicks=1, spend=clicks["cpc_micros"], day0=0
    )
    same = booked.filter(booked["age"] == 0)
    of_bookings = same.select(*_KEYS, hour=same["booked_hour"].cast("int64"), clicks=0, spend=0, day0=1)
    columns = {"clicks": "int64", "spend": "int64", "day0": "int64"}
    every = ibis.union(of_clicks.cast(columns), of_bookings.cast(columns))
    return every.group_by(*_KEYS, "hour").agg(**{name: every[name].sum() for name in columns})


def _cohorts(backend: Engine, lake: Lake, booked: Any, *, first: date, last: date) -> dict[str, Any]:
    """Bookings made, and the cancellations among them by age; those without a known click have no partner."""
    keys = (*_KEYS, "lead")
    found = {"made": booked.group_by(*keys).agg(n=booked.count())}
    if not lake.days("booking_events"):
        return found
    events = open_canonical(backend, lake, "booking_events", first=first, last=last)
    ends = first_known(events.filter(events["kind"].isin(["cancelled", "stayed"])), "booking_id", "kind", ties=["kind"])
    cancelled = ends.filter(ends["kind"] == "cancelled").select("booking_id", end_day=day_number(ends["known_at"]))
    both = cancelled.inner_join(booked, "booking_id")
    aged = both.select("partner", "point", "lead", day=both["end_day"], age=both["end_day"] - both["day"])
    aged = aged.filter(aged["age"] >= 0, aged["age"] < EARLY_AGES)
    return {**found, "cancelled": aged.group_by(*keys, "age").agg(n=aged.count())}


def _prices(auctions: Any, odd: Collection[date]) -> Any:
    """Our price and the cheapest rival's against those of the same hotel and day of arrival in the reference days."""
    key = ("hotel_id", "arrival")
    daily = auctions.group_by(*key, "day").agg(
        n=ibis._.count(), own=ibis._.own.sum(), m=ibis._.rival.count(), rival=ibis._.rival.sum()
    )
    if odd:
        counts = ~daily["day"].isin([(one - date(1970, 1, 1)).days for one in odd])
        daily = daily.mutate(
            **{
                name: ibis.cases((counts, daily[name]), else_=0).cast(daily[name].type())
                for name in ("n", "own", "m", "rival")
            }
        )
    # A frame that ends before the row itself is not said alike by every engine, so it is what a long frame has more.
    long, short = (
        ibis.range_window(group_by=key, order_by="day", preceding=days, following=0)
        for days in (REFERENCE_DAYS + GAP_DAYS, GAP_DAYS)
    )
    past = daily.select(
        *key,
        "day",
        **{
            f"{name}_before": daily[name].sum().over(long) - daily[name].sum().over(short)
            for name in ("n", "own", "m", "rival")
        },
    )
    rows = auctions.inner_join(past, [*key, "day"])
    own = rows["own"] - rows["own_before"] / ibis.cases((rows["n_before"] > 0, rows["n_before"]), else_=None)
    rival = rows["rival"] - rows["rival_before"] / ibis.cases((rows["m_before"] > 0, rows["m_before"]), else_=None)
    return rows.group_by(*_KEYS).agg(
        matched=own.count(),
        own_price_change=own.sum().fill_null(0.0),
        matched_rivals=rival.count(),
        rival_price_change=rival.sum().fill_null(0.0),
    )


def _fresh(auctions: Any) -> Any:
    """Auctions by the number of days since their hotel had its first one in the lake's days that were read."""
    firsts = auctions.group_by("hotel_id").agg(seen=auctions["day"].min())
    rows = auctions.inner_join(firsts, "hotel_id")
    rows = rows.mutate(age=rows["day"] - rows["seen"])
    rows = rows.filter(rows["age"] < REFERENCE_DAYS + GAP_DAYS)
    return rows.group_by(*_KEYS, "seen").agg(n=rows.count())


def _whole(backend: Engine, lake: Lake, auctions: Any, *, first: date, last: date) -> dict[str, Any]:
    found = {
        "seen": auctions.group_by("day").agg(
            last_seen_hour=auctions["hour"].max(), covered=auctions["hotel_id"].nunique()
        )
    }
    try:
        hotels = open_canonical(backend, lake, "hotels", first=first, last=last)
        bookings = open_canonical(backend, lake, "bookings", first=first, last=last)
    except NoData:
        return found
    direct = first_known(bookings, "booking_id", "click_id")
    direct = direct.filter(direct["click_id"].isnull()).mutate(day=day_number(ibis._.known_at))  # noqa: PD003  (Ibis)
    return {
        **found,
        "listed": hotels.mutate(day=day_number(hotels["known_at"]))
        .group_by("day")
        .agg(listed=ibis._.hotel_id.nunique()),
        "direct": direct.group_by("day").agg(direct=ibis._.count()),
    }
