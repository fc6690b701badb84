"""Columns derived from a booking or a search itself, known at the decision: nothing from later, nothing looked up."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ml.core.units import MICROS_PER_UNIT
from ml.models.encoding import Column, as_numbers, as_times
from ml.models.numbers import Floats

BOOKING_INPUTS = (
    "hotel_id",
    "booked_at",
    "check_in",
    "lead_days",
    "los_nights",
    "segment",
    "channel",
    "customer_type",
    "agent_id",
    "company_id",
    "meal",
    "room_type",
    "adults",
    "children",
    "babies",
    "is_repeat_guest",
    "previous_cancellations",
    "previous_stays",
    "rate_micros",
    "value_micros",
)

BOOKING_COLUMNS = (
    Column("lead_days", "days", "from booking to arrival"),
    Column("los_nights", "nights", "length of stay"),
    Column("weekend_nights", "nights", "nights that begin on a Friday or a Saturday"),
    Column("adults", "people", "adults"),
    Column("children", "people", "children"),
    Column("babies", "people", "babies"),
    Column("is_repeat_guest", "flag", "the guest has stayed before"),
    Column("previous_cancellations", "bookings", "the guest's earlier cancellations"),
    Column("previous_stays", "bookings", "the guest's earlier stays"),
    Column("rate", "currency", "rate per night"),
    Column("value", "currency", "gross value of the stay"),
    Column("rate_per_guest", "currency", "rate per night and paying guest"),
    Column("arrival_weekday", "days", "weekday of arrival, Monday is 0"),
    Column("arrival_yearday", "days", "day of the year of arrival"),
    Column("booked_weekday", "days", "weekday of booking, Monday is 0"),
    Column("agent_id", "agents", "travel agent", "ranked"),
    Column("company_id", "companies", "company that pays", "ranked"),
    Column("hotel_id", "hotels", "the hotel", "category"),
    Column("segment", "segments", "market segment", "category"),
    Column("channel", "channels", "distribution channel", "category"),
    Column("customer_type", "kinds", "transient, group, contract", "category"),
    Column("meal", "kinds", "board", "category"),
    Column("room_type", "kinds", "room type reserved", "category"),
)

SEARCH_INPUTS = (
    "partner",
    "hotel_id",
    "device",
    "user_country",
    "ts",
    "check_in",
    "lead_days",
    "los_nights",
    "default_date",
    "price_micros",
    "rival_price_micros",
)

SEARCH_COLUMNS = (
    Column("lead_days", "days", "from search to arrival"),
    Column("los_nights", "nights", "length of stay"),
    Column("default_date", "flag", "the partner's default dates, not the traveller's own"),
    Column("price_gap", "log ratio", "our price over the cheapest rival's"),
    Column("dearer_by", "log ratio", "our price over the cheapest offer's; 0 when ours is the cheapest"),
    Column("price", "currency", "our price per night"),
    Column("arrival_weekday", "days", "weekday of arrival, Monday is 0"),
    Column("arrival_yearday", "days", "day of the year of arrival"),
    Column("hour", "hours", "hour of the search, UTC"),
    Column("partner", "partners", "where we bid", "category"),
    Column("device", "devices", "the traveller's device", "category"),
    Column("user_country", "countries", "the traveller's country", "category"),
    Column("hotel_id", "hotels", "the hotel", "ranked"),
)


def booking_context(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns of `BOOKING_COLUMNS` for bookings with `BOOKING_INPUTS`, besides what the rows have already."""
    check_in, booked = as_times(rows["check_in"]), as_times(rows["booked_at"])
    nights = as_numbers(rows["los_nights"])
    rate = as_numbers(rows["rate_micros"]) / MICROS_PER_UNIT
    guests = np.nan_to_num(as_numbers(rows["adults"])) + np.nan_to_num(as_numbers(rows["children"]))
    return rows.assign(
        weekend_nights=weekend_nights(check_in, nights),
        rate=rate,
        value=as_numbers(rows["value_micros"]) / MICROS_PER_UNIT,
        rate_per_guest=rate / np.maximum(guests, 1.0),
        arrival_weekday=_numbers(check_in.dayofweek),
        arrival_yearday=_numbers(check_in.dayofyear),
        booked_weekday=_numbers(booked.dayofweek),
    )


def search_context(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns of `SEARCH_COLUMNS` for shown opportunities with `SEARCH_INPUTS`, besides what the rows have."""
    check_in, at = as_times(rows["check_in"]), as_times(rows["ts"])
    price, rival = as_numbers(rows["price_micros"]), as_numbers(rows["rival_price_micros"])
    gap = np.log(price) - np.log(rival)
    return rows.assign(
        price_gap=gap,
        dearer_by=np.where(np.isnan(gap), 0.0, np.maximum(gap, 0.0)),
        price=price / MICROS_PER_UNIT,
        arrival_weekday=_numbers(check_in.dayofweek),
        arrival_yearday=_numbers(check_in.dayofyear),
        hour=_numbers(at.hour),
    )


def weekend_nights(check_in: pd.DatetimeIndex, nights: Floats) -> Floats:
    """Nights that begin on a Friday or a Saturday; shape (n,).

    Whole weeks have two each; the rest is counted from the weekday of arrival.
    """
    weekday = _numbers(check_in.dayofweek)
    whole = np.floor(nights / 7)
    rest = nights - 7 * whole
    friday = ((4 - weekday) % 7 < rest).astype(float)
    saturday = ((5 - weekday) % 7 < rest).astype(float)
    return np.asarray(2 * whole + friday + saturday, dtype=np.float64)


def _numbers(values: pd.Index[int]) -> Floats:
    return np.asarray(values, dtype=np.float64)
