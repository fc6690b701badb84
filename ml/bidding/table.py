"""The table that a day publishes: bids per click for a partner, or values per booking where nobody is bid to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ml.bidding.cells import shrunk_means
from ml.core.errors import NoData

if TYPE_CHECKING:
    import pandas as pd

    from ml.bidding.policy import BidPolicy

VALUE_LEVELS = ("hotel_id", "lead_bucket", "los_bucket")
CLICK_LEVELS = ("partner", "market", "hotel_id", "device", "lead_bucket", "los_bucket")
VALUES = ("p_cancel", "net_value_micros", "value_micros")
VALUE_TABLE = "value_table"
"""Stands where a partner's name would, for a source that has no partner to bid to."""


def value_table(bookings: pd.DataFrame) -> pd.DataFrame:
    """Expected net value of a booking per hotel, lead bucket and length of stay.

    Args:
        bookings: scored bookings of the recent weeks: `hotel_id`, `lead_bucket`, `los_bucket`,
            `value_micros`, `p_cancel` and `net_value_micros` (expected, per booking).

    Returns:
        One row per cell, sorted: the cell, `bookings` seen in it, `p_cancel` (0 to 1), and the rounded
        micros `net_value_micros` and `value_micros`.

    Raises:
        NoData: there is no booking to learn a value from.
    """
    if bookings.empty:
        raise NoData("there is no recent booking to value", next="ingest market days that hold bookings")
    table = shrunk_means(bookings, VALUES, levels=VALUE_LEVELS).rename(columns={"rows": "bookings"})
    for column in ("net_value_micros", "value_micros"):
        table[column] = table[column].round().astype("int64")
    return table


def bid_table(
    values: pd.DataFrame, traffic: pd.DataFrame, *, previous: pd.DataFrame | None, policy: BidPolicy
) -> pd.DataFrame:
    """Bid per click for each cell that recent traffic reached.

    Args:
        values: a value table.
        traffic: scored recent traffic: the columns of `CLICK_LEVELS` and `p_book`.
        previous: the bids last published (the columns of `CLICK_LEVELS` and `bid_micros`), if any.
        policy: the bid policy.

    Returns:
        One row per cell, sorted: `CLICK_LEVELS`, `clicks_seen`, `p_book`, `net_value_micros`, `bid_micros`.

    Raises:
        NoData: there is no traffic to bid for.
    """
    if traffic.empty:
        raise NoData("there is no recent traffic to bid for", next="ingest market days that hold opportunities")
    cells = shrunk_means(traffic, ["p_book"], levels=CLICK_LEVELS).rename(columns={"rows": "clicks_seen"})
    cells = cells.merge(_values_for(cells, values), on=list(VALUE_LEVELS), how="left", validate="m:1")
    if previous is not None:
        last = previous[[*CLICK_LEVELS, "bid_micros"]].rename(columns={"bid_micros": "previous_micros"})
        cells = cells.merge(last, on=list(CLICK_LEVELS), how="left", validate="1:1")
    else:
        cells["previous_micros"] = np.nan
    cells["bid_micros"] = policy.bids(
        cells["net_value_micros"].to_numpy(dtype=float),
        cells["p_book"].to_numpy(dtype=float),
        cells["previous_micros"].to_numpy(dtype=float),
    )
    return cells[[*CLICK_LEVELS, "clicks_seen", "p_book", "net_value_micros", "bid_micros"]]


def _values_for(cells: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    """A value for every cell of the traffic: its own, else its hotel's, else the market's mean over bookings."""
    wanted = cells[list(VALUE_LEVELS)].drop_duplicates()
    found = wanted.merge(values[[*VALUE_LEVELS, "net_value_micros"]], on=list(VALUE_LEVELS), how="left")
    weights = values["bookings"].to_numpy(dtype=float)
    sums = values.assign(total=values["net_value_micros"] * weights, weight=weights).groupby("hotel_id")
    by_hotel = sums["total"].sum() / sums["weight"].sum()
    everywhere = float(np.average(values["net_value_micros"], weights=weights))
    coarse = found["hotel_id"].map(by_hotel).fillna(everywhere)
    found["net_value_micros"] = found["net_value_micros"].astype(float).fillna(coarse)
    return found
