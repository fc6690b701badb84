"""What a partner would bid from our files, read from the files alone: a check of units that shares no code with what wrote them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ml.bidding.landscape import Floats
from ml.bidding.partners import google
from ml.bidding.partners.base import Files
from ml.bidding.partners.canonical import read_csv
from ml.market.buckets import LEAD_BUCKETS, LEAD_STARTS, LOS_BUCKETS, LOS_STARTS

DIMENSIONS = ("device", "lead_bucket", "los_bucket")


def read_back(partner: str, files: Files, cells: pd.DataFrame) -> Floats | None:
    """Base bid times multipliers of each cell as the files say it, in micros of the account's unit; shape (n,).

    Args:
        partner: its name.
        files: as given out.
        cells: with `market`, `hotel_id` and the columns of `DIMENSIONS`.

    Returns:
        None where the partner's files cannot be read back here.
    """
    if set(files) == {"base_bids.csv", "multipliers.csv"}:
        base, multipliers = _canonical(files)
    elif partner == "google" and google.FILE in files:
        base, multipliers = _google(files)
    else:
        return None
    amount = cells["hotel_id"].astype(str).map(base).to_numpy(dtype=float, na_value=np.nan)
    market = cells["market"].astype(str)
    for dimension in DIMENSIONS:
        keys = pd.Series(list(zip(market, cells[dimension].astype(str), strict=True)), index=cells.index)
        amount *= keys.map(multipliers[dimension]).fillna(1.0).to_numpy(dtype=float)
    return np.asarray(amount, dtype=np.float64)


Multipliers = dict[str, dict[tuple[str, str], float]]


def _canonical(files: Files) -> tuple[dict[str, float], Multipliers]:
    base = {row["hotel_id"]: float(row["amount_micros"]) for row in read_csv(files["base_bids.csv"])}
    found: Multipliers = {name: {} for name in DIMENSIONS}
    for row in read_csv(files["multipliers.csv"]):
        for value in row["values"].split("|"):
            found[row["dimension"]][row["market"], value] = float(row["multiplier"])
    return base, found


def _google(files: Files) -> tuple[dict[str, float], Multipliers]:
    base: dict[str, float] = {}
    found: Multipliers = {name: {} for name in DIMENSIONS}
    for operation in json.loads(files[google.FILE])["request"]["mutate_operations"]:
        if "ad_group_criterion_operation" in operation:
            update = operation["ad_group_criterion_operation"]["update"]
            base[update["resource_name"].rpartition("~")[2]] = float(update["cpc_bid_micros"])
            continue
        create = operation["ad_group_bid_modifier_operation"]["create"]
        market = create["ad_group"].rpartition("/")[2]
        for dimension, value in _values(create):
            found[dimension][market, value] = float(create["bid_modifier"])
    return base, found


def _values(create: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The dimension and the values that a modifier is of."""
    if "device" in create:
        return [("device", create["device"]["type"].lower())]
    for name, dimension, buckets, starts in (
        ("advance_booking_window", "lead_bucket", LEAD_BUCKETS, LEAD_STARTS),
        ("length_of_booking", "los_bucket", LOS_BUCKETS, LOS_STARTS),
    ):
        if name in create:
            span = create[name]
            inside = (span["min_days"] <= start <= span["max_days"] for start in starts)
            return [(dimension, bucket) for bucket, there in zip(buckets, inside, strict=True) if there]
    return []
