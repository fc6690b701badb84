"""Rows to learn from: decisions with what was known when they were made, and outcomes as known at a later instant.

What was known at a decision never changes, so `decision_rows` is computed once; what is known of its outcome depends
on the instant of training, so `with_outcomes` is computed for each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any

import ibis
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ml.core.digests import Digest, Hashed
from ml.core.units import day_start
from ml.features.decisions import (
    check_market,
    chosen_views,
    decided,
    last_day_before,
    to_pandas,
    with_features,
    without_days,
)
from ml.features.engine import engine, open_canonical
from ml.features.facts import OUTCOMES, day_number, first_known
from ml.features.queries import recorded
from ml.features.traffic_rows import click_rows, opportunity_rows, traffic_tally
from ml.lake.lake import Lake
from ml.market.tables import TABLES

Views = Collection[str] | None
"""Names of feature views; None for every view that the rows have the keys of."""

__all__ = [
    "TrainingSet",
    "booking_rows",
    "bookings_by_id",
    "click_rows",
    "decision_rows",
    "opportunity_rows",
    "outcome_events",
    "traffic_tally",
    "with_outcomes",
]

Due = tuple[date, date] | None
"""The first and last day on which stays were to end; None for any."""

Positions = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

_ORDER = ("booked_at", "booking_id")


@dataclass(frozen=True)
class TrainingSet:
    """Rows, their digest, and the queries that made them; equal rows in equal order have equal digests."""

    rows: pd.DataFrame
    query: str = ""

    @classmethod
    def made_by(cls, read: Callable[[], pd.DataFrame]) -> TrainingSet:
        """The rows that `read` returns, with the text of every query that it asked of an engine."""
        with recorded() as queries:
            rows = read()
        return cls(rows, ";\n\n".join(queries))

    @cached_property
    def digest(self) -> Digest:
        """SHA-256 over the rows in Arrow's stream format."""
        table = _without_leftovers(pa.Table.from_pandas(self.rows, preserve_index=False))
        hashed = Hashed()
        with pa.PythonFile(hashed, mode="w") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return hashed.digest


def _without_leftovers(table: pa.Table) -> pa.Table:
    """Numbers and times that are null as zero beside a column that says which: what lies beneath a null is chance."""
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.null_count and not (pa.types.is_string(column.type) or pa.types.is_null(column.type)):
            columns[f"{name} is known"] = column.is_valid()
            column = column.fill_null(pa.scalar(0, pa.int64()).cast(column.type))  # noqa: PLW2901
        columns[name] = column
    return pa.table(columns)


def booking_rows(
    lake: Lake,
    *,
    market: str,
    as_of: datetime,
    first: date | None = None,
    due: Due = None,
    exclude_days: Sequence[date] = (),
    views: Views = None,
) -> pd.DataFrame:
    """Every booking known before `as_of`, with features as known when it was made and its outcome as known by `as_of`.

    The columns of `decision_rows` and of `with_outcomes`. `first` is the first market day of bookings to take, and `due`
    are the first and last day on which their stays were to end.
    """
    last = last_day_before(as_of)
    rows = decision_rows(lake, market=market, first=first, last=last, due=due, exclude_days=exclude_days, views=views)
    events = outcome_events(lake, market=market, last=last, exclude_days=exclude_days)
    return with_outcomes(rows, events, as_of=as_of)


def decision_rows(
    lake: Lake,
    *,
    market: str,
    first: date | None = None,
    last: date | None = None,
    due: Due = None,
    exclude_days: Sequence[date] = (),
    views: Views = None,
) -> pd.DataFrame:
    """Bookings that became known from `first` to `last`, with features as known at the start of the day of booking.

    Args:
        lake: the market's lake.
        market: the market, to be the lake's.
        first: first market day of bookings; None for all.
        last: last market day of bookings; None for all.
        due: the first and last day on which their stays were to end; None for all.
        exclude_days: market days of which nothing is taken.
        views: feature views to join; None for all that describe bookings.

    Returns:
        One row per booking, ordered by booked_at and booking_id: the columns of the canonical table in the first
        version known, lead_bucket, los_bucket, `decision_at` (00:00 UTC of the day of booking), the views'
        features as float64, NaN where nothing was known, and `<view>_known_from`, from when they were known.
    """
    check_market(lake, market)
    with engine(lake) as backend:
        # Also the days before `first`: only they tell a booking of these days from the correction of an earlier one.
        rows = _decided(open_canonical(backend, lake, "bookings", first=None, last=last))
        rows = without_days(rows if first is None else rows.filter(rows["known_at"] >= day_start(first)), exclude_days)
        wanted = chosen_views(views, source="bookings")
        return with_features(backend, lake, _due(rows, due), views=wanted, last=last, order=_ORDER)


