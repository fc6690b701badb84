"""What crosses the border of the bid service: a request, its candidates, and what was decided about each.

The types are msgspec's, which checks shape, ranges and lengths while it parses; what it refuses is the caller's error (400).
"""

from __future__ import annotations

from datetime import date
from enum import IntEnum
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

MAX_CANDIDATES = 50

Name = Annotated[str, Meta(min_length=1, max_length=64)]
Money = Annotated[int, Meta(ge=1, le=10**12)]
"""Micros of the market's currency unit; at most a million units."""


class Candidate(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One itinerary (hotel, check-in, nights, price), or one listing, that could be bid on.

    A listing is known by its `id` alone, the key of its online features, and what a click on it is worth to its advertiser.
    An itinerary needs `hotel_id`, `check_in`, `los_nights` and `price_micros` (per night).
    """

    id: Name
    hotel_id: Annotated[str, Meta(max_length=64)] = ""
    check_in: date | None = None
    los_nights: Annotated[int, Meta(ge=1, le=60)] = 1
    price_micros: Money | None = None
    rival_price_micros: Money | None = None
    default_date: bool = False
    value_micros: Money | None = None


class User(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Who searches, where: the partner that asks, its point of sale, the device and the country."""

    partner: Annotated[str, Meta(max_length=64)] = ""
    market: Annotated[str, Meta(max_length=64)] = ""
    device: Annotated[str, Meta(max_length=32)] = ""
    country: Annotated[str, Meta(max_length=8)] = ""


class BidRequest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One search: its user and its candidates. `key` names the unit that sticks to one arm of a rollout."""

    key: Name
    candidates: Annotated[list[Candidate], Meta(min_length=1, max_length=MAX_CANDIDATES)]
    user: User = User()


class Reason(IntEnum):
    """Why a candidate has the bid that it has; `BID` and `DEFAULTS` are bids of the model, the others are not."""

    BID = 0
    DEFAULTS = 1
    """A bid of the model, with defaults for features that are missing."""
    WORTHLESS = 2
    """The model expects nothing of it."""
    GUARD = 3
    """A cap, a floor or a kill switch changed the bid."""
    UNKNOWN = 4
    """Nothing is published for such a candidate, and nothing can be derived."""
    FALLBACK_MODEL = 5
    """A bid of the champion's previous bundle, because the model failed."""
    FALLBACK_TABLE = 6
    """The last published bid of its cell, because no model could answer."""
    NO_BID = 7
    """Nothing could answer in time."""
    OUT_OF_RANGE = 8
    """The model's answer was not finite or not within its range."""
    PACED = 9
    """What the day's budget has left for it is nothing."""


class Scored(Struct, gc=False):
    """What was decided about the candidates of one request; every list is in the order of its candidates.

    Attributes:
        bid_micros: the bid per click; 0 means no bid.
        score: what ranks them: expected micros per impression, higher is better.
        reasons: a `Reason` each.
        missing: how many features of all candidates were missing and took their default.
        features: the features as they were looked up online, as bytes (`Engine.layout` says how to read them).
    """

    bid_micros: list[int]
    score: list[float]
    reasons: list[int]
    missing: int = 0
    features: bytes = b""


class Layout(Struct, frozen=True):
    """How `Scored.features` is read: an array of `dtype` of shape (candidates, len(columns)), in C order."""

    dtype: str
    columns: tuple[str, ...]


decode_request = msgspec.json.Decoder(BidRequest).decode
"""Bytes of a body to a request; `msgspec.ValidationError` or `msgspec.DecodeError` says what is wrong with it."""
