"""Tripadvisor: first price, bid per night x nights x length-of-stay multiplier; canonical files."""

from __future__ import annotations

from ml.bidding.partners.canonical import canonical_partner

TRIPADVISOR = canonical_partner("tripadvisor", payment_model="cpc_fixed_night", auction="first_price")
