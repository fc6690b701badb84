"""Google-like: a second-price auction in which price and price accuracy rank with the bid."""

from __future__ import annotations

from ml.market.simulator.partners.rules import Partner

PARTNER = Partner(
    name="google",
    auction="gsp",
    unit="per_click",
    traffic_share=0.55,
    conversion=0.0,
    rank_price=6.0,
    click_price=12.0,
    slots=(0.0, -0.30, -0.50, -0.65),
    outside=2.25,
    accuracy=2.0,
)
