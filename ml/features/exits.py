"""Observed against expected cancellations, without waiting for stays.

A booking's time from its making to its arrival is cut into bins: the day it was made, then ten equal parts. It leaves
a bin on a certain day, cancelled or not. The share of exits that are cancellations, over the year before that day
and over all bookings of the same lead bucket, segment and bin, is what was to be expected of it (a product-limit
estimate; the comparison is indirect standardisation). Both numbers are known on the day of the exit and can be summed.
"""

from __future__ import annotations

from typing import Any

import ibis

from ml.features.measures import PPM

PARTS = 10
"""Equal parts of the time from the day after booking to arrival."""
YEAR_DAYS = 365
"""How far back an expectation looks."""
SEGMENT_WEIGHT = 50
"""Exits at the lead bucket's rate that a segment's expectation starts from."""


def bin_exits(bookings: Any, *, last_day: Any) -> Any:
    """One row per bin that a booking left while it was known to be open, or in which it was known to be cancelled.

    Args:
        bookings: one row per booking with lead_days, lead_bucket, segment, booked_day and outcome_day (days since 1970)
            and is_cancelled (0, 1, or null while open).
        last_day: an Ibis scalar, the last day of interest (days since 1970); later exits are left out.

    Returns:
        The columns given and `exit_day`, `cancelled_in_bin` (0 or 1), `expected_ppm` (0 to 1,000,000).
    """
    exits = _exits(bookings)
    exits = exits.filter(exits["exit_day"] <= last_day)
    daily = exits.group_by("lead_bucket", "segment", "bin", "exit_day").agg(
        hits=exits["cancelled_in_bin"].sum(), exits=exits.count()
    )
    expected = _expectations(daily)
    joined = exits.join(expected, ["lead_bucket", "segment", "bin", "exit_day"])
    return joined.select(*exits.columns, "expected_ppm")


def _exits(bookings: Any) -> Any:
    """Bins 0 to PARTS of each booking with the day it left them; the bin of a cancellation is left on its day."""
    age = bookings["outcome_day"] - bookings["booked_day"]
    hit_bin = (
        ibis.cases(
            (bookings["is_cancelled"] != 1, PARTS + 1),
            (age <= 0, 0),
            (bookings["lead_days"] <= 0, PARTS),
            else_=ibis.least(1 + (age - 1) * PARTS // bookings["lead_days"], PARTS),
        )
        .cast("int64")
        .fill_null(PARTS + 1)
    )
    marked = bookings.mutate(hit_bin=hit_bin, bin=ibis.range(0, PARTS + 1).unnest())
    passed = marked["booked_day"] + (marked["bin"] * marked["lead_days"] + PARTS - 1) // PARTS
    # A no-show becomes known when the last part is over: on that day its booking had left every bin as an open one.
    hit = (marked["bin"] == marked["hit_bin"]) & (marked["outcome_day"] <= passed)
    left = marked.mutate(
        cancelled_in_bin=hit.fill_null(False).cast("int64"), exit_day=hit.ifelse(marked["outcome_day"], passed)
    )
    return left.filter(left["bin"] <= left["hit_bin"]).drop("hit_bin")


def _expectations(daily: Any) -> Any:
    """Per lead bucket, segment, bin and exit day: the share of cancellations to expect, from the year before that day."""
    hits, exits = _year_before(daily, "lead_bucket", "segment", "bin")
    bucket = daily.group_by("lead_bucket", "bin", "exit_day").agg(hits=daily["hits"].sum(), exits=daily["exits"].sum())
    bucket_hits, bucket_exits = _year_before(bucket, "lead_bucket", "bin")
    prior = bucket.select("lead_bucket", "bin", "exit_day", prior=bucket_hits / ibis.greatest(bucket_exits, 1))
    own = daily.mutate(year_hits=hits, year_exits=exits).join(prior, ["lead_bucket", "bin", "exit_day"])
    share = (own["year_hits"] + SEGMENT_WEIGHT * own["prior"]) / (own["year_exits"] + SEGMENT_WEIGHT)
    return own.select("lead_bucket", "segment", "bin", "exit_day", expected_ppm=(share * PPM).round().cast("int64"))


def _year_before(daily: Any, *cell: str) -> tuple[Any, Any]:
    """Hits and exits of a cell in the YEAR_DAYS before each of its days, that day left out."""
    before = ibis.range_window(preceding=(YEAR_DAYS, 1), group_by=list(cell), order_by="exit_day")
    hits, exits = (ibis.coalesce(daily[name].sum().over(before), 0) for name in ("hits", "exits"))
    return hits, exits
