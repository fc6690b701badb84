"""The real bookings: two clocks kept apart, nothing leaky, and a known, small quarantine."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from ml.core.errors import CorruptArtefact, NoData, UsageError
from ml.core.settings import Settings
from ml.core.units import days_between
from ml.market import hotel_bookings, open_source
from ml.market.check import check_days
from ml.market.conform import conform_days
from ml.market.hotel_bookings import LEAKY_COLUMNS, HotelBookings
from ml.market.reasons import reason_counts
from ml.market.tables import TABLES

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "hotel_booking_demand"

real = pytest.mark.skipif(
    not (FOLDER / hotel_bookings.FILE).exists(), reason=f"the hotel booking demand data is not in {FOLDER}"
)


@pytest.fixture(scope="module")
def source() -> HotelBookings:
    return HotelBookings(FOLDER, market="hotel_bookings")


@pytest.fixture(scope="module")
def days(source: HotelBookings) -> dict[date, dict[str, pd.DataFrame]]:
    """Every day of the data set."""
    return {day: source.fetch(day) for day in days_between(source.first_day(), source.last_day())}


def whole(days: dict[date, dict[str, pd.DataFrame]], table: str) -> pd.DataFrame:
    return pd.concat([frames[table] for frames in days.values()], ignore_index=True)


@real
def test_every_booking_and_every_outcome_is_delivered_once(days: dict[date, dict[str, pd.DataFrame]]) -> None:
    bookings, events = whole(days, "bookings"), whole(days, "booking_events")
    assert len(bookings) == len(events) == pq.read_metadata(FOLDER / hotel_bookings.FILE).num_rows == 119_390
    assert bookings["booking_id"].is_unique
    assert events["event_id"].is_unique
    assert set(events["booking_id"]) == set(bookings["booking_id"])
    assert events["kind"].value_counts().to_dict() == {"stayed": 75_166, "cancelled": 44_224}


@real
def test_the_market_day_is_arrival_minus_lead_time(days: dict[date, dict[str, pd.DataFrame]]) -> None:
    bookings = whole(days, "bookings")
    lead = pd.to_timedelta(bookings["lead_days"], unit="D")
    assert (bookings["booked_at"] == bookings["check_in"] - lead).all()
    for day, frames in days.items():
        assert set(frames["bookings"]["booked_at"].dt.date) <= {day}
        assert set(frames["booking_events"]["event_at"].dt.date) <= {day}


@real
def test_no_status_date_lies_before_the_booked_day_and_stays_end_after_arrival(
    days: dict[date, dict[str, pd.DataFrame]],
) -> None:
    both = whole(days, "bookings").merge(whole(days, "booking_events"), on="booking_id", suffixes=("", "_event"))
    assert (both["event_at"] >= both["booked_at"]).all()
    assert (both["known_at_event"] >= both["known_at"]).all()
    stayed = both[both["kind"] == "stayed"]
    assert (stayed["event_at"] >= stayed["check_in"]).all()


@real
def test_a_fact_with_a_date_but_no_hour_is_known_when_its_day_is_over(
    days: dict[date, dict[str, pd.DataFrame]],
) -> None:
    last_microsecond = timedelta(days=1, microseconds=-1)
    bookings, events = whole(days, "bookings"), whole(days, "booking_events")
    assert (bookings["known_at"] - bookings["booked_at"] == last_microsecond).all()
    assert (events["known_at"] - events["event_at"] == last_microsecond).all()


@real
def test_money_is_rate_times_nights_and_nothing_for_a_cancellation(days: dict[date, dict[str, pd.DataFrame]]) -> None:
    bookings, events = whole(days, "bookings"), whole(days, "booking_events")
    assert (bookings["value_micros"] == bookings["rate_micros"] * bookings["los_nights"]).all()
    both = events.merge(bookings, on="booking_id")
    assert (both.loc[both["kind"] == "cancelled", "amount_micros"] == 0).all()
    stayed = both[both["kind"] == "stayed"]
    assert (stayed["amount_micros"] == stayed["value_micros"]).all()
    assert round(bookings["rate_micros"].mean() / 1e6, 2) == 101.83


@real
def test_leaky_columns_are_dropped_at_the_door(days: dict[date, dict[str, pd.DataFrame]]) -> None:
    names = {str(name) for frames in days.values() for frame in frames.values() for name in frame.columns}
    assert not names & set(LEAKY_COLUMNS)
    in_the_file = set(pq.read_schema(FOLDER / hotel_bookings.FILE).names)
    assert set(LEAKY_COLUMNS) <= in_the_file  # the names are right: they were there to be dropped
    assert all(len(reason) > 10 for reason in LEAKY_COLUMNS.values())


@real
def test_the_order_of_ids_does_not_tell_the_outcome(days: dict[date, dict[str, pd.DataFrame]]) -> None:
    """The file is sorted by outcome within a hotel; ids in file order would rank cancellations with an AUC of .6."""
    events = whole(days, "booking_events").sort_values("booking_id", ignore_index=True)
    cancelled = (events["kind"] == "cancelled").to_numpy()
    ranks = events.index.to_numpy()[cancelled] + 1
    n, m = cancelled.sum(), (~cancelled).sum()
    auc = (ranks.sum() - n * (n + 1) / 2) / (n * m)
    assert abs(auc - 0.5) < 0.01


@real
def test_the_quarantine_of_the_real_data_is_the_documented_one(days: dict[date, dict[str, pd.DataFrame]]) -> None:
    counts: Counter[str] = Counter()
    hotels = {day: frozenset(frames["hotels"]["hotel_id"]) for day, frames in days.items()}
    for name in ("hotels", "bookings", "booking_events"):
        parts = conform_days(TABLES[name], [frames[name] for frames in days.values()])
        for checked in check_days(TABLES[name], dict(zip(days, parts, strict=True)), hotels).values():
            counts.update({f"{name} {reason}": count for reason, count in reason_counts(checked.reasons).items()})
    assert counts == {
        "bookings null:children": 4,
        "bookings range:lead_days": 1,
        "bookings range:los_nights": 1,
        "bookings range:rate_micros": 2,
        "booking_events range:amount_micros": 1,
    }
    documented = (hotel_bookings.__doc__ or "").replace("\n", " ")
    for reason, count in counts.items():
        assert f"{count}  {reason.split(' ')[1]}" in documented


@real
def test_a_day_outside_the_data_is_no_data_and_an_empty_day_is_empty(source: HotelBookings) -> None:
    assert (source.first_day(), source.last_day()) == (date(2013, 6, 24), date(2017, 9, 14))
    for day in (date(2013, 6, 23), date(2017, 9, 15)):
        with pytest.raises(NoData, match="choose a day from 2013-06-24 to 2017-09-14"):
            source.fetch(day)
    frames = source.fetch(date(2013, 7, 1))
    assert len(frames["bookings"]) == 0
    assert len(frames["hotels"]) == 2


def test_without_a_folder_it_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--data"):
        open_source(Settings(source="hotel_bookings"))


def test_an_absent_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoData, match=r"there is no hotel_bookings\.parquet in"):
        HotelBookings(tmp_path, market="m").first_day()
    (tmp_path / hotel_bookings.FILE).write_bytes(b"PAR1 and nothing more")
    with pytest.raises(CorruptArtefact, match=r"hotel_bookings\.parquet is not a readable Parquet file"):
        HotelBookings(tmp_path, market="m").first_day()
    pd.DataFrame({"hotel": ["City Hotel"]}).to_parquet(tmp_path / hotel_bookings.FILE)
    with pytest.raises(CorruptArtefact, match="lacks the column lead_time"):
        HotelBookings(tmp_path, market="m").first_day()
