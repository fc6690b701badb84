"""trivago-like: the bid is adjusted by a relevance that the partner learns from what happens after the click."""

from __future__ import annotations

from ml.market.simulator.partners.rules import Partner

PARTNER = Partner(
    name="trivago",
    auction="gsp",
    unit="per_click",
    traffic_share=0.28,
    conversion=0.15,
    rank_price=4.0,
    click_price=12.0,
    # Of the trivago impressions of 7 and 8 November 2018, desktops and phones: python -m benchmarks.simulator_fit.
    # Its lists are of different hotels, so the price response is not taken from there: a dearer hotel is a better
    # one in such a list, and the same room here.
    slots=(0.0, -0.92, -1.17, -1.41),
    phone_slots=1.2,
    outside=1.95,
    relevance=0.5,
)
