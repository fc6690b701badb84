"""The partners of the simulated market. To add one: a file with a `PARTNER`, and one line in `PARTNERS`."""

from __future__ import annotations

from collections.abc import Mapping

from ml.market.simulator.partners import google, tripadvisor, trivago
from ml.market.simulator.partners.rules import Partner

PARTNERS: Mapping[str, Partner] = {
    "google": google.PARTNER,
    "trivago": trivago.PARTNER,
    "tripadvisor": tripadvisor.PARTNER,
}
"""Every partner by name. Their order gives them their numbers, so add at the end."""

NAMES = tuple(PARTNERS)
"""The name of each partner number."""
