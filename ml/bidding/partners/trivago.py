"""trivago: bids per property and market; its upload format is not public, so the canonical files."""

from __future__ import annotations

from ml.bidding.partners.canonical import canonical_partner

TRIVAGO = canonical_partner("trivago", payment_model="cpc_fixed_click")
