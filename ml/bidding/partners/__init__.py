"""Which partners there are. To add one: write its file, add its line to `PARTNERS`."""

from __future__ import annotations

from collections.abc import Mapping

from ml.bidding.partners.base import Partner
from ml.bidding.partners.google import GOOGLE
from ml.bidding.partners.microsoft import MICROSOFT
from ml.bidding.partners.tripadvisor import TRIPADVISOR
from ml.bidding.partners.trivago import TRIVAGO
from ml.core.errors import UsageError

PARTNERS: Mapping[str, Partner] = {partner.name: partner for partner in (GOOGLE, MICROSOFT, TRIVAGO, TRIPADVISOR)}
"""Every partner by the name that the canonical tables call it."""


def partner(name: str) -> Partner:
    """The partner of that name; UsageError, naming the known ones, if there is none."""
    if name not in PARTNERS:
        raise UsageError(f"there is no partner {name!r}", next=f"choose one of: {', '.join(PARTNERS)}")
    return PARTNERS[name]
