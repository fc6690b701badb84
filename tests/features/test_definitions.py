"""What each feature is, told a second time in plain Python, and that it never looks ahead."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, timedelta
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa
import pytest

from ml.core.errors import UsageError
from ml.core.units import known_by
from ml.features.definitions import FEATURE_VIEWS, FeatureView, views_for
from ml.features.facts import bucket_label
from ml.market.buckets import LEAD_BUCKETS, LEAD_STARTS, LOS_BUCKETS, LOS_STARTS, lead_bucket, los_bucket
from ml.market.tables import TABLES

Frames = Mapping[str, pd.DataFrame]
BOOKING_VIEWS = ["agent_history", "company_history", "segment_history"]
DAYS = [date(2024, 1, 3), date(2024, 2, 10), date(2024, 3, 31)]


def build(view: FeatureView, frames: Frames, days: list[date]) -> pd.DataFrame:
    tables = {
        name: ibis.memtable(pa.Table.from_pandas(rows, schema=TABLES[name].arrow, preserve_index=False))
        for name, rows in frames.items()
    }
    as_of = ibis.memtable(pa.table({"day": pa.array(days, pa.date32())}))
    backend = ibis.duckdb.connect()
    try:
        return backend.to_pyarrow(view.build(tables, as_of)).to_pandas()
    finally:
        backend.disconnect()


def known(frames: Frames, day: date) -> dict[str, pd.DataFrame]:
    return {name: rows[rows["known_at"] < known_by(day)] for name, rows in frames.items()}


# The same, by the book: loops over Python values.


def histories(frames: Frames) -> list[dict[str, Any]]:
    """First known version of each booking, with its first known outcome."""
    ends: dict[str, Any] = {}
    for event in frames["booking_events"].sort_values(["known_at", "kind"]).to_dict("records"):
        if event["kind"] != "reconciled":
            ends.setdefault(event["booking_id"], event)
    found: dict[str, Any] = {}
    for row in frames["bookings"].sort_values(["known_at", "value_micros"]).to_dict("records"):
        if row["booking_id"] in found:
            continue
        booked = row["known_at"].date()
        end = ends.get(row["booking_id"])
        found[row["booking_id"]] = row | {
            "lead_bucket": lead_bucket(row["lead_days"]),
            "booked": booked,
            "ended": max(end["known_at"].date(), booked) if end else None,
            "cancelled": bool(end and end["kind"] == "cancelled"),
        }
    return list(found.values())


def exits(bookings: list[dict[str, Any]], day: date) -> list[dict[str, Any]]:
    """Each bin that a booking left by `day`: on which day, and whether it was cancelled in it."""
    rows = []
    for booking in bookings:
        for number in range(11):
            over = booking["booked"] + timedelta(days=-(-number * booking["lead_days"] // 10))
            gone = booking["ended"] if booking["cancelled"] else None
            hit = gone is not None and gone <= over
            left = gone if hit else over
            if left <= day:
                rows.append(booking | {"bin": number, "left": left, "hit": hit})
            if hit:
                break
    return rows


def expected(all_exits: list[dict[str, Any]], row: dict[str, Any]) -> float:
    """Share of hits to expect of an exit: its cell's in the year before, leaning on its lead bucket's."""
    before = [
        e
        for e in all_exits
        if (e["lead_bucket"], e["bin"]) == (row["lead_bucket"], row["bin"]) and e["left"] < row["left"]
    ]
    cell = [e for e in before if e["segment"] == row["segment"]]
    prior = sum(e["hit"] for e in before) / max(len(before), 1)
    return round(1e6 * (sum(e["hit"] for e in cell) + 50 * prior) / (len(cell) + 50)) / 1e6


def reference(view: FeatureView, frames: Frames, day: date) -> dict[tuple[Any, ...], dict[str, float]]:
    bookings = histories(frames)
    left = exits(bookings, day)
    by_cell: dict[Any, list[dict[str, Any]]] = {}
    for row in left:
        by_cell.setdefault((row["lead_bucket"], row["bin"]), []).append(row)
    for row in left:
        row["expected"] = expected(by_cell[row["lead_bucket"], row["bin"]], row)
    rows: dict[tuple[Any, ...], dict[str, float]] = {}
    for key in {tuple(b[k] for k in view.entity) for b in bookings if all(b[k] is not None for k in view.entity)}:
        values: dict[str, float] = {}
        seen = False
        for window in view.windows:
            first = day - timedelta(days=window - 1)
            own = lambda b: tuple(b[k] for k in view.entity) == key  # noqa: B023, E731
            made = [b for b in bookings if first <= b["booked"] <= day]
            ended = [b for b in bookings if b["ended"] is not None and first <= b["ended"] <= day]
            gone = [e for e in left if first <= e["left"] <= day]
            mine = [b["value_micros"] for b in made if own(b)]
            mean = sum(b["value_micros"] for b in made) / len(made) if made else math.nan
            rate = sum(b["cancelled"] for b in ended) / len(ended) if ended else math.nan
            ends = [b["cancelled"] for b in ended if own(b)]
            hits = [e for e in gone if own(e)]
            seen |= bool(mine or ends or hits)
            values |= {
                f"{view.prefix}_bookings_{window}d": len(mine),
                f"{view.prefix}_mean_value_micros_{window}d": round((sum(mine) + 10 * mean) / (len(mine) + 10))
                if made
                else math.nan,
                f"{view.prefix}_cancel_rate_{window}d": (sum(ends) + 20 * rate) / (len(ends) + 20),
                f"{view.prefix}_cancel_ratio_{window}d": math.log(
                    (sum(e["hit"] for e in hits) + 5) / (sum(e["expected"] for e in hits) + 5)
                ),
            }
        if seen:
            rows[key] = values
    return rows


@pytest.mark.ml_test_score("data7")
@pytest.mark.parametrize("name", BOOKING_VIEWS)
def test_booking_features_are_what_the_plain_telling_of_them_gives(name: str, market: Frames) -> None:
    view = FEATURE_VIEWS[name]
    built = build(view, market, [DAYS[1]])
    plain = reference(view, known(market, DAYS[1]), DAYS[1])
    assert {tuple(row) for row in built[list(view.entity)].itertuples(index=False)} == set(plain)
    for row in built.to_dict("records"):
        values = plain[tuple(row[key] for key in view.entity)]
        for feature in view.feature_names:
            # Expected cancellations are rounded to millionths, and halves may round either way.
            assert row[feature] == pytest.approx(values[feature], rel=1e-12, abs=2e-6, nan_ok=True), (row, feature)


@pytest.mark.ml_test_score("data7")
def test_traffic_features_by_hand(make_frame: Callable[..., pd.DataFrame]) -> None:
    """Two hotels, one day and the next: counts, smoothed rates, mean cost; a booking counts when it and its click were known."""

    def at(day: int) -> pd.Timestamp:
        return pd.Timestamp(2024, 5, day, 12, tz=UTC)

    seen = [
        ("o1", "h1", 1, True),
        ("o2", "h1", 1, True),
        ("o3", "h2", 1, True),
        ("o4", "h1", 9, True),
        ("o5", "h1", 9, False),
    ]
    frames = {
        "opportunities": make_frame(
            "opportunities",
            [
                {"opportunity_id": o, "partner": "p", "hotel_id": h, "ts": at(d), "known_at": at(d), "shown": s}
                for o, h, d, s in seen
            ],
        ),
        "clicks": make_frame(
            "clicks",
            [
                {
                    "click_id": "c1",
                    "opportunity_id": "o1",
                    "partner": "p",
                    "hotel_id": "h1",
                    "known_at": at(1),
                    "cpc_micros": 100,
                },
                {
                    "click_id": "c4",
                    "opportunity_id": "o4",
                    "partner": "p",
                    "hotel_id": "h1",
                    "known_at": at(9),
                    "cpc_micros": 300,
                },
            ],
        ),
        "bookings": make_frame(
            "bookings",
            [
                {"booking_id": "b1", "click_id": "c1", "known_at": at(3)},
                {"booking_id": "b2", "click_id": None, "known_at": at(3)},
            ],
        ),
    }
    rows = build(FEATURE_VIEWS["hotel_traffic"], frames, [date(2024, 5, 2), date(2024, 5, 9)])
    first, second = rows[rows["hotel_id"] == "h1"].to_dict("records")
    assert (first["traffic_impressions_28d"], first["traffic_clicks_28d"], first["traffic_bookings_28d"]) == (2, 1, 0)
    assert first["traffic_ctr_28d"] == pytest.approx((1 + 200 / 3) / 202)
    assert (second["traffic_impressions_7d"], second["traffic_clicks_7d"], second["traffic_bookings_7d"]) == (1, 1, 1)
    assert (second["traffic_impressions_28d"], second["traffic_bookings_28d"]) == (3, 1)
    assert second["traffic_cvr_28d"] == pytest.approx((1 + 50 / 2) / 52)
    assert second["traffic_mean_cpc_micros_28d"] == 200


@pytest.mark.ml_test_score("data7")
@pytest.mark.parametrize("name", FEATURE_VIEWS)
def test_a_day_is_the_same_whether_or_not_the_future_is_in_the_lake(name: str, market: Frames) -> None:
    """Late bookings, corrections and outcomes of later days change nothing of a day, to the last bit."""
    view = FEATURE_VIEWS[name]
    together = build(view, market, DAYS)
    apart = pd.concat([build(view, known(market, day), [day]) for day in DAYS], ignore_index=True)
    assert any(len(known(market, day)["bookings"]) < len(market["bookings"]) for day in DAYS)
    pd.testing.assert_frame_equal(together, apart, check_exact=True, check_dtype=False)


@pytest.mark.parametrize("name", FEATURE_VIEWS)
def test_the_order_in_which_rows_lie_does_not_matter(name: str, market: Frames) -> None:
    view = FEATURE_VIEWS[name]
    shuffled = {table: rows.sample(frac=1.0, random_state=3) for table, rows in market.items()}
    pd.testing.assert_frame_equal(build(view, market, DAYS), build(view, shuffled, DAYS), check_exact=True)


@pytest.mark.parametrize("name", FEATURE_VIEWS)
def test_rows_carry_the_end_of_their_day_as_both_clocks_and_the_declared_types(name: str, market: Frames) -> None:
    view = FEATURE_VIEWS[name]
    rows = build(view, market, DAYS)
    assert tuple(rows.columns) == view.columns
    assert set(rows["event_timestamp"]) == {pd.Timestamp(known_by(day)) for day in DAYS}
    assert (rows["event_timestamp"] == rows["created_timestamp"]).all()
    assert not rows.duplicated([*view.entity, "event_timestamp"]).any()
    for feature in view.features:
        assert rows[feature.name].dtype in (feature.dtype, "float64"), feature


def test_a_key_that_is_null_has_no_row_but_counts_for_the_market(make_frame: Callable[..., pd.DataFrame]) -> None:
    at = pd.Timestamp(2024, 5, 1, tz=UTC)
    rows = [
        {"booking_id": "b1", "agent_id": "a", "known_at": at, "value_micros": 100},
        {"booking_id": "b2", "agent_id": None, "known_at": at, "value_micros": 300},
    ]
    frames = {"bookings": make_frame("bookings", rows), "booking_events": make_frame("booking_events", [])}
    built = build(FEATURE_VIEWS["agent_history"], frames, [date(2024, 5, 1)])
    assert built["agent_id"].tolist() == ["a"]
    assert built["agent_mean_value_micros_28d"].tolist() == [round((100 + 10 * 200) / 11)]


def test_an_entity_has_a_row_until_its_last_fact_leaves_the_longest_window(
    make_frame: Callable[..., pd.DataFrame],
) -> None:
    rows = [{"booking_id": "b", "agent_id": "a", "known_at": pd.Timestamp(2024, 1, 1, tz=UTC), "lead_days": 0}]
    frames = {"bookings": make_frame("bookings", rows), "booking_events": make_frame("booking_events", [])}
    days = [date(2023, 12, 31), date(2024, 1, 1), date(2024, 12, 30), date(2024, 12, 31)]
    built = build(FEATURE_VIEWS["agent_history"], frames, days)
    assert [stamp.date() for stamp in built["event_timestamp"]] == [date(2024, 1, 2), date(2024, 12, 31)]
    assert built["agent_bookings_365d"].tolist() == [1, 1]
    assert built["agent_bookings_28d"].tolist() == [1, 0]


@pytest.mark.ml_test_score("data6")
def test_a_window_or_a_measure_is_one_line(market: Frames) -> None:
    view = FEATURE_VIEWS["company_history"]
    other = dataclasses.replace(view, windows=(7,), measures=view.measures[:1])
    assert other.feature_names == ("company_bookings_7d",)
    assert set(build(other, market, DAYS).columns) >= {"company_bookings_7d"}


def test_a_window_that_the_facts_do_not_reach_is_refused() -> None:
    with pytest.raises(UsageError, match="windows"):
        dataclasses.replace(FEATURE_VIEWS["company_history"], windows=(28, 400))


def test_no_two_features_share_a_name() -> None:
    names = [name for view in FEATURE_VIEWS.values() for name in view.feature_names]
    assert len(names) == len(set(names))


def test_a_source_without_opportunities_has_the_booking_views_only() -> None:
    assert set(views_for({"hotels", "bookings", "booking_events"})) == set(BOOKING_VIEWS)
    assert set(views_for(TABLES)) == set(FEATURE_VIEWS)


def test_buckets_are_those_of_the_market() -> None:
    values = list(range(400))
    column = ibis.memtable({"v": values})
    labels = column.select(
        lead=bucket_label(column["v"], LEAD_STARTS, LEAD_BUCKETS),
        los=bucket_label(column["v"], LOS_STARTS, LOS_BUCKETS),
    ).execute()
    assert labels["lead"].tolist() == [lead_bucket(value) for value in values]
    assert labels["los"].tolist() == [los_bucket(value) for value in values]
