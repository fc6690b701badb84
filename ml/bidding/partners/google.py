"""Google hotel campaigns: fixed CPC per night and ad group bid modifiers, as a dry run of the Google Ads API.

Names are those of API v26, which renamed the hotel criteria (`AdvanceBookingWindowInfo`, `LengthOfBookingInfo`,
`UserSetDatesInfo`, ...). The file is the body of `GoogleAdsService.Mutate` with `validate_only`; nothing is sent.
Source: developers.google.com/google-ads/api, `reference/rpc/v26/AdGroupBidModifier`, read October 2026.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import pandas as pd

from ml.bidding.language import BidLanguage, Projection
from ml.bidding.partners.base import Account, Files, Partner, usual_dimensions
from ml.core.units import MICROS_PER_UNIT
from ml.market.buckets import LEAD_BUCKETS, LEAD_STARTS, LOS_BUCKETS, LOS_STARTS

API_VERSION = "v26"
FILE = "google_ads_mutate.json"
LOW, HIGH = 0.1, 10.0
"""`AdGroupBidModifier.bid_modifier`: 0.1 to 10.0; 0 opts out of a device."""
MAX_LOS_MODIFIERS = 30
MAX_WINDOW_DAYS = 330
MAX_LENGTH_DAYS = 30
LOWEST_BID_MICROS = 10_000
CRITERIA = ("advance_booking_window", "length_of_booking", "device")
_RANGES = {
    "lead_bucket": ("advance_booking_window", LEAD_BUCKETS, LEAD_STARTS, MAX_WINDOW_DAYS),
    "los_bucket": ("length_of_booking", LOS_BUCKETS, LOS_STARTS, MAX_LENGTH_DAYS),
}


def language(_: pd.DataFrame) -> BidLanguage:
    """A base bid per hotel; modifiers per ad group, of which each market is one; together they may reach 10x."""
    return BidLanguage(
        partner="google",
        base_column="hotel_id",
        scope_column="market",
        dimensions=usual_dimensions(low=LOW, high=HIGH),
        base_low_micros=LOWEST_BID_MICROS,
        base_high_micros=200 * MICROS_PER_UNIT,
        base_step_micros=10_000,
        max_amount_micros=200 * MICROS_PER_UNIT,
        max_product=10.0,
    )


def render(projection: Projection, markets: Mapping[str, str], account: Account) -> dict[str, bytes]:
    """One mutate request: the bid of each hotel's listing group, then the modifiers of each ad group.

    A hotel without a bid gets the lowest bid that there is: a listing group's status cannot pause it alone. An ad
    group without any opts out of every device, which the next request with bids undoes.
    """
    customer = f"customers/{account.customer_id}"
    operations: list[dict[str, Any]] = []
    for hotel, amount in zip(projection.base["hotel_id"], projection.base["amount_micros"], strict=True):
        market = markets[str(hotel)]
        ad_group, criterion = account.groups.get(market, market), account.hotels.get(str(hotel), str(hotel))
        update = {
            "resource_name": f"{customer}/adGroupCriteria/{ad_group}~{criterion}",
            "cpc_bid_micros": max(int(amount), LOWEST_BID_MICROS),
        }
        operations.append({"ad_group_criterion_operation": {"update_mask": "cpc_bid_micros", "update": update}})
    rows = projection.multipliers
    bidding = {markets[str(hotel)] for hotel in projection.base["hotel_id"][projection.base["amount_micros"] > 0]}
    for scope, dimension, group, multiplier in zip(
        rows["scope"], rows["dimension"], rows["group"], rows["multiplier"], strict=True
    ):
        create = {
            "ad_group": f"{customer}/adGroups/{account.groups.get(scope, scope)}",
            "bid_modifier": 0.0 if dimension == "device" and scope not in bidding else round(float(multiplier), 2),
            **_criterion(dimension, group),
        }
        operations.append({"ad_group_bid_modifier_operation": {"create": create}})
    request = {
        "customer_id": account.customer_id,
        "validate_only": True,
        "partial_failure": False,
        "mutate_operations": operations,
    }
    return {FILE: json.dumps({"api_version": API_VERSION, "request": request}, indent=1).encode() + b"\n"}


def _criterion(dimension: str, group: str) -> dict[str, Any]:
    """The criterion of a modifier; a group of buckets is the range from its first to its last."""
    values = group.split("|")
    if dimension == "device":
        return {"device": {"type": values[0].upper()}}
    name, buckets, starts, last_day = _RANGES[dimension]
    first, last = buckets.index(values[0]), buckets.index(values[-1])
    end = starts[last + 1] - 1 if last + 1 < len(starts) else last_day
    return {name: {"min_days": starts[first], "max_days": end}}


def violations(files: Files) -> list[str]:
    """Each rule of the API that a request breaks, one sentence each."""
    request = json.loads(files[FILE])["request"]
    if not request.get("validate_only"):
        return ["the request is not a dry run: validate_only is not set"]
    found = list(_bid_violations(request["mutate_operations"]))
    by_group: dict[str, list[dict[str, Any]]] = {}
    for operation in request["mutate_operations"]:
        if "ad_group_bid_modifier_operation" in operation:
            create = operation["ad_group_bid_modifier_operation"]["create"]
            by_group.setdefault(create["ad_group"], []).append(create)
    for ad_group, modifiers in by_group.items():
        found += _modifier_violations(ad_group, modifiers)
    return found


def _bid_violations(operations: list[dict[str, Any]]) -> Iterator[str]:
    seen = set()
    for operation in operations:
        if "ad_group_criterion_operation" not in operation:
            continue
        update = operation["ad_group_criterion_operation"]["update"]
        name, bid = update["resource_name"], update["cpc_bid_micros"]
        if name in seen:
            yield f"{name} is given two bids"
        seen.add(name)
        if not isinstance(bid, int) or bid < LOWEST_BID_MICROS or bid % 10_000:
            yield f"the bid of {name} is {bid}, not whole cents in micros from {LOWEST_BID_MICROS} on"


def _modifier_violations(ad_group: str, modifiers: list[dict[str, Any]]) -> Iterator[str]:
    ranges: dict[str, list[tuple[int, int]]] = {}
    devices = set()
    for modifier in modifiers:
        named = [name for name in CRITERIA if name in modifier]
        if len(named) != 1:
            yield f"a bid modifier of {ad_group} names {len(named)} criteria, not one"
            continue
        value, criterion = modifier["bid_modifier"], modifier[named[0]]
        opt_out = named[0] == "device" and value == 0
        if not (opt_out or LOW <= value <= HIGH):
            yield f"the bid modifier {value} of {named[0]} {criterion} is not within {LOW:g} and {HIGH:g}"
        if named[0] == "device":
            if criterion["type"] not in {"MOBILE", "DESKTOP", "TABLET"}:
                yield f"{criterion['type']} is not a device of the API"
            if criterion["type"] in devices:
                yield f"{ad_group} has two bid modifiers of the device {criterion['type']}"
            devices.add(criterion["type"])
        else:
            ranges.setdefault(named[0], []).append((criterion["min_days"], criterion["max_days"]))
    if len(ranges.get("length_of_booking", [])) > MAX_LOS_MODIFIERS:
        yield f"{ad_group} has more than {MAX_LOS_MODIFIERS} bid modifiers of length_of_booking"
    for name, spans in ranges.items():
        longest = MAX_WINDOW_DAYS if name == "advance_booking_window" else MAX_LENGTH_DAYS
        for low, high in spans:
            if not 0 <= low <= high <= longest:
                yield f"the {name} from {low} to {high} days is not a range within 0 and {longest}"
        yield from (
            f"{ad_group} has two bid modifiers of {name} that overlap at day {after[0]}"
            for before, after in pairwise(sorted(spans))
            if after[0] <= before[1]
        )


GOOGLE = Partner(
    name="google",
    payment_model="cpc_fixed_night",
    language=language,
    render=render,
    violations=violations,
)
