"""Daily facts: what each market day taught, as integers that can be summed over any window.

A fact counts from the day on which everything it is made of was known. A row delivered again later under the same
id is a correction; the facts keep the first version, because that is what could be known when it counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ibis

from ml.features.exits import bin_exits
from ml.features.rolling import KNOWN_DAY, LONGEST_WINDOW_DAYS
from ml.market.buckets import LEAD_BUCKETS, LEAD_STARTS

Tables = Mapping[str, Any]
"""Canonical tables as Ibis tables, by name."""

OUTCOMES = ("cancelled", "stayed")
"""Kinds of booking event that end a booking."""

_BOOKING_KEYS = ("hotel_id", "agent_id", "company_id", "lead_bucket", "segment")
_BOOKING_COLUMNS = ("hotel_id", "agent_id", "company_id", "segment", "lead_days", "value_micros")
_BOOKING_SUMS = ("bookings", "value_micros", "outcomes", "cancelled", "observed", "expected_ppm")
_TRAFFIC_KEYS = ("hotel_id", "partner")
_TRAFFIC_SUMS = ("impressions", "clicks", "bookings", "cost_micros")


def booking_facts(tables: Tables, as_of: Any) -> Any:
    """Bookings made, outcomes known, and cancellations observed against those expected.

    Returns:
        Rows with hotel_id, agent_id, company_id, lead_bucket, segment, `known_day` and the integer facts bookings,
        value_micros, outcomes, cancelled, observed and expected_ppm (expected cancellations in millionths).
    """
    bookings = booking_histories(tables)
    known = bookings.filter(bookings["outcome_day"].notnull())
    exits = bin_exits(bookings, last_day=_last_day(as_of))
    made = {"bookings": 1, "value_micros": bookings["value_micros"]}
    ended = {"outcomes": 1, "cancelled": known["is_cancelled"]}
    left = {"observed": exits["cancelled_in_bin"], "expected_ppm": exits["expected_ppm"]}
    return _union(
        as_of,
        _rows(bookings, "booked_day", _BOOKING_KEYS, _BOOKING_SUMS, made),
        _rows(known, "outcome_day", _BOOKING_KEYS, _BOOKING_SUMS, ended),
        _rows(exits, "exit_day", _BOOKING_KEYS, _BOOKING_SUMS, left),
    )


def booking_histories(tables: Tables) -> Any:
    """One row per booking: its keys, the day it was known, and the day and kind of its first known outcome."""
    bookings = first_known(tables["bookings"], "booking_id", *_BOOKING_COLUMNS)
    events = tables["booking_events"]
    ends = first_known(events.filter(events["kind"].isin(OUTCOMES)), "booking_id", "kind", ties=["kind"])
    ends = ends.select(
        "booking_id", ended_at=ends["known_at"], is_cancelled=(ends["kind"] == "cancelled").cast("int64")
    )
    both = bookings.left_join(ends, "booking_id")
    booked_day = day_number(both["known_at"])
    return both.select(
        *(key for key in _BOOKING_KEYS if key != "lead_bucket"),
        "lead_days",
        "value_micros",
        lead_bucket=bucket_label(both["lead_days"], LEAD_STARTS, LEAD_BUCKETS),
        booked_day=booked_day,
        outcome_day=ibis.cases(
            (both["ended_at"].notnull(), ibis.greatest(day_number(both["ended_at"]), booked_day)), else_=None
        ),
        is_cancelled=both["is_cancelled"],
    )


def traffic_facts(tables: Tables, as_of: Any) -> Any:
    """Impressions, clicks, what they cost, and the bookings that came from them.

    Returns:
        Rows with hotel_id, partner, `known_day` and the integer facts impressions, clicks, bookings and cost_micros.
    """
    shown = tables["opportunities"]
    shown = shown.filter(shown["shown"])
    shown = shown.select(*_TRAFFIC_KEYS, shown_day=day_number(shown["known_at"]))
    clicks = first_known(tables["clicks"], "click_id", *_TRAFFIC_KEYS, "cpc_micros")
    clicks = clicks.mutate(clicked_day=day_number(clicks["known_at"]))
    bookings = first_known(tables["bookings"], "booking_id", "click_id")
    bookings = bookings.select("click_id", booked_day=day_number(bookings["known_at"]))
    booked = clicks.inner_join(bookings, "click_id")
    booked = booked.select(*_TRAFFIC_KEYS, both_day=ibis.greatest(booked["booked_day"], booked["clicked_day"]))
    return _union(
        as_of,
        _rows(shown, "shown_day", _TRAFFIC_KEYS, _TRAFFIC_SUMS, {"impressions": 1}),
        _rows(clicks, "clicked_day", _TRAFFIC_KEYS, _TRAFFIC_SUMS, {"clicks": 1, "cost_micros": clicks["cpc_micros"]}),
        _rows(booked, "both_day", _TRAFFIC_KEYS, _TRAFFIC_SUMS, {"bookings": 1}),
    )


def day_number(instant: Any) -> Any:
    """The UTC day of an Ibis timestamp or date column, in days since 1970-01-01."""
    return instant.cast("date").epoch_days()


def bucket_label(column: Any, starts: Sequence[int], labels: Sequence[str]) -> Any:
    """The label of `ml.market.buckets` for each value of an Ibis integer column."""
    ends = zip(starts[1:], labels[:-1], strict=True)
    return ibis.cases(*((column < end, label) for end, label in ends), else_=labels[-1])


def first_known(rows: Any, key: str, *columns: str, ties: Sequence[str] = ()) -> Any:
    """The first known row of each id, with these columns.

    An id comes once in a day's partition, so rows of one id differ in `known_at`; where `key` is not the table's own
    id, `ties` names columns that settle what is left.
    """
    rank = ibis.row_number().over(group_by=key, order_by=["known_at", *ties])
    ranked = rows.select(key, "known_at", *columns, _rank=rank)
    return ranked.filter(ranked["_rank"] == 0).drop("_rank")


def _rows(rows: Any, day: str, keys: Sequence[str], sums: Sequence[str], given: Mapping[str, Any]) -> Any:
    """Facts of one kind in the shape of all kinds: what is not given is zero."""
    facts = {name: given.get(name, 0) for name in sums}
    columns = {
        name: (ibis.literal(fact) if isinstance(fact, int) else fact).cast("int64") for name, fact in facts.items()
    }
    return rows.select(
        **{key: rows[key].cast("string") for key in keys}, **{KNOWN_DAY: rows[day].cast("int64")}, **columns
    )


def _union(as_of: Any, *kinds: Any) -> Any:
    """Facts of every kind that some window of some as-of day can hold."""
    facts = ibis.union(*kinds)
    first = day_number(as_of["day"]).min().as_scalar() - LONGEST_WINDOW_DAYS
    return facts.filter(facts[KNOWN_DAY] > first, facts[KNOWN_DAY] <= _last_day(as_of))


def _last_day(as_of: Any) -> Any:
    return day_number(as_of["day"]).max().as_scalar()
