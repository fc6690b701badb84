"""The money of a market day: what its clicks cost, and what the bookings that it taught are expected to earn.

Both are counted on the day on which they became known, whenever the click or the booking was made, and a row that is
delivered again later counts once, on its first day. So the figures of a day do not change when more conversions come
in: those count on their own day. For the same reason a booking whose outcome is not known on its first day counts
with what was expected of it then; what became of it is compared in the settlements of the day that tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from ml.core.errors import NoData
from ml.core.units import day_start

if TYPE_CHECKING:
    import pandas as pd

    from ml.lake.lake import Lake

RESTATED_DAYS = 30
"""A click delivered again within so many days is known to have been counted; partners restate their reports for less."""

OUTCOME_DAYS = 56
"""Outcomes of these last days give the cancelled share that stands in while there is no champion: eight whole weeks."""


@dataclass(frozen=True)
class Spend:
    """Clicks that became known on a day, and what they cost in micros."""

    clicks: int
    micros: int


def spend_of(lake: Lake, day: date) -> Spend | None:
    """What the clicks that became known on the day cost; None where no clicks are delivered."""
    from ml.features.engine import engine, open_canonical
    from ml.features.facts import first_known

    if not _has_clicks(lake, day):
        return None
    with engine(lake) as backend:
        clicks = open_canonical(backend, lake, "clicks", first=day - timedelta(days=RESTATED_DAYS), last=day)
        new = first_known(clicks, "click_id", "cpc_micros")
        new = new.filter(new["known_at"] >= day_start(day))
        counted = new.aggregate(clicks=new.count(), micros=new["cpc_micros"].sum().fill_null(0).cast("int64"))
        [row] = backend.to_pyarrow(counted).to_pylist()
    return Spend(clicks=row["clicks"], micros=row["micros"])


def counted_bookings(lake: Lake, day: date) -> list[str]:
    """Ids of the bookings in the day's delivery that count: those from a click, or all where no clicks are delivered."""
    bookings = lake.read("bookings", day)
    if _has_clicks(lake, day):
        bookings = bookings[bookings["click_id"].notna()]
    return sorted(bookings["booking_id"])


def money_of_day(
    lake: Lake, day: date, *, bookings: pd.DataFrame, ends: pd.DataFrame, take_share: float
) -> dict[str, Any]:
    """The money of a market day as JSON; null is what is not known.

    Args:
        lake: the market's lake.
        day: the market day.
        bookings: the day's `counted_bookings` as first known, with booking_id, known_at, value_micros and the
            champion's `expected_micros` (null while there is no champion).
        ends: the outcomes that became known on the day: booking_id, known_at, amount_micros.
        take_share: what a booking earns, as a share of its net value.

    Returns:
        clicks and spend_micros: null where the market has no clicks. bookings: from a click of any day, or all where
        the market has no clicks. net_micros: their net value, realised where the day told the outcome, else as
        expected; null while neither a champion nor any outcome is known. net_from: "champion", "cancelled_share" or
        null, whose expectation it is. earned_micros: take_share x net_micros; profit_micros: earned less spend; both
        null where the market has no clicks.
    """
    spend = spend_of(lake, day)
    new = bookings[bookings["known_at"] >= day_start(day)]  # not a correction of a booking that was counted before
    net, net_from = _net(lake, day, new, ends)
    earned = None if net is None or spend is None else round(take_share * net)
    return {
        "clicks": None if spend is None else spend.clicks,
        "spend_micros": None if spend is None else spend.micros,
        "bookings": len(new),
        "net_micros": net,
        "net_from": net_from,
        "earned_micros": earned,
        "profit_micros": None if earned is None or spend is None else earned - spend.micros,
    }


def _has_clicks(lake: Lake, day: date) -> bool:
    """Whether clicks were delivered; a day without one has a partition without rows."""
    return lake.blobs.exists(lake.key("clicks", day))


def _net(lake: Lake, day: date, bookings: pd.DataFrame, ends: pd.DataFrame) -> tuple[int | None, str | None]:
    """Net value of bookings in micros, and whose expectation stands for what is still open."""
    if bookings.empty:
        return 0, None
    newest = ends.sort_values("known_at", kind="stable").drop_duplicates("booking_id", keep="last")
    realised = bookings["booking_id"].map(newest.set_index("booking_id")["amount_micros"]).astype("Float64")
    expected, net_from = bookings["expected_micros"].astype("Float64"), "champion"
    if expected.isna().any():
        share = _cancelled_share(lake, day)
        if share is None:
            return None, None
        expected, net_from = bookings["value_micros"].astype("Float64") * (1 - share), "cancelled_share"
    return round(float(realised.fillna(expected).sum())), net_from


def _cancelled_share(lake: Lake, day: date) -> float | None:
    """Share of the outcomes of the last weeks that are cancellations; None while none is known."""
    try:
        events = lake.scan(
            "booking_events", first=day - timedelta(days=OUTCOME_DAYS - 1), last=day, columns=["kind"]
        ).to_pandas()
    except NoData:
        return None
    ended = events["kind"][events["kind"].isin(["cancelled", "stayed"])]
    return float((ended == "cancelled").mean()) if len(ended) else None
