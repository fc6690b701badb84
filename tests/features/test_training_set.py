"""Training rows see what was known at their decision, in both clocks, and outcomes as known at the instant asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.core.errors import NoData, UsageError
from ml.core.units import day_start, days_between, known_by
from ml.features.build import build_days, market_views
from ml.features.definitions import FEATURE_VIEWS, FeatureView
from ml.features.queries import recorded
from ml.features.training_set import (
    TrainingSet,
    booking_rows,
    bookings_by_id,
    decision_rows,
    outcome_events,
    with_outcomes,
)
from ml.lake.lake import Lake
from ml.market.hotel_bookings import LEAKY_COLUMNS

Frames = Mapping[str, pd.DataFrame]
Store = Callable[[Lake, Frames], None]
FIRST, LAST = date(2024, 1, 1), date(2024, 3, 20)
AS_OF = datetime(2024, 3, 1, tzinfo=UTC)
VIEWS = ("agent_history", "company_history", "segment_history")
POISON = 987_654_321


@pytest.fixture(scope="module")
def built(
    landed_folder: Path, copy_lake: Callable[[Path, Path], Lake], tmp_path_factory: pytest.TempPathFactory
) -> Lake:
    """The small market with its features, and rows planted among them that nobody could have known in time:
    corrections created later, days backfilled later, rows of the future, rows too old to count."""
    lake = copy_lake(landed_folder, tmp_path_factory.mktemp("training"))
    views = [FEATURE_VIEWS[name] for name in VIEWS]
    build_days(lake, views, [day for day in days_between(FIRST, LAST) if day.day not in {7, 8, 9}])
    for name in VIEWS:
        _plant(lake, FEATURE_VIEWS[name])
    return lake


def _plant(lake: Lake, view: FeatureView) -> None:
    correction, backfilled, future = date(2024, 1, 20), date(2024, 2, 8), date(2024, 2, 15)
    rows = lake.read(view.table, correction)
    late = _poisoned(rows, view).assign(created_timestamp=_stamp(known_by(correction) + timedelta(days=10)))
    lake.write(view.table, correction, pd.concat([rows, late]))
    before = lake.read(view.table, backfilled - timedelta(days=2))
    filled = _poisoned(before, view).assign(
        event_timestamp=_stamp(known_by(backfilled)), created_timestamp=_stamp(known_by(backfilled) + timedelta(days=4))
    )
    lake.write(view.table, backfilled, filled)
    rows = lake.read(view.table, future)
    ahead = _poisoned(rows, view).assign(event_timestamp=_stamp(datetime(2031, 1, 1, tzinfo=UTC)))
    lake.write(view.table, future, pd.concat([rows, ahead]))
    old = _poisoned(rows, view).assign(
        event_timestamp=_stamp(datetime(2023, 6, 1, tzinfo=UTC)),
        created_timestamp=_stamp(datetime(2023, 6, 1, tzinfo=UTC)),
    )
    lake.write(view.table, date(2023, 5, 31), old)


def _poisoned(rows: pd.DataFrame, view: FeatureView) -> pd.DataFrame:
    return rows.assign(**{f.name: POISON if f.dtype == "int64" else float(POISON) for f in view.features})


def _stamp(at: datetime) -> pd.Timestamp:
    return pd.Timestamp(at).as_unit("us")


def by_the_book(lake: Lake, rows: pd.DataFrame, view: FeatureView) -> pd.DataFrame:
    """The point-in-time join as a loop: of the rows known by the decision, in both clocks, the newest."""
    table = pd.concat([lake.read(view.table, day) for day in lake.days(view.table)])
    by_entity = dict(list(table.groupby(list(view.entity))))
    found = []
    for row in rows.to_dict("records"):
        candidates = by_entity.get(tuple(row[key] for key in view.entity), table.iloc[:0])
        seen = candidates[
            (candidates["event_timestamp"] <= row["decision_at"])
            & (candidates["created_timestamp"] <= row["decision_at"])
            & (candidates["event_timestamp"] >= row["decision_at"] - timedelta(days=view.ttl_days))
        ].sort_values(["event_timestamp", "created_timestamp"])
        empty = pd.Series(np.nan, index=list(view.feature_names))
        found.append(seen.iloc[-1][list(view.feature_names)] if len(seen) else empty)
    return pd.DataFrame(found).astype("float64").reset_index(drop=True)


def test_without_rows_learned_late_the_short_way_gives_the_same_rows(full: Lake) -> None:
    """Versions are sorted only where there are any."""
    view = FEATURE_VIEWS["segment_history"]
    build_days(full, [view], days_between(FIRST, LAST))
    with recorded() as queries:
        rows = decision_rows(full, market="m", last=LAST, views=[view.name])
    assert not any("LEAD(" in query for query in queries)
    expected = by_the_book(full, rows, view)
    pd.testing.assert_frame_equal(rows[list(expected.columns)], expected, check_exact=True)
    assert expected.notna().any(axis=None)


@pytest.mark.parametrize("name", VIEWS)
def test_features_are_the_newest_that_were_known_in_both_clocks(name: str, built: Lake) -> None:
    rows = decision_rows(built, market="m", last=LAST)
    expected = by_the_book(built, rows, FEATURE_VIEWS[name])
    pd.testing.assert_frame_equal(rows[list(expected.columns)], expected, check_exact=True)
    assert expected.notna().any(axis=None)


def test_no_planted_row_reached_a_decision_before_it_was_known(built: Lake) -> None:
    """The backfilled day is the newest for three decision days before it was known, and the corrected one for none."""
    rows = decision_rows(built, market="m", last=LAST)
    for name in VIEWS:
        poisoned = rows[(rows[list(FEATURE_VIEWS[name].feature_names)] == POISON).any(axis=1)]
        assert poisoned.empty, poisoned[["booking_id", "decision_at"]]
    planted = [built.read(FEATURE_VIEWS[name].table, date(2024, 2, 8)) for name in VIEWS]
    assert all((part["created_timestamp"] > part["event_timestamp"]).all() and len(part) for part in planted)


def test_rows_say_from_when_their_features_were_known(built: Lake) -> None:
    rows = decision_rows(built, market="m", last=LAST)
    for name in VIEWS:
        known_from = rows[f"{name}_known_from"]
        assert (known_from <= rows["decision_at"])[known_from.notna()].all()
        joined = rows[f"{FEATURE_VIEWS[name].prefix}_bookings_28d"].notna()
        assert joined.any() and known_from.notna().equals(joined)


def test_a_correction_is_used_once_it_is_known(full: Lake) -> None:
    lake, view = full, FEATURE_VIEWS["segment_history"]
    build_days(lake, [view], [date(2024, 2, 1)])
    rows = lake.read(view.table, date(2024, 2, 1))
    created = known_by(date(2024, 2, 10))
    lake.write(
        view.table, date(2024, 2, 1), pd.concat([rows, _poisoned(rows, view).assign(created_timestamp=_stamp(created))])
    )
    joined = decision_rows(lake, market="m", last=date(2024, 2, 25), views=["segment_history"])
    seen = joined[joined["segment_bookings_28d"].notna()]
    assert set(seen.loc[seen["decision_at"] < created, "segment_bookings_28d"]).isdisjoint({POISON})
    assert set(seen.loc[seen["decision_at"] >= created, "segment_bookings_28d"]) == {POISON}


def test_a_decision_sees_nothing_of_its_own_day(built: Lake) -> None:
    """The feature row of a day is dated to its end, and a booking decides at its start."""
    rows = decision_rows(built, market="m", last=LAST)
    assert (rows["decision_at"] == rows["booked_at"].dt.floor("D")).all()
    first = rows[rows["booked_at"] < day_start(FIRST + timedelta(days=1))]
    assert len(first)
    assert first[list(FEATURE_VIEWS["segment_history"].feature_names)].isna().all(axis=None)


def test_each_booking_comes_once_as_it_was_first_known(built: Lake, market: Frames) -> None:
    rows = decision_rows(built, market="m", last=LAST)
    in_order = market["bookings"].sort_values(["known_at", "value_micros"])
    first = in_order[in_order["known_at"] < known_by(LAST)].drop_duplicates("booking_id").set_index("booking_id")
    assert in_order["booking_id"].duplicated().any()
    assert rows["booking_id"].is_unique
    assert set(rows["booking_id"]) == set(first.index)
    assert (rows["value_micros"].to_numpy() == first.loc[rows["booking_id"], "value_micros"].to_numpy()).all()
    assert rows[["booked_at", "booking_id"]].apply(tuple, axis=1).is_monotonic_increasing


def test_outcomes_are_those_known_by_the_instant(built: Lake, market: Frames) -> None:
    rows = booking_rows(built, market="m", as_of=AS_OF)
    events = market["booking_events"]
    known = events[events["known_at"] < AS_OF].sort_values("known_at", kind="stable")
    ends = known[known["kind"] != "reconciled"].groupby("booking_id").last()
    newest = known.groupby("booking_id").last()
    assert set(rows["outcome"]) == {"open", "cancelled", "stayed"}
    assert (rows["known_at"] < AS_OF).all()
    assert len(rows) < market["bookings"]["booking_id"].nunique()
    for row in rows.to_dict("records"):
        if row["booking_id"] in ends.index:
            end = ends.loc[row["booking_id"]]
            assert (row["outcome"], row["outcome_known_at"]) == (end["kind"], end["known_at"])
            assert row["net_value_micros"] == newest.loc[row["booking_id"], "amount_micros"]
        else:
            assert row["outcome"] == "open"
            assert pd.isna(row["outcome_known_at"]) and pd.isna(row["net_value_micros"])


def test_the_instant_itself_is_not_known_yet(
    lake: Lake, make_frame: Callable[..., pd.DataFrame], store_frames: Store
) -> None:
    at = day_start(date(2024, 5, 2))
    bookings = [{"booking_id": "b", "booked_at": at - timedelta(days=1), "known_at": at - timedelta(days=1)}]
    events = [{"event_id": "e", "booking_id": "b", "kind": "stayed", "known_at": at, "amount_micros": 9}]
    store_frames(
        lake, {"bookings": make_frame("bookings", bookings), "booking_events": make_frame("booking_events", events)}
    )
    build_days(lake, market_views(lake).values(), [date(2024, 5, 1)])
    assert booking_rows(lake, market="m", as_of=at)["outcome"].tolist() == ["open"]
    assert booking_rows(lake, market="m", as_of=at + timedelta(microseconds=1))["outcome"].tolist() == ["stayed"]


def test_decisions_once_and_outcomes_per_date_give_the_same_rows(built: Lake) -> None:
    """What a backtest does, against what a training does."""
    rows = decision_rows(built, market="m", last=LAST)
    events = outcome_events(built, market="m", last=LAST)
    for as_of in (AS_OF - timedelta(days=20), AS_OF):
        apart = booking_rows(built, market="m", as_of=as_of)
        together = with_outcomes(rows, events, as_of=as_of)
        pd.testing.assert_frame_equal(together, apart, check_exact=True)
        assert TrainingSet(together).digest == TrainingSet(apart).digest


def test_with_no_event_at_all_every_booking_is_open(built: Lake) -> None:
    rows = decision_rows(built, market="m", last=LAST)
    events = outcome_events(built, market="m", last=LAST).iloc[:0]
    open_rows = with_outcomes(rows, events, as_of=AS_OF)
    assert set(open_rows["outcome"]) == {"open"}
    assert open_rows["outcome_known_at"].dtype == "datetime64[us, UTC]"
    assert open_rows["net_value_micros"].dtype == "Int64"


def test_nothing_is_taken_from_an_excluded_day(built: Lake) -> None:
    held = [date(2024, 2, 1), date(2024, 2, 2)]
    rows = booking_rows(built, market="m", as_of=AS_OF, exclude_days=held)
    everything = booking_rows(built, market="m", as_of=AS_OF)
    assert set(rows["known_at"].dt.date).isdisjoint(held)
    assert set(everything["known_at"].dt.date) >= set(held)
    assert set(rows["outcome_known_at"].dropna().dt.date).isdisjoint(held)
    assert set(everything["outcome_known_at"].dropna().dt.date) >= set(held)


@pytest.mark.parametrize("days", [0, 9, -1])
def test_bookings_whose_stay_was_to_end_on_some_days_are_the_same_rows(built: Lake, days: int) -> None:
    """Also where these are no days at all, as on the day after a champion was trained."""
    everything = booking_rows(built, market="m", as_of=AS_OF)
    ends = everything["check_in"] + pd.to_timedelta(everything["los_nights"], unit="D")
    first = ends.quantile(0.5).date()
    last = first + timedelta(days=days)
    same = everything[ends.dt.date.between(first, last)].reset_index(drop=True)
    assert same.empty == (days < 0)
    pd.testing.assert_frame_equal(booking_rows(built, market="m", as_of=AS_OF, due=(first, last)), same)


def test_the_digest_is_of_the_rows(built: Lake) -> None:
    one, again = (TrainingSet(booking_rows(built, market="m", as_of=AS_OF)) for _ in range(2))
    assert one.digest == again.digest
    assert TrainingSet(one.rows.iloc[1:]).digest != one.digest


def test_what_lies_beneath_a_null_is_not_part_of_the_digest() -> None:
    mask = np.array([False, True])
    one, other = (
        TrainingSet(pd.DataFrame({"n": pd.arrays.IntegerArray(np.array([1, hidden]), mask)})) for hidden in (7, 8)
    )
    assert one.digest == other.digest
    assert one.digest != TrainingSet(pd.DataFrame({"n": pd.array([1, 7], dtype="Int64")})).digest
    assert one.digest != TrainingSet(pd.DataFrame({"n": pd.array([1, 0], dtype="Int64")})).digest


def test_bookings_by_id_are_the_same_rows(built: Lake) -> None:
    everything = decision_rows(built, market="m", last=LAST)
    wanted = everything.iloc[[3, 50, 300]]
    found = bookings_by_id(built, market="m", ids=[*wanted["booking_id"], "unknown"], last=LAST)
    pd.testing.assert_frame_equal(found, wanted.reset_index(drop=True))


def test_a_range_of_days_gives_those_days_with_the_same_features(built: Lake) -> None:
    first = date(2024, 2, 20)
    some = decision_rows(built, market="m", first=first, last=LAST)
    everything = decision_rows(built, market="m", last=LAST)
    same = everything[everything["known_at"] >= day_start(first)].reset_index(drop=True)
    pd.testing.assert_frame_equal(some, same)


def test_a_correction_in_the_range_does_not_make_an_earlier_booking_part_of_it(built: Lake, market: Frames) -> None:
    first = date(2024, 2, 20)
    versions = market["bookings"].groupby("booking_id")["known_at"]
    corrected = versions.min()[(versions.min() < day_start(first)) & (versions.max() >= day_start(first))].index
    assert len(corrected)
    some = decision_rows(built, market="m", first=first, last=LAST)
    assert set(some["booking_id"]).isdisjoint(corrected)


def test_rows_hold_no_leaky_column(built: Lake) -> None:
    assert set(booking_rows(built, market="m", as_of=AS_OF).columns).isdisjoint(LEAKY_COLUMNS)


def test_a_view_that_was_never_built_is_named(full: Lake) -> None:
    with pytest.raises(NoData, match="agent_history"):
        decision_rows(full, market="m", last=LAST)


def test_features_built_by_former_definitions_are_named(full: Lake) -> None:
    lake, view = full, FEATURE_VIEWS["company_history"]
    build_days(lake, [view], [date(2024, 2, 1)])
    lake.write(
        view.table, date(2024, 2, 1), lake.read(view.table, date(2024, 2, 1)).drop(columns=["company_bookings_90d"])
    )
    with pytest.raises(NoData, match="former definitions, without company_bookings_90d"):
        decision_rows(lake, market="m", last=LAST, views=["company_history"])


def test_wrong_names_are_named(built: Lake) -> None:
    with pytest.raises(UsageError, match="nonsense"):
        decision_rows(built, market="m", last=LAST, views=["nonsense"])
    with pytest.raises(UsageError, match="elsewhere"):
        decision_rows(built, market="elsewhere", last=LAST)
