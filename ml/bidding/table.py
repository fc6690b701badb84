"""The table that a day publishes: bids per click for a partner, or values per booking where nobody is bid to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ml.bidding.cells import shrunk_means
from ml.bidding.worth import CLICK_LEVELS
from ml.core.errors import NoData

if TYPE_CHECKING:
    import pandas as pd

    from ml.bidding.landscape import Floats
    from ml.bidding.policy import BidPolicy

__all__ = ["CLICK_LEVELS", "VALUES", "VALUE_LEVELS", "VALUE_TABLE", "bid_table", "value_table"]

VALUE_LEVELS = ("hotel_id", "lead_bucket", "los_bucket")
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
    cells: pd.DataFrame, wanted_micros: Floats, *, previous: pd.DataFrame | None, policy: BidPolicy
) -> pd.DataFrame:
    """Bid per click for each cell that recent traffic reached.

    Args:
        cells: from `ml.bidding.worth.click_cells`, of one partner.
        wanted_micros: the bid per click that is wanted for each; shape (n,).
        previous: the bids last published (the columns of `CLICK_LEVELS` and `bid_micros`), if any.
        policy: the bid policy, which limits them.

    Returns:
        The cells with `bid_micros`.
    """
    last = np.full(len(cells), np.nan)
    if previous is not None:
        keys = list(CLICK_LEVELS)
        last = (
            cells[keys]
            .merge(previous[[*keys, "bid_micros"]], on=keys, how="left", validate="1:1")["bid_micros"]
            .to_numpy(dtype=float)
        )
    return cells.assign(bid_micros=policy.limit(wanted_micros, last))
