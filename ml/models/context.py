"""Columns derived from a booking or a search itself, known at the decision: nothing from later, nothing looked up."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ml.core.units import MICROS_PER_UNIT
from ml.models.encoding import Column, Columns, Form, Values
from ml.models.numbers import Floats, Ints, Times

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


_HOUR = np.timedelta64(1, "h")
_TEXTS = {
    *("hotel_id", "segment", "channel", "customer_type", "agent_id", "company_id", "meal", "room_type"),
    *("partner", "device", "user_country"),
}
_TIMES = {"booked_at", "ts", "check_in"}


def forms_of(inputs: tuple[str, ...]) -> Mapping[str, Form]:
    """The form of each input; what is neither text nor an instant is a number."""
    return {name: "text" if name in _TEXTS else "time" if name in _TIMES else "number" for name in inputs}


def booking_context(columns: Columns) -> dict[str, Values]:
    """Of bookings with `BOOKING_INPUTS`, the columns of `BOOKING_COLUMNS` that are not among these."""
    check_in, booked = np.asarray(columns["check_in"]), np.asarray(columns["booked_at"])
    rate = np.asarray(columns["rate_micros"]) / MICROS_PER_UNIT
    guests = np.nan_to_num(np.asarray(columns["adults"])) + np.nan_to_num(np.asarray(columns["children"]))
    arrival = _Dates(check_in)
    return {
        "weekend_nights": weekend_nights(arrival.weekday, np.asarray(columns["los_nights"])),
        "rate": rate,
        "value": np.asarray(columns["value_micros"]) / MICROS_PER_UNIT,
        "rate_per_guest": rate / np.maximum(guests, 1.0),
        "arrival_weekday": arrival.weekday,
        "arrival_yearday": arrival.yearday,
        "booked_weekday": _Dates(booked).weekday,
    }


def search_context(columns: Columns) -> dict[str, Values]:
    """Of shown opportunities with `SEARCH_INPUTS`, the columns of `SEARCH_COLUMNS` that are not among these."""
    price, rival = np.asarray(columns["price_micros"]), np.asarray(columns["rival_price_micros"])
    gap = np.log(price) - np.log(rival)
    arrival = _Dates(np.asarray(columns["check_in"]))
    return {
        "price_gap": gap,
        "dearer_by": np.where(np.isnan(gap), 0.0, np.maximum(gap, 0.0)),
        "price": price / MICROS_PER_UNIT,
        "arrival_weekday": arrival.weekday,
        "arrival_yearday": arrival.yearday,
        "hour": _Dates(np.asarray(columns["ts"])).hour,
    }


def weekend_nights(weekday: Floats, nights: Floats) -> Floats:
    """Nights that begin on a Friday or a Saturday, by the weekday of arrival; shape (n,).

    Whole weeks have two each; the rest is counted from the weekday of arrival.
    """
    whole = np.floor(nights / 7)
    rest = nights - 7 * whole
    friday = ((4 - weekday) % 7 < rest).astype(float)
    saturday = ((5 - weekday) % 7 < rest).astype(float)
    return np.asarray(2 * whole + friday + saturday, dtype=np.float64)


class _Dates:
    """Parts of instants as floats, shape (n,); NaN where there is none."""

    def __init__(self, times: Times) -> None:
        self._times, self._days = times, times.astype("datetime64[D]")
        self._missing = np.isnat(times)

    @property
    def weekday(self) -> Floats:
        """Monday is 0."""
        return self._known((self._days.astype(np.int64) + 3) % 7)

    @property
    def yearday(self) -> Floats:
        """From 1."""
        year = self._days.astype("datetime64[Y]").astype("datetime64[D]")
        return self._known((self._days - year).astype(np.int64) + 1)

    @property
    def hour(self) -> Floats:
        """From 0."""
        return self._known((self._times - self._days) // _HOUR)

    def _known(self, values: Ints) -> Floats:
        return np.where(self._missing, np.nan, values)
