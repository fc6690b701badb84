"""Microsoft hotel price ads: the bulk CSV, one row a hotel with its bid and all of its multipliers.

Source: github.com/MicrosoftDocs/Advertising, `advertising/bingads-13/guides/hotel-ads-bulk.md` and `hotel.md` (bulk
format version 6). A hotel with any multiplier of its own inherits none, so every multiplier that we use is written
on every hotel, and none is left to a parent that we do not see.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ml.bidding.language import BidLanguage, Dimension, Projection
from ml.bidding.partners.base import Account, Partner
from ml.bidding.partners.canonical import to_csv
from ml.bidding.partners.microsoft_rules import (
    COLUMNS,
    COUNTRIES,
    FILE,
    MAX_BID,
    MAX_MULTIPLIER,
    MAX_WINDOW_DAYS,
    MAX_WINDOWS,
    WEEKDAYS,
    violations,
)
from ml.core.units import MICROS_PER_UNIT
from ml.market.buckets import LEAD_BUCKETS, LEAD_STARTS, LOS_BUCKETS, LOS_STARTS
from ml.market.tables import DEVICES

DATE_TYPES = ("default", "selected")
SITES = ("MapResults", "LocalUniversal", "PropertyPromotionAd")
_LAST_WINDOW = max(number for number, start in enumerate(LEAD_STARTS) if start <= MAX_WINDOW_DAYS)
LEAD_GROUPS = (*((bucket,) for bucket in LEAD_BUCKETS[:_LAST_WINDOW]), tuple(LEAD_BUCKETS[_LAST_WINDOW:]))
"""The last window starts on day 90 at the latest, so that the buckets from there on share one multiplier."""


def language(cells: pd.DataFrame) -> BidLanguage:
    """A base bid per hotel and its own multipliers.

    Device, lead time and length of stay always; country, weekday of check-in, date type and site where the cells
    have the columns `user_country`, `check_in_day`, `date_type`, `site`. Windows start on day 1, so that the first
    lead bucket, which holds day 0, has no multiplier.
    """
    optional = {"user_country": COUNTRIES, "check_in_day": WEEKDAYS, "date_type": DATE_TYPES, "site": SITES}
    return BidLanguage(
        partner="microsoft",
        base_column="hotel_id",
        scope_column="hotel_id",
        dimensions=(
            Dimension("device", tuple((device,) for device in DEVICES), 0.0, MAX_MULTIPLIER),
            Dimension("lead_bucket", LEAD_GROUPS, 0.0, MAX_MULTIPLIER, fixed=0),
            Dimension("los_bucket", tuple((bucket,) for bucket in LOS_BUCKETS), 0.0, MAX_MULTIPLIER),
            *(
                Dimension(column, tuple((v,) for v in values if v in set(cells[column])), 0.0, MAX_MULTIPLIER)
                for column, values in optional.items()
                if column in cells
            ),
        ),
        base_low_micros=10_000,
        base_high_micros=int(MAX_BID * MICROS_PER_UNIT),
        base_step_micros=10_000,
        max_amount_micros=int(MAX_BID * MICROS_PER_UNIT),
    )


def render(projection: Projection, markets: Mapping[str, str], account: Account) -> dict[str, bytes]:
    """The bulk file; a hotel without a bid is paused, which is a percentage bid of 0."""
    by_hotel: dict[str, dict[str, str]] = {}
    rows = projection.multipliers
    for scope, dimension, group, multiplier in zip(
        rows["scope"], rows["dimension"], rows["group"], rows["multiplier"], strict=True
    ):
        by_hotel.setdefault(scope, {}).update(_columns(dimension, group, float(multiplier)))
    lines: list[list[object]] = [["Format Version", "6", *[""] * (len(COLUMNS) - 2)]]
    for hotel, amount in zip(projection.base["hotel_id"], projection.base["amount_micros"], strict=True):
        key = str(hotel)
        row = {
            "Type": "Hotel",
            "Id": account.hotels.get(key, key),
            "Parent Id": account.groups.get(markets[key], markets[key]),
            "Client Id": key,
            "Bid": f"{amount / MICROS_PER_UNIT:.2f}" if amount > 0 else "0.00",
            "Bid Type": "Fixed" if amount > 0 else "Percentage",
            **by_hotel.get(key, {}),
        }
        lines.append([row.get(column, "") for column in COLUMNS])
    return {FILE: to_csv(COLUMNS, lines)}


def _columns(dimension: str, group: str, multiplier: float) -> dict[str, str]:
    """The columns of a multiplier."""
    text, first = f"{multiplier:.2f}", group.split("|")[0]
    if dimension == "device":
        return {f"Device {first.capitalize()}": text}
    if dimension == "los_bucket":
        return {f"Length of Stay {LOS_STARTS[LOS_BUCKETS.index(first)]}": text}
    if dimension == "lead_bucket":
        number = LEAD_BUCKETS.index(first)
        if number == 0:
            return {}
        start = min(LEAD_STARTS[number], MAX_WINDOW_DAYS)
        return {
            f"Advance Booking Window Min Days {number}": str(start),
            f"Advance Booking Window Multiplier {number}": text,
        }
    prefix = {"user_country": "Country", "check_in_day": "Checkin", "date_type": "DateType", "site": "Site"}[dimension]
    return {f"{prefix} {first.capitalize() if dimension == 'date_type' else first}": text}


assert len(LEAD_GROUPS) - 1 <= MAX_WINDOWS  # noqa: S101  (a fact of the two formats, not of the input)

MICROSOFT = Partner(
    name="microsoft",
    payment_model="cpc_fixed_night",
    language=language,
    render=render,
    violations=violations,
)
