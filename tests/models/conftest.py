"""A small market with a known truth: bookings that cancel by a law we wrote, clicks that book, offers that are clicked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.market.buckets import lead_buckets, los_buckets
from ml.models.history import BOOKING_HISTORY, TRAFFIC_HISTORY
from ml.models.numbers import sigmoid

START = datetime(2016, 1, 1, tzinfo=UTC)
AS_OF = datetime(2016, 10, 1, tzinfo=UTC)


def _times(start: datetime, days: Any) -> pd.Series[Any]:
    base = pd.Timestamp(start)
    return pd.Series(base + pd.to_timedelta(np.asarray(days, dtype=float), unit="D")).dt.as_unit("us")


def make_bookings(rows: int = 6_000, *, seed: int = 0, days: int = 300) -> pd.DataFrame:
    """Bookings from January 2016 on, with their final outcome and when it became known.

    How lead time acts depends on the segment; half of the cancellations come in the first fifth of the booking
    window, the rest evenly, as in the real data.
    """
    rng = np.random.default_rng(seed)
    booked = np.sort(rng.integers(0, days, rows))
    lead = rng.gamma(0.9, 60, rows).astype(int).clip(0, 400)
    nights = rng.integers(1, 8, rows)
    agent = rng.integers(0, 30, rows)
    segment = rng.choice(["online", "offline", "groups", "direct", "odd"], rows, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    # Lead time acts on online bookings alone: a line in log odds cannot tell that.
    far = np.where(segment == "online", np.where(lead > 30, 2.2, -1.2), np.where(lead > 30, -0.8, 0.8))
    p = sigmoid(-1.0 + far + np.where(segment == "groups", 0.8, 0.0))
    cancelled = rng.random(rows) < p
    early = rng.random(rows) < 0.5
    when = np.where(early, rng.random(rows) * 0.2, rng.random(rows)) * lead
    known = np.where(cancelled, booked + np.floor(when), booked + lead + nights)
    rate = np.exp(rng.normal(4.5, 0.4, rows))
    value = np.rint(rate * nights * 1e6).astype(np.int64)
    booked_at = _times(START, booked)
    frame = pd.DataFrame(
        {
            "booking_id": [f"b{n:06d}" for n in rng.permutation(rows)],
            "hotel_id": rng.choice(["h1", "h2"], rows),
            "booked_at": booked_at,
            "known_at": booked_at + pd.Timedelta(hours=23),
            "decision_at": booked_at.dt.floor("D"),
            "check_in": _times(START, booked + lead),
            "lead_days": lead,
            "los_nights": nights,
            "segment": segment,
            "channel": rng.choice(["ta", "direct"], rows),
            "customer_type": rng.choice(["transient", "group"], rows),
            "agent_id": np.where(rng.random(rows) < 0.1, None, np.char.add("a", agent.astype(str)).astype(object)),
            "company_id": np.where(rng.random(rows) < 0.9, None, "c1"),
            "meal": rng.choice(["BB", "HB"], rows),
            "room_type": rng.choice(["A", "B", "C"], rows),
            "adults": rng.integers(1, 4, rows),
            "children": rng.integers(0, 3, rows),
            "babies": 0,
            "is_repeat_guest": rng.random(rows) < 0.05,
            "previous_cancellations": rng.poisson(0.1, rows),
            "previous_stays": rng.poisson(0.1, rows),
            "rate_micros": np.rint(rate * 1e6).astype(np.int64),
            "value_micros": value,
            "lead_bucket": lead_buckets(lead),
            "los_bucket": los_buckets(nights),
            "outcome": np.where(cancelled, "cancelled", "stayed"),
            "outcome_known_at": _times(START, known + 0.99),
            "net_value_micros": np.where(cancelled, 0, value),
            "p_true": p,
        }
    )
    for column in BOOKING_HISTORY:
        frame[column.name] = np.where(rng.random(rows) < 0.3, np.nan, rng.normal(size=rows))
    return frame


def as_known(bookings: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """The bookings known before an instant, with outcomes as known before it."""
    rows = bookings[bookings["booked_at"] < as_of].reset_index(drop=True)
    still_open = ~(rows["outcome_known_at"] < as_of)
    rows.loc[still_open, "outcome"] = "open"
    rows.loc[still_open, "outcome_known_at"] = pd.NaT
    rows["net_value_micros"] = rows["net_value_micros"].astype("Int64").mask(still_open)
    return rows


def make_offers(rows: int = 12_000, *, seed: int = 0, days: int = 40) -> pd.DataFrame:
    """Offers shown in the forty days before `AS_OF`, clicked by place and price, with the bookings that followed.

    A dear offer is hardly clicked on a phone; clicks book late: half on their day, the rest over ten days.
    """
    rng = np.random.default_rng(seed)
    at = np.sort(rng.random(rows)) * days
    position = rng.integers(1, 5, rows)
    rival = np.exp(rng.normal(4.5, 0.3, rows))
    gap = rng.normal(0.0, 0.05, rows)
    device = rng.choice(["mobile", "desktop"], rows)
    lead = rng.integers(0, 90, rows)
    ts = _times(AS_OF - timedelta(days=days), at)
    p_click = sigmoid(-0.6 - 0.5 * (position - 1) * np.where(device == "mobile", 2, 1) - 25 * np.maximum(gap, 0))
    clicked = rng.random(rows) < p_click
    p_book = sigmoid(-1.6 - 0.02 * lead + np.where(device == "desktop", 0.8, 0.0))
    booked = clicked & (rng.random(rows) < p_book)
    delay = np.where(rng.random(rows) < 0.5, 0.0, rng.integers(1, 11, rows).astype(float))
    frame = pd.DataFrame(
        {
            "opportunity_id": [f"o{n:06d}" for n in rng.permutation(rows)],
            "click_id": [f"k{n:06d}" for n in rng.permutation(rows)],
            "ts": ts,
            "known_at": ts,
            "decision_at": ts.dt.floor("D"),
            "partner": "google",
            "market": "m",
            "hotel_id": rng.choice([f"h{n}" for n in range(12)], rows),
            "device": device,
            "user_country": rng.choice(["PT", "ES", "GB"], rows),
            "check_in": ts.dt.floor("D") + pd.to_timedelta(lead, unit="D"),
            "lead_days": lead,
            "los_nights": rng.integers(1, 6, rows),
            "default_date": rng.random(rows) < 0.4,
            "price_micros": np.rint(rival * np.exp(gap) * 1e6).astype(np.int64),
            "rival_price_micros": pd.array(np.rint(rival * 1e6), dtype="Int64"),
            "position": position,
            "clicked": clicked,
            "clicked_known_at": ts.where(clicked),
            "click_known_at": ts,
            "booked": booked,
            "booking_known_at": (ts + pd.to_timedelta(delay, unit="D")).where(booked),
            "p_click_true": p_click,
            "p_book_true": p_book,
        }
    )
    frame.loc[rng.random(rows) < 0.05, "rival_price_micros"] = pd.NA
    for column in TRAFFIC_HISTORY:
        frame[column.name] = np.where(rng.random(rows) < 0.2, np.nan, rng.random(rows))
    return frame


def clicks_known(offers: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """The clicks known before an instant, with bookings as known before it."""
    rows = offers[offers["clicked"] & (offers["ts"] < as_of)].reset_index(drop=True)
    unknown = ~(rows["booking_known_at"] < as_of)
    rows.loc[unknown, "booked"] = False
    rows.loc[unknown, "booking_known_at"] = pd.NaT
    return rows


@pytest.fixture(scope="session")
def bookings() -> pd.DataFrame:
    return make_bookings()


@pytest.fixture(scope="session")
def offers() -> pd.DataFrame:
    return make_offers()


@pytest.fixture(scope="session")
def rows(bookings: pd.DataFrame, offers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows for each model, as known on 1 October 2016."""
    return {
        "value": as_known(bookings, AS_OF),
        "conversion": clicks_known(offers, AS_OF),
        "click": offers[offers["ts"] < AS_OF].reset_index(drop=True),
    }
