"""Tripadvisor-like: first price, bids per night, a reserve for each silo of point of sale and device."""

from __future__ import annotations

from ml.market.simulator.partners.rules import Partner

PARTNER = Partner(
    name="tripadvisor",
    auction="first_price",
    unit="per_night",
    traffic_share=0.17,
    conversion=-0.15,
    rank_price=3.0,
    click_price=8.0,
    slots=(0.0, -0.30, -0.50, -0.65),
    outside=2.25,
    silo_reserve=True,
)
