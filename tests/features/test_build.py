"""Feature partitions: the same whether days are built together or one by one, and nothing written on an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta

import pandas as pd
import pytest

from ml.core.errors import CorruptArtefact, NoData
from ml.core.units import known_by
from ml.features.build import build_days, market_views
from ml.features.definitions import FEATURE_VIEWS
from ml.lake.lake import Lake

Frames = Mapping[str, pd.DataFrame]
Store = Callable[[Lake, Frames], None]
DAYS = [date(2024, 2, 1) + timedelta(days=n) for n in range(5)]
VIEW = FEATURE_VIEWS["segment_history"]


def test_building_days_together_or_one_by_one_gives_the_same_files(full: Lake) -> None:
    views = list(market_views(full).values())
    assert {view.name for view in views} == set(FEATURE_VIEWS)
    counts = build_days(full, views, DAYS)
    together = {(view.name, day): full.digest(view.table, day) for view in views for day in DAYS}
    one_by_one = [build_days(full, views, [day]) for day in DAYS]
    assert {(view.name, day): full.digest(view.table, day) for view in views for day in DAYS} == together
    assert counts == {view.name: sum(day[view.name] for day in one_by_one) for view in views}
    assert None not in together.values()


def test_a_partition_holds_its_own_day_only(full: Lake) -> None:
    build_days(full, [VIEW], DAYS)
    for day in DAYS:
        rows = full.read(VIEW.table, day)
        assert tuple(rows.columns) == VIEW.columns
        assert set(rows["event_timestamp"]) == {known_by(day)}
        assert len(rows)


def test_an_entity_that_was_silent_for_weeks_is_still_in_the_partition(full: Lake, market: Frames) -> None:
    """So that the newest partition alone is enough for the online store."""
    last = market["bookings"]["known_at"].max().date() + timedelta(days=200)
    build_days(full, [VIEW], [last])
    seen = market["bookings"]["segment"].nunique()
    assert full.read(VIEW.table, last)["segment"].nunique() == seen


def test_a_day_before_all_data_has_an_empty_partition_with_its_columns(full: Lake) -> None:
    early = date(2020, 1, 1)
    assert build_days(full, [VIEW], [early]) == {VIEW.name: 0}
    rows = full.read(VIEW.table, early)
    assert rows.empty
    assert tuple(rows.columns) == VIEW.columns


def test_a_market_without_opportunities_has_no_traffic_view(lake: Lake, market: Frames, store_frames: Store) -> None:
    store_frames(lake, {name: market[name] for name in ("bookings", "booking_events")})
    assert "hotel_traffic" not in market_views(lake)
    with pytest.raises(NoData, match=r"opportunities|clicks"):
        build_days(lake, [FEATURE_VIEWS["hotel_traffic"]], DAYS)


def test_a_table_without_a_row_in_reach_counts_as_empty(lake: Lake, market: Frames, store_frames: Store) -> None:
    """Bookings but no event yet: the events begin long after the day that is built."""
    store_frames(lake, {"bookings": market["bookings"]})
    late = market["booking_events"].assign(known_at=pd.Timestamp("2030-01-01", tz="UTC").as_unit("us"))
    store_frames(lake, {"booking_events": late})
    build_days(lake, [VIEW], DAYS[:1])
    rows = lake.read(VIEW.table, DAYS[0])
    assert rows["segment_bookings_28d"].sum() > 0
    assert rows["segment_cancel_rate_28d"].isna().all()


def test_a_damaged_partition_is_named_and_no_feature_is_written(full: Lake) -> None:
    path = full.paths("bookings", DAYS[0], DAYS[0])[0]
    damaged = path.read_bytes()[:200]
    path.unlink()
    path.write_bytes(damaged)
    with pytest.raises(CorruptArtefact, match=DAYS[0].isoformat()):
        build_days(full, [VIEW], DAYS)
    assert full.days(VIEW.table) == []


def test_a_day_built_again_later_is_known_from_then(full: Lake) -> None:
    """A restated day: what was served stays as it was known, the correction stands beside it."""
    day, learned = DAYS[0], DAYS[3]
    build_days(full, [VIEW], [day])
    before = full.read(VIEW.table, day)
    restated = full.read("bookings", day).assign(value_micros=1)
    full.write("bookings", day, restated)
    build_days(full, [VIEW], [day], learned=learned)
    after = full.read(VIEW.table, day)
    old = after[after["created_timestamp"] == known_by(day)].reset_index(drop=True)
    new = after[after["created_timestamp"] != known_by(day)]
    pd.testing.assert_frame_equal(old, before)
    assert set(new["created_timestamp"]) == {known_by(learned)}
    assert set(new["event_timestamp"]) == {known_by(day)}
    digest = full.digest(VIEW.table, day)
    build_days(full, [VIEW], [day], learned=learned)
    assert full.digest(VIEW.table, day) == digest
