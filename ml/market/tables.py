"""The canonical tables: what every market source delivers and every other room reads.

A row lands in the partition of the UTC day of its `known_at`, the instant we learned it, so that a partition is
what that day taught us; when the thing happened stands beside it. Money is int64 micros of the market's
currency. Ids are text.
"""

from __future__ import annotations

from collections.abc import Mapping

from ml.core.units import MICROS_PER_UNIT
from ml.market.contract import Column, Table

DEVICES = ("mobile", "desktop", "tablet")
HOTEL_KINDS = ("city", "resort")
EVENT_KINDS = ("cancelled", "stayed", "reconciled")

MAX_LEAD_DAYS = 730
MAX_LOS_NIGHTS = 60
MAX_RATE_MICROS = 5_000 * MICROS_PER_UNIT
MAX_STAY_MICROS = MAX_RATE_MICROS * MAX_LOS_NIGHTS
MAX_BID_MICROS = 200 * MICROS_PER_UNIT


def _id(name: str, meaning: str, *, nullable: bool = False) -> Column:
    return Column(name, "text", "id", meaning, nullable=nullable)


def _text(name: str, meaning: str, *, values: tuple[str, ...] | None = None) -> Column:
    return Column(name, "text", "label", meaning, values=values)


def _time(name: str, meaning: str) -> Column:
    return Column(name, "time", "UTC", meaning)


def _count(name: str, unit: str, meaning: str, low: int, high: int) -> Column:
    return Column(name, "int", unit, meaning, low=low, high=high)


def _money(name: str, meaning: str, high: int, *, low: int = 0, nullable: bool = False) -> Column:
    return Column(name, "int", "micros", meaning, nullable=nullable, low=low, high=high)


_MARKET = _id("market", "the market (point of sale) that the row belongs to")
_PARTNER = _id("partner", "where we bid, such as google")
_HOTEL = _id("hotel_id", "the hotel")
_KNOWN_AT = _time("known_at", "when we learned of the row; its day is the partition")
_LEAD = _count("lead_days", "days", "from the search or booking to check-in", 0, MAX_LEAD_DAYS)
_POSITION = Column(
    "position", "int", "rank", "place among the offers shown, 1 is the top", nullable=True, low=1, high=100
)

HOTELS = Table(
    "hotels",
    "the hotels of the market; the whole list is in every day's partition",
    key=("hotel_id",),
    event_time="known_at",
    columns=(
        _HOTEL,
        _MARKET,
        _text("city", "where it stands"),
        _text("kind", "what sort of hotel", values=HOTEL_KINDS),
        Column("stars", "float", "stars", "official class", nullable=True, low=0.0, high=7.0),
        _money("base_rate_micros", "usual rate per night", MAX_RATE_MICROS, nullable=True),
        _KNOWN_AT,
    ),
)

OPPORTUNITIES = Table(
    "opportunities",
    "eligible auctions: one search of a traveller for one hotel",
    key=("opportunity_id",),
    event_time="ts",
    columns=(
        _id("opportunity_id", "the auction"),
        _time("ts", "when the search happened"),
        _KNOWN_AT,
        _PARTNER,
        _MARKET,
        _HOTEL,
        _text("device", "the traveller's device", values=DEVICES),
        _text("user_country", "the traveller's country, ISO 3166 alpha-2"),
        _time("check_in", "midnight of the day of arrival"),
        _LEAD,
        _count("los_nights", "nights", "length of stay", 1, MAX_LOS_NIGHTS),
        Column("default_date", "bool", "flag", "the partner's default dates, not the traveller's own"),
        _money("price_micros", "our price shown, per night", MAX_RATE_MICROS, low=1),
        _money("rival_price_micros", "cheapest rival's price per night", MAX_RATE_MICROS, low=1, nullable=True),
        _money("bid_micros", "our bid, per click", MAX_BID_MICROS),
        _POSITION,
        Column("shown", "bool", "flag", "our offer was among those shown"),
    ),
)

CLICKS = Table(
    "clicks",
    "clicks on our offers",
    key=("click_id",),
    event_time="ts",
    columns=(
        _id("click_id", "the click"),
        _id("opportunity_id", "the auction it came from"),
        _time("ts", "when it happened"),
        _KNOWN_AT,
        _PARTNER,
        _MARKET,
        _HOTEL,
        _POSITION,
        _money("cpc_micros", "what the click cost", MAX_BID_MICROS),
    ),
)

BOOKINGS = Table(
    "bookings",
    "bookings, as known when they were made",
    key=("booking_id",),
    event_time="booked_at",
    columns=(
        _id("booking_id", "the booking"),
        _id("click_id", "the click it came from; null for other channels", nullable=True),
        _MARKET,
        _HOTEL,
        _time("booked_at", "when it was made"),
        _KNOWN_AT,
        _time("check_in", "midnight of the day of arrival"),
        _LEAD,
        _count("los_nights", "nights", "length of stay; 0 for a day use", 0, MAX_LOS_NIGHTS),
        _text("segment", "market segment"),
        _text("channel", "distribution channel"),
        _text("customer_type", "kind of booking: transient, group, contract"),
        _id("agent_id", "travel agent", nullable=True),
        _id("company_id", "company that pays", nullable=True),
        _text("meal", "board"),
        _text("room_type", "room type reserved"),
        _count("adults", "people", "adults", 0, 60),
        _count("children", "people", "children", 0, 20),
        _count("babies", "people", "babies", 0, 20),
        Column("is_repeat_guest", "bool", "flag", "the guest has stayed before"),
        _count("previous_cancellations", "bookings", "the guest's earlier cancellations", 0, 200),
        _count("previous_stays", "bookings", "the guest's earlier stays", 0, 500),
        _money("rate_micros", "rate per night", MAX_RATE_MICROS),
        _money("value_micros", "gross value of the stay", MAX_STAY_MICROS),
    ),
)

BOOKING_EVENTS = Table(
    "booking_events",
    "what became of bookings",
    key=("event_id",),
    event_time="event_at",
    columns=(
        _id("event_id", "the event"),
        _id("booking_id", "the booking"),
        _HOTEL,
        _text("kind", "what happened", values=EVENT_KINDS),
        _time("event_at", "when it happened"),
        _KNOWN_AT,
        _money("amount_micros", "net value realised: 0, the stay's value, or the settled value", MAX_STAY_MICROS),
    ),
)

BIDS = Table(
    "bids",
    "bids that we published",
    key=("partner", "market", "hotel_id", "device", "lead_bucket", "los_bucket"),
    event_time="day",
    columns=(
        _PARTNER,
        _MARKET,
        _HOTEL,
        _text("device", "device", values=DEVICES),
        _text("lead_bucket", "lead time, see ml.market.buckets"),
        _text("los_bucket", "length of stay, see ml.market.buckets"),
        _money("bid_micros", "bid per click", MAX_BID_MICROS),
        _time("day", "midnight of the market day from which it holds"),
        _id("version", "digest of the model that made it"),
        _KNOWN_AT,
    ),
)

TABLES: Mapping[str, Table] = {
    table.name: table for table in (HOTELS, OPPORTUNITIES, CLICKS, BOOKINGS, BOOKING_EVENTS, BIDS)
}
"""Every canonical table by name; `bids` is written by us, the others by sources."""
