"""On real hotel bookings: seasonal, weekly, and full of group bookings that arrive in bursts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.core.units import days_between
from ml.core.verdict import Verdict
from monitoring import judgement
from monitoring.completeness import guards
from monitoring.drift import DriftResult
from monitoring.judgement import judge_day
from monitoring.subject import Subject
from monitoring.windows import WINDOWS

DATA = Path(__file__).parents[3] / "shared" / "data" / "hotel_booking_demand" / "hotel_bookings.parquet"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data/hotel_booking_demand")

NUMERIC = ["lead_time", "nights", "rate", "value", "adults", "previous_cancellations"]
CATEGORICAL = ["market_segment", "customer_type", "agent"]
FIRST, LAST = date(2016, 7, 1), date(2016, 12, 31)

QUIET_ALARMS = 3
"""Incidents in half a year in which nothing was broken, Christmas included."""


@pytest.fixture(autouse=True)
def evidently_out_of_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgement, "distances", lambda *_, **__: DriftResult({}, None))


@pytest.fixture(scope="module")
def bookings() -> pd.DataFrame:
    """Bookings by the day they were made, with what was known of them then."""
    raw = pd.read_parquet(DATA)
    arrival = pd.to_datetime(
        raw["arrival_date_year"].astype(str)
        + "-" + raw["arrival_date_month"]
        + "-" + raw["arrival_date_day_of_month"].astype(str),
        format="%Y-%B-%d",
    )  # fmt: skip
    nights = raw["stays_in_weekend_nights"] + raw["stays_in_week_nights"]
    rows = raw.assign(
        known_at=(arrival - pd.to_timedelta(raw["lead_time"], unit="D")).dt.tz_localize("UTC"),
        nights=nights,
        rate=raw["adr"],
        value=raw["adr"] * nights,
        agent=raw["agent"].astype("Int64").astype("string"),
    )
    rows = rows[(rows["adr"] >= 0) & (rows["adr"] < 5000)]
    recent = rows["known_at"] >= pd.Timestamp(FIRST - timedelta(days=WINDOWS.days_of_use), tz="UTC")
    wanted = recent & (rows["known_at"] < pd.Timestamp(LAST + timedelta(days=1), tz="UTC"))
    return rows.loc[wanted, ["known_at", *NUMERIC, *CATEGORICAL]].sort_values("known_at", ignore_index=True)


def subject(rows: pd.DataFrame, day: date) -> Subject:
    start = pd.Timestamp(day, tz="UTC")
    first = start - pd.Timedelta(days=WINDOWS.days_of_use)
    today = (rows["known_at"] >= start) & (rows["known_at"] < start + pd.Timedelta(days=1))
    before = (rows["known_at"] < start) & (rows["known_at"] >= first)
    return Subject("bookings", rows[today], rows[before], NUMERIC, CATEGORICAL)


def test_half_a_quiet_year_raises_a_handful_of_drift_alarms_and_no_day_is_held(bookings: pd.DataFrame) -> None:
    before: deque[list[str]] = deque(maxlen=WINDOWS.confirm_of - 1)
    opened, odd = [], []
    drifting = False
    for day in days_between(FIRST, LAST):
        verdict = judge_day([subject(bookings, day)], day=day, exceeded_before=chain(*before))
        if verdict.parts["completeness"] is not Verdict.PASS:
            odd.append(day)
        if verdict.confirmed("drift") and not drifting:
            opened.append(day)
            drifting = True
        drifting = drifting and bool(verdict.exceeding or any(before))
        before.append([shift.name for shift in verdict.exceeding])
    assert odd == []
    assert len(opened) <= QUIET_ALARMS, opened


def dearer(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(rate=rows["rate"] * 1.3, value=rows["value"] * 1.3)


def other_segments(rows: pd.DataFrame) -> pd.DataFrame:
    """Three in four of the online agencies' bookings stay away, and twice as many come offline and directly."""
    stays_away = (rows["market_segment"] == "Online TA") & (np.random.default_rng(0).random(len(rows)) < 0.75)
    others = rows[rows["market_segment"].isin(["Offline TA/TO", "Direct"])]
    return pd.concat([rows[~stays_away], others]).sort_values("known_at", ignore_index=True)


@pytest.mark.parametrize("first", [date(2016, 8, 10), date(2016, 10, 5), date(2016, 11, 9)], ids=str)
@pytest.mark.parametrize(
    ("change", "within_days", "columns"),
    [(dearer, 8, {"rate", "value"}), (other_segments, 9, {"market_segment", "agent"})],
    ids=["prices x 1.3", "other segments"],
)
def test_a_lasting_shift_is_found_within_days(
    bookings: pd.DataFrame,
    first: date,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    within_days: int,
    columns: set[str],
) -> None:
    """Confirmation on a second day included.

    On twelve start dates through the half year: prices after 2 to 8 days (median 4.5), segments after 2 to 9.
    A shift of segments half as large stays below what group bookings do to the mix every few weeks.
    """
    start = pd.Timestamp(first, tz="UTC")
    changed = bookings["known_at"] >= start
    rows = pd.concat([bookings[~changed], change(bookings[changed])], ignore_index=True)
    before: deque[list[str]] = deque(maxlen=WINDOWS.confirm_of - 1)
    for n in range(within_days):
        day = first + timedelta(days=n)
        verdict = judge_day([subject(rows, day)], day=day, exceeded_before=chain(*before))
        found = {name.removeprefix("bookings.") for name in verdict.confirmed("drift")}
        if found & columns:
            return
        before.append([shift.name for shift in verdict.exceeding])
    pytest.fail(f"not found within {within_days} days")


def test_two_columns_that_change_places_are_found_and_nothing_else_is_taken_for_it(bookings: pd.DataFrame) -> None:
    """On all 184 days of the half year: no alarm; every pair on 181 days or more, but for lead time and rate (119)."""
    pairs = {pair for names in (NUMERIC, CATEGORICAL) for pair in combinations(names, 2)} - {("lead_time", "rate")}
    for day in list(days_between(FIRST, LAST))[::23]:
        whole = subject(bookings, day)
        assert swaps(whole, day) == []
        for one, other in pairs:
            changed = replace(whole, current=whole.current.rename(columns={one: other, other: one}))
            assert swaps(changed, day) == [one], day


def swaps(rows: Subject, day: date) -> list[str]:
    return [found.column for found in guards(rows, day) if found.check == "swapped" and found.verdict is Verdict.FAIL]
