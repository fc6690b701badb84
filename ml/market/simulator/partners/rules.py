"""What a partner is: how it ranks, what it charges, how its visitors click."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["per_click", "per_night", "percent"]
Auction = Literal["gsp", "first_price"]

SLOTS = 4
"""Offers shown for a hotel."""

RESERVE = 0.05
"""Lowest price of a click, in currency units; a lower bid is not shown."""


@dataclass(frozen=True)
class Partner:
    """One partner's rules.

    Attributes:
        name: as in the canonical tables and in the key of our publications.
        auction: "gsp": a click costs what the place needs; "first_price": it costs the bid.
        unit: what our bid is sent as. A published bid per click is turned into the unit with the middle of its cell,
            and charged by the itinerary that is searched.
        traffic_share: of all opportunities; the shares of all partners add up to 1.
        conversion: addition to the log odds of a booking.
        rank_price: score = bid x exp(-rank_price x log(price / lowest price)).
        click_price: utility of an offer falls by this for each unit of log(price / lowest price).
        slots: utility of each place against the first; length `SLOTS`.
        outside: utility of clicking nothing.
        phone_slots: factor on `slots` on a phone, whose screen shows less of the lower offers.
        phone_price: factor on `click_price` on a phone.
        relevance: weight, in the logarithm of the score, of what the partner has learned of an advertiser's
            post-click quality; 0 where it learns nothing.
        accuracy: weight, in the logarithm of our score, of the share of our prices that were found wrong.
        silo_reserve: whether the reserve differs by point of sale and device.
    """

    name: str
    auction: Auction
    unit: Unit
    traffic_share: float
    conversion: float
    rank_price: float
    click_price: float
    slots: tuple[float, float, float, float]
    outside: float
    phone_slots: float = 2.2
    phone_price: float = 1.3
    relevance: float = 0.0
    accuracy: float = 0.0
    silo_reserve: bool = False
