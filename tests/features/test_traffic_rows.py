"""Shown opportunities and clicks, with what was known of their clicks and bookings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

from ml.core.units import days_between
from ml.features.build import build_days
from ml.features.definitions import FEATURE_VIEWS
from ml.features.training_set import click_rows, opportunity_rows, traffic_tally
from ml.lake.lake import Lake
from ml.market.tables import TABLES

Frames = Mapping[str, pd.DataFrame]
VIEW = FEATURE_VIEWS["hotel_traffic"]
AS_OF = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def built(
    landed_folder: Path, copy_lake: Callable[[Path, Path], Lake], tmp_path_factory: pytest.TempPathFactory
) -> Lake:
    lake = copy_lake(landed_folder, tmp_path_factory.mktemp("traffic"))
    build_days(lake, [VIEW], days_between(date(2024, 1, 1), date(2024, 3, 10)))
    return lake


def test_each_shown_opportunity_comes_once_with_the_clicks_known_by_then(built: Lake, market: Frames) -> None:
    rows = opportunity_rows(built, as_of=AS_OF)
    shown = market["opportunities"]
    shown = shown[shown["shown"] & (shown["known_at"] < AS_OF)]
    clicks = market["clicks"]
    known = clicks[clicks["known_at"] < AS_OF]
    assert set(rows["opportunity_id"]) == set(shown["opportunity_id"])
    assert rows["opportunity_id"].is_unique
    assert set(rows.loc[rows["clicked"], "opportunity_id"]) == set(known["opportunity_id"])
    late = set(clicks["opportunity_id"]) - set(known["opportunity_id"])
    assert late & set(rows["opportunity_id"]), "a click learned too late must be among them, unseen"
    assert rows["clicked_known_at"].notna().equals(rows["clicked"])
    assert set(TABLES["opportunities"].names) | {"lead_bucket", "los_bucket"} <= set(rows.columns)


def test_traffic_features_are_those_of_the_end_of_the_day_before(built: Lake) -> None:
    rows = opportunity_rows(built, as_of=AS_OF, first=date(2024, 2, 5), last=date(2024, 2, 5))
    before = built.read(VIEW.table, date(2024, 2, 4)).set_index(["hotel_id", "partner"])
    assert len(rows)
    for row in rows.to_dict("records"):
        for feature in VIEW.feature_names:
            assert row[feature] == before.loc[(row["hotel_id"], row["partner"]), feature]


def test_eligible_rows_are_those_that_were_not_shown_too(built: Lake, market: Frames) -> None:
    """What our own bids lost is part of the market."""
    every = market["opportunities"]
    every = every[every["known_at"] < AS_OF]
    assert (~every["shown"]).any()
    assert set(opportunity_rows(built, as_of=AS_OF, eligible=True)["opportunity_id"]) == set(every["opportunity_id"])


def test_a_tally_counts_every_auction_of_the_days_it_is_given(built: Lake, market: Frames) -> None:
    first, day = date(2024, 2, 1), date(2024, 2, 5)
    days = [first, date(2024, 2, 3), day]
    found = traffic_tally(
        built, day=day, days=days, first=first, numbers={"relative_price": (0.5, 2.0)}, labels=["device"]
    )
    landed = market["opportunities"]["known_at"].dt.date.value_counts()
    expected = [int(landed.get(one, 0)) if one in days else 0 for one in days_between(first, day)]
    for tally in found.values():
        assert (tally.counts.sum(axis=1) + tally.missing).tolist() == expected
    rivals = market["opportunities"]["rival_price_micros"].isna() & market["opportunities"]["known_at"].dt.date.isin(
        days
    )
    assert found["relative_price"].missing.sum() == rivals.sum()


def test_a_share_is_a_fixed_choice(built: Lake) -> None:
    everything = opportunity_rows(built, as_of=AS_OF)
    half = opportunity_rows(built, as_of=AS_OF, share=0.5)
    again = opportunity_rows(built, as_of=AS_OF, share=0.5)
    pd.testing.assert_frame_equal(half, again)
    assert set(half["opportunity_id"]) < set(everything["opportunity_id"])
    assert 0.4 < len(half) / len(everything) < 0.6
    smaller = opportunity_rows(built, as_of=AS_OF, share=0.25)
    assert set(smaller["opportunity_id"]) < set(half["opportunity_id"])


def test_clicks_come_with_their_search_and_the_booking_known_by_then(built: Lake, market: Frames) -> None:
    rows = click_rows(built, as_of=AS_OF)
    known = market["clicks"][market["clicks"]["known_at"] < AS_OF]
    assert set(rows["click_id"]) == set(known["click_id"])
    assert rows["click_id"].is_unique
    bookings = market["bookings"].sort_values(["known_at", "value_micros"]).drop_duplicates("booking_id")
    booked = bookings[bookings["known_at"] < AS_OF].dropna(subset=["click_id"]).set_index("click_id")
    assert rows["booked"].any() and not rows["booked"].all()
    for row in rows.to_dict("records"):
        assert row["booked"] == (row["click_id"] in booked.index)
        if row["booked"]:
            assert row["booking_value_micros"] == booked.loc[row["click_id"], "value_micros"]
            assert row["booking_known_at"] == booked.loc[row["click_id"], "known_at"]
        else:
            assert pd.isna(row["booking_value_micros"])


def test_nothing_is_taken_from_an_excluded_day(built: Lake) -> None:
    held = [date(2024, 2, 10)]
    rows = opportunity_rows(built, as_of=AS_OF, exclude_days=held)
    assert set(rows["known_at"].dt.date).isdisjoint(held)
    assert set(rows["clicked_known_at"].dropna().dt.date).isdisjoint(held)
    everything = opportunity_rows(built, as_of=AS_OF)
    assert set(everything["clicked_known_at"].dropna().dt.date) >= set(held)


@pytest.mark.parametrize("rows_of", [opportunity_rows, click_rows])
def test_no_correction_backfill_or_row_of_the_future_reaches_a_decision_before_it_was_known(
    rows_of: Callable[..., pd.DataFrame], built: Lake, tmp_path: Path, copy_lake: Callable[[Path, Path], Lake]
) -> None:
    """Planted into the feature table: a correction and a backfilled day that were learned five days later, and rows that
    speak of 2031. By the time the first two were known there were newer rows, so none of them is ever seen."""
    lake = copy_lake(Path(built.paths("clicks")[0]).parents[3], tmp_path)
    corrected, backfilled, ahead = date(2024, 2, 3), date(2024, 2, 10), date(2024, 2, 17)
    poison = {feature.name: 987_654_321 for feature in VIEW.features}
    late = pd.Timedelta(5, "D")
    for day in (corrected, backfilled, ahead):
        rows = lake.read(VIEW.table, day)
        planted = rows.assign(**poison).astype(rows.dtypes.to_dict())
        if day == ahead:
            planted["event_timestamp"] = pd.Timestamp("2031-01-01", tz="UTC").as_unit("us")
        else:
            planted["created_timestamp"] += late
        lake.write(VIEW.table, day, planted if day == backfilled else pd.concat([planted, rows]))
    found = rows_of(lake, as_of=AS_OF)
    clean = rows_of(built, as_of=AS_OF)
    seen = found[(found[list(VIEW.feature_names)] == 987_654_321).any(axis=1)]
    assert seen.empty, seen[["decision_at"]]  # the day after each has newer rows, known before it was learned
    unlearned = found["decision_at"] < pd.Timestamp(backfilled, tz="UTC")
    pd.testing.assert_frame_equal(found[unlearned], clean[unlearned])
    assert (found["hotel_traffic_known_from"] <= found["decision_at"])[found["hotel_traffic_known_from"].notna()].all()
    assert unlearned.any()
