"""What a partner is to this room: a payment model, a bid language, files, and the rules that they keep to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from ml.bidding.language import BidLanguage, Dimension, Projection
from ml.core.errors import UsageError
from ml.market.buckets import LEAD_BUCKETS, LOS_BUCKETS
from ml.market.tables import DEVICES

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Account:
    """How our names are written in the partner's account.

    Attributes:
        customer_id: the account.
        currency: ISO 4217 code that it bids in.
        hotels: the partner's id of each hotel; one that is missing keeps our id.
        groups: the partner's id of the group (ad group, hotel group) of each market; a missing one keeps our name.
    """

    customer_id: str = "0"
    currency: str = "EUR"
    hotels: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Partner:
    """A partner.

    Attributes:
        name: its key, as in the column `partner` of the canonical tables.
        payment_model: a key of `ml.bidding.instruction.PAYMENT_MODELS`.
        language: its bid language for cells with these columns.
        render: the files that say a projection; `markets` gives the market of each hotel.
        violations: each rule of the partner's that files break, one sentence each.
        auction: a key of `ml.bidding.shading.AUCTIONS`.
    """

    name: str
    payment_model: str
    language: Callable[[pd.DataFrame], BidLanguage]
    render: Callable[[Projection, Mapping[str, str], Account], dict[str, bytes]]
    violations: Callable[[Files], list[str]]
    auction: str = "gsp"

    def files(self, projection: Projection, cells: pd.DataFrame, account: Account) -> dict[str, bytes]:
        """The partner's files of a projection, checked against its rules.

        Args:
            projection: what to say.
            cells: the cells that it was made for, with `hotel_id` and `market`.
            account: names of the account.

        Raises:
            UsageError: a rule is broken; the first is told, and no file is given out.
        """
        markets = {str(hotel): str(market) for hotel, market in zip(cells["hotel_id"], cells["market"], strict=True)}
        found = self.render(projection, markets, account)
        broken = self.violations(found)
        if broken:
            more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
            raise UsageError(
                f"{self.name} would refuse the file: {broken[0]}{more}",
                left="no bid was published",
                next="correct the bids or the partner's language",
            )
        return found


def usual_dimensions(*, low: float, high: float, step: float = 0.01) -> tuple[Dimension, ...]:
    """Device, lead time and length of stay, each value with a multiplier of its own."""
    return (
        Dimension("device", tuple((value,) for value in DEVICES), low, high, step),
        Dimension("lead_bucket", tuple((value,) for value in LEAD_BUCKETS), low, high, step),
        Dimension("los_bucket", tuple((value,) for value in LOS_BUCKETS), low, high, step),
    )
