"""Settle a day: its money, what became known late, and how realised value compares with what the champion expected."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from ml.core.units import day_start

if TYPE_CHECKING:
    import pandas as pd

    from ml.ledger.champion import Champion
    from ml.platform import Platform

SETTLEMENTS = "settlements"
"""Lake table: one row per booking whose outcome became known on the day."""


def settle_day(platform: Platform, day: date) -> dict[str, Any]:
    """Match the outcomes that the day taught with what the champion of the day before expected of each booking.

    Writes the day's partition of `settlements`: booking_id, booked_day, kind, value_micros,
    realised_micros and expected_micros (null while there is no champion). `money` of the result is what
    `ml.steps.money` counts for the day; `canary`, where one is under way, what matured outcomes say of it.
    """
    from ml.ledger import champion
    from ml.steps.money import counted_bookings, money_of_day

    # Yesterday's champion, by name: this step runs beside the one that may promote a new one today.
    live = champion.on_day(platform.db, platform.market, day - timedelta(days=1))
    events = platform.lake.read("booking_events", day)
    events = events[events["kind"].isin(["cancelled", "stayed"])]
    late = _late_bookings(platform, day)
    counted = counted_bookings(platform.lake, day)
    bookings = _bookings(platform, [*events["booking_id"], *counted], day, with_features=live is not None)
    bookings["expected_micros"] = _expected(platform, bookings, live)
    money = money_of_day(
        platform.lake,
        day,
        bookings=bookings[bookings["booking_id"].isin(counted)],
        ends=events,
        take_share=platform.settings.take_share,
    )
    rows = _ended(bookings, events)
    settled = rows[
        ["booking_id", "booked_day", "kind", "value_micros", "realised_micros", "expected_micros"]
    ].sort_values("booking_id", ignore_index=True)
    digest = platform.lake.write(SETTLEMENTS, day, settled)
    realised = int(settled["realised_micros"].sum())
    expected = settled["expected_micros"]
    known = bool(len(expected)) and bool(expected.notna().all())
    return {
        "outcomes": len(settled),
        "cancelled": int((settled["kind"] == "cancelled").sum()),
        "stayed": int((settled["kind"] == "stayed").sum()),
        "late_bookings": late,
        "realised_micros": realised,
        "expected_micros": round(float(expected.sum())) if known else None,
        "net_value_ratio": float(expected.sum()) / realised if known and realised else None,
        "money": money,
        "digest": digest,
    } | _canary(platform, day)


def _canary(platform: Platform, day: date) -> dict[str, Any]:
    """What outcomes that matured by now say of the canary under way, for its slow gates; nothing where there is none."""
    from ml.steps.arm_outcomes import feed

    found = feed(platform, day)
    return {} if found is None else {"canary": found}


def _late_bookings(platform: Platform, day: date) -> int:
    """Bookings learned on the day that were made before it."""
    bookings = platform.lake.read("bookings", day)
    return int((bookings["booked_at"] < day_start(day)).sum())


def _bookings(platform: Platform, ids: list[str], day: date, *, with_features: bool) -> pd.DataFrame:
    """These bookings as first known; with features as known when each was made, where somebody reads them.

    On the first days of a market there are none yet: this step comes before the one that builds them.
    """
    from ml.features.training_set import bookings_by_id

    views = None if with_features else ()
    return bookings_by_id(platform.lake, market=platform.market, ids=ids, last=day, views=views)


def _ended(bookings: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """A row for each of these outcomes, with its booking."""
    ends = events[["booking_id", "kind", "amount_micros"]].rename(columns={"amount_micros": "realised_micros"})
    rows = bookings.merge(ends, on="booking_id", how="inner", validate="1:m")
    rows["booked_day"] = rows["booked_at"].dt.floor("D")
    return rows


def _expected(platform: Platform, rows: pd.DataFrame, live: Champion | None) -> Any:
    """Net value that this champion expects of each booking; null without one."""
    import pandas as pd

    if live is None or rows.empty:
        return pd.Series([None] * len(rows), index=rows.index, dtype="Float64")
    from ml.models.scoring import score_bookings
    from ml.promotion.bundle import load_models, read_bundle

    models = load_models(read_bundle(platform.blobs, live.digest, platform.keys))
    return score_bookings(models, rows)["net_value_micros"].astype("Float64")
