"""What a click is worth in each cell that recent traffic reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ml.bidding.cells import shrunk_at
from ml.core.errors import NoData

if TYPE_CHECKING:
    import pandas as pd

    from ml.bidding.landscape import Floats

CLICK_LEVELS = ("partner", "market", "hotel_id", "device", "lead_bucket", "los_bucket")
RETENTION_LEVELS = ("from_click", "lead_bucket", "los_bucket", "hotel_id")
"""What of a booking's value stays depends on who books and how far ahead first, on the hotel last."""


def click_cells(bookings: pd.DataFrame, traffic: pd.DataFrame) -> pd.DataFrame:
    """What a click of each cell books, and what such a booking brings.

    A search says its dates and its price itself, so that the value of its stay is `price x nights`, and what of it
    stays after cancellations is the share that the value model expects of bookings made so far ahead, for so long, at
    this hotel: `worth = p_book x price x nights x retained share`. A cell's figures are means over its searches,
    weighted by their probability of a click. Nothing is pulled towards coarser cells: these are predictions and carry
    no noise of outcomes.

    Args:
        bookings: scored bookings of the recent weeks: `hotel_id`, `lead_bucket`, `los_bucket`, `value_micros`,
            `net_value_micros` (expected), and `click_id` where bookings come from clicks too.
        traffic: scored recent traffic: the columns of `CLICK_LEVELS`, `price_micros` (per night), `los_nights`,
            `p_book` and, where there is a click model, `p_click`.

    Returns:
        One row per cell, sorted: `CLICK_LEVELS`, `clicks_seen` (times our offer was shown), `p_book`, and the rounded
        micros `net_value_micros` (of a booking).

    Raises:
        NoData: there is no booking to learn a value from, or no traffic to bid for.
        ValueError: an expectation is not finite or is out of its range; nothing is bid on it.
    """
    if bookings.empty:
        raise NoData("there is no recent booking to value", next="ingest market days that hold bookings")
    if traffic.empty:
        raise NoData("there is no recent traffic to bid for", next="ingest market days that hold opportunities")
    p_book = traffic["p_book"].to_numpy(dtype=float)
    nights = np.maximum(traffic["los_nights"].to_numpy(dtype=float), 1.0)
    net_value = traffic["price_micros"].to_numpy(dtype=float) * nights * retained_share(bookings, traffic)
    if not (np.isfinite(net_value).all() and np.isfinite(p_book).all()):
        raise ValueError("a search has no finite expected value")
    if (net_value < 0).any() or (p_book < 0).any() or (p_book > 1).any():
        raise ValueError("a search's expected value is negative or its booking probability is not within 0 and 1")
    clicks = traffic["p_click"].to_numpy(dtype=float) if "p_click" in traffic else np.ones(len(traffic))
    rows = traffic[list(CLICK_LEVELS)].assign(
        clicks_seen=1, weight=clicks, books=clicks * p_book, earns=clicks * p_book * net_value
    )
    cells = rows.groupby(list(CLICK_LEVELS), observed=True, sort=True).sum().reset_index()
    books = cells["books"].to_numpy(dtype=float)
    value = np.divide(cells["earns"].to_numpy(dtype=float), books, out=np.zeros(len(cells)), where=books > 0)
    cells["p_book"] = books / np.maximum(cells["weight"].to_numpy(dtype=float), 1e-12)
    cells["net_value_micros"] = np.rint(value).astype(np.int64)
    return cells[[*CLICK_LEVELS, "clicks_seen", "p_book", "net_value_micros"]]


def retained_share(bookings: pd.DataFrame, at: pd.DataFrame) -> Floats:
    """Expected net value over gross value of the bookings that these searches could become; shape (n,), 0 or more.

    Args:
        bookings: as of `click_cells`; bookings without value say nothing.
        at: with `hotel_id`, `lead_bucket` and `los_bucket`.

    Raises:
        NoData: no booking has a value.
    """
    valued = bookings[bookings["value_micros"] > 0]
    if valued.empty:
        raise NoData("no recent booking has a value", next="ingest market days that hold bookings with values")
    clicked = valued["click_id"].notna() if "click_id" in valued else True
    rows = valued.assign(
        retained=valued["net_value_micros"].astype(float) / valued["value_micros"].astype(float), from_click=clicked
    )
    searches = at[["lead_bucket", "los_bucket", "hotel_id"]].assign(from_click=True)
    return shrunk_at(rows, "retained", levels=RETENTION_LEVELS, at=searches)