def bookings_by_id(lake: Lake, *, market: str, ids: Sequence[str], last: date, views: Views = None) -> pd.DataFrame:
    """The columns of `decision_rows` for these bookings, as far as they were known by the end of `last`."""
    check_market(lake, market)
    with engine(lake) as backend:
        bookings = open_canonical(backend, lake, "bookings", first=None, last=last)
        wanted = ibis.memtable(pa.table({"booking_id": pa.array(sorted(set(ids)), pa.string())}))
        rows = _decided(bookings.semi_join(wanted, "booking_id"))
        chosen = chosen_views(views, source="bookings")
        return with_features(backend, lake, rows, views=chosen, last=last, order=_ORDER)


def outcome_events(
    lake: Lake, *, market: str, last: date | None = None, exclude_days: Sequence[date] = ()
) -> pd.DataFrame:
    """Every booking event known by the end of `last`, in the order in which they became known."""
    check_market(lake, market)
    with engine(lake) as backend:
        events = without_days(open_canonical(backend, lake, "booking_events", first=None, last=last), exclude_days)
        events = events.order_by("known_at", "event_at", "event_id")
        return to_pandas(backend, events.select("booking_id", "kind", "known_at", "amount_micros"))


def with_outcomes(rows: pd.DataFrame, events: pd.DataFrame, *, as_of: datetime) -> pd.DataFrame:
    """The bookings of `decision_rows` known before `as_of`, with what `outcome_events` told of them before `as_of`.

    Returns:
        The rows with `outcome` ("cancelled", "stayed", or "open" while neither is known), `outcome_known_at` (null
        while open) and `net_value_micros` (nullable: the newest amount known; null while open).
    """
    taken = rows[rows["known_at"] < as_of].reset_index(drop=True)
    known = events[events["known_at"] < as_of].reset_index(drop=True)
    place = pd.Index(taken["booking_id"]).get_indexer(pd.Index(known["booking_id"]))
    is_end = known["kind"].isin(OUTCOMES).to_numpy()
    end = known[["kind", "known_at"]].reindex(_newest(place, is_end, rows=len(taken)))
    any_event = np.ones(len(known), dtype=np.bool_)
    amount = known["amount_micros"].astype("Int64").reindex(_newest(place, any_event, rows=len(taken)))
    ended = end["kind"].notna().to_numpy()
    return taken.assign(
        outcome=end["kind"].fillna("open").to_numpy(),
        outcome_known_at=end["known_at"].array,
        net_value_micros=amount.where(ended).array,
    )


def _newest(place: Positions, wanted: Flags, *, rows: int) -> Positions:
    """For each row the number of its last wanted event, -1 where it has none; `place` is the row of each event."""
    newest = np.full(rows, -1, dtype=np.intp)
    number = np.flatnonzero(wanted & (place >= 0))
    newest[place[number]] = number  # of events of one row the last stays: the order is that of knowledge
    return newest


def _decided(bookings: Any) -> Any:
    columns = [name for name in TABLES["bookings"].names if name not in {"booking_id", "known_at"}]
    return decided(first_known(bookings, "booking_id", *columns), time="booked_at")


def _due(rows: Any, due: Due) -> Any:
    """Of the rows, those whose stays were to end on these days."""
    if due is None:
        return rows
    first, last = ((day - date(1970, 1, 1)).days for day in due)
    ends = day_number(rows["check_in"]) + rows["los_nights"]
    return rows.filter(ends.between(first, last))
