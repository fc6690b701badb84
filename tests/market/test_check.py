"""Every fault of a row has its reason; accepted and quarantined rows add up to the rows delivered."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from ml.core.errors import SchemaBreak
from ml.market.check import Checked, check_days
from ml.market.conform import conform
from ml.market.quarantine import quarantine_rows
from ml.market.reasons import reason_counts
from ml.market.simulator.source import FIRST_DAY, Simulator
from ml.market.tables import TABLES

DAY = FIRST_DAY


@pytest.fixture(scope="module")
def delivery(simulator: Simulator) -> dict[str, pd.DataFrame]:
    return {name: frame.head(60) for name, frame in simulator.fetch(DAY).items()}


@pytest.fixture(scope="module")
def hotels(delivery: dict[str, pd.DataFrame]) -> frozenset[str]:
    return frozenset(delivery["hotels"]["hotel_id"])


def check(table: str, frame: pd.DataFrame, hotels: frozenset[str], day: date = DAY) -> Checked:
    return check_days(TABLES[table], {day: conform(TABLES[table], frame)}, {day: hotels})[day]


def put(column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Damage the column in row 3."""

    def damage(frame: pd.DataFrame) -> pd.DataFrame:
        values = frame[column].astype(object)
        values.iloc[3] = value
        return frame.assign(**{column: values})

    return damage


def shift(column: str, by: timedelta) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: put(column, frame[column].iloc[3] + by)(frame)


CASES = [
    ("bookings", put("hotel_id", None), "null:hotel_id"),
    ("bookings", put("booking_id", None), "null:booking_id"),
    ("bookings", put("children", np.nan), "null:children"),
    ("bookings", put("known_at", None), "null:known_at"),
    ("bookings", put("adults", "two"), "type:adults"),
    ("bookings", put("rate_micros", 10.5), "type:rate_micros"),
    ("bookings", put("rate_micros", -1), "range:rate_micros"),
    ("bookings", put("rate_micros", 5_000_000_001), "range:rate_micros"),
    ("bookings", put("lead_days", 731), "range:lead_days"),
    ("bookings", put("hotel_id", "nowhere"), "orphan:hotel_id"),
    ("bookings", shift("known_at", timedelta(days=1)), "known_on_another_day"),
    ("bookings", shift("known_at", timedelta(days=-1)), "known_on_another_day"),
    ("bookings", shift("booked_at", timedelta(days=1)), "future_event:booked_at"),
    ("opportunities", put("device", "toaster"), "unknown_value:device"),
    ("opportunities", put("los_nights", 0), "range:los_nights"),
    ("opportunities", put("position", 0), "range:position"),
    ("opportunities", put("price_micros", 0), "range:price_micros"),
    ("opportunities", put("shown", None), "null:shown"),
    ("clicks", put("cpc_micros", 10**12), "range:cpc_micros"),
    ("booking_events", put("kind", "forgotten"), "unknown_value:kind"),
    ("booking_events", put("amount_micros", -1), "range:amount_micros"),
    ("booking_events", shift("event_at", timedelta(days=2)), "future_event:event_at"),
    ("hotels", put("kind", "castle"), "unknown_value:kind"),
    ("hotels", put("stars", np.inf), "range:stars"),
    ("hotels", put("stars", -1.0), "range:stars"),
]


@pytest.mark.ml_test_score("data1", "monitor2")
@pytest.mark.parametrize(
    ("table", "damage", "reason"), CASES, ids=[f"{case[0]}-{case[2]}-{n}" for n, case in enumerate(CASES)]
)
def test_one_damaged_row_is_quarantined_with_its_reason_and_the_others_are_accepted(
    delivery: dict[str, pd.DataFrame],
    hotels: frozenset[str],
    table: str,
    damage: Callable[[pd.DataFrame], pd.DataFrame],
    reason: str,
) -> None:
    whole = delivery[table]
    assert check(table, whole, hotels).quarantined == 0  # only the damage is at fault
    checked = check(table, damage(whole), hotels)
    assert checked.reasons.tolist() == [reason if row == 3 else None for row in range(len(whole))]
    expected = conform(TABLES[table], whole.drop(index=whole.index[3])).rows
    pd.testing.assert_frame_equal(checked.accepted, expected, check_dtype=False)


def test_accepted_rows_have_the_exact_dtypes_even_beside_nulls(
    delivery: dict[str, pd.DataFrame], hotels: frozenset[str]
) -> None:
    for name, frame in delivery.items():
        column = "known_at" if name == "hotels" else "hotel_id"
        accepted = check(name, put(column, None)(frame), hotels).accepted
        assert {column.name: column.dtype for column in TABLES[name]} == accepted.dtypes.astype(str).to_dict()


@pytest.mark.parametrize("column", ["position", "rival_price_micros"])
def test_nulls_are_accepted_where_the_contract_allows_them(
    delivery: dict[str, pd.DataFrame], hotels: frozenset[str], column: str
) -> None:
    assert check("opportunities", put(column, None)(delivery["opportunities"]), hotels).quarantined == 0


def test_repeated_rows_leave_one_and_conflicting_rows_leave_none(
    delivery: dict[str, pd.DataFrame], hotels: frozenset[str]
) -> None:
    rows = delivery["bookings"].head(4)
    conflict = rows.iloc[[1]].assign(rate_micros=1_000_000)
    checked = check("bookings", pd.concat([rows, rows.iloc[[0]], conflict, rows.iloc[[0]]]), hotels)
    assert checked.reasons.tolist() == [None, "duplicate", None, None, "repeated_row", "duplicate", "repeated_row"]


def test_a_bad_row_that_is_repeated_has_both_reasons_once(
    delivery: dict[str, pd.DataFrame], hotels: frozenset[str]
) -> None:
    bad = put("rate_micros", -1)(delivery["bookings"]).iloc[[3, 3]]
    assert check("bookings", bad, hotels).reasons.tolist() == ["range:rate_micros", "repeated_row"]


def test_the_same_rows_on_two_days_do_not_touch_each_other(simulator: Simulator) -> None:
    """Days judged together are judged as if alone: keys, hotels and days are each day's own."""
    days = [DAY + timedelta(days=n) for n in range(3)]
    frames = {day: simulator.fetch(day)["bookings"] for day in days}
    frames[days[1]] = frames[days[0]]  # yesterday's file under today's name
    ids = {day: frozenset(frame["hotel_id"]) for day, frame in frames.items()}
    ids[days[2]] = frozenset(sorted(ids[days[2]])[:3])
    together = check_days(TABLES["bookings"], {d: conform(TABLES["bookings"], f) for d, f in frames.items()}, ids)
    for day in days:
        alone = check("bookings", frames[day], ids[day], day)
        assert together[day].reasons.tolist() == alone.reasons.tolist()
        pd.testing.assert_frame_equal(together[day].accepted.reset_index(drop=True), alone.accepted)
    assert set(together[days[1]].reasons) == {"known_on_another_day"}
    assert "orphan:hotel_id" in together[days[2]].reasons


def test_the_quarantine_keeps_the_row_as_it_came(delivery: dict[str, pd.DataFrame], hotels: frozenset[str]) -> None:
    rows = put("adults", "two")(delivery["bookings"]).assign(extra=np.inf)
    kept = quarantine_rows(DAY, [check("bookings", rows, hotels)])
    assert kept["table"].tolist() == ["bookings"]
    assert kept["key"].tolist() == [rows["booking_id"].iloc[3]]
    row = json.loads(kept["row"].iloc[0])
    assert row["adults"] == "two"
    assert row["extra"] == "inf"
    assert row["agent_id"] is None
    assert row["booked_at"] == rows["booked_at"].iloc[3].isoformat()
    assert kept["known_at"].iloc[0].date() == DAY


STRANGE = st.sampled_from([None, "", "x", -1, 0, 3, 10**12, 1.5, float("nan"), float("inf"), True, date(2025, 1, 6)])


@pytest.mark.ml_test_score("data1")
@settings(max_examples=60, deadline=None)
@given(
    table=st.sampled_from(["hotels", "opportunities", "clicks", "bookings", "booking_events"]),
    damages=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 23), STRANGE), max_size=12),
    repeats=st.lists(st.integers(0, 9), max_size=5),
)
def test_accepted_and_quarantined_rows_add_up_whatever_is_delivered(
    delivery: dict[str, pd.DataFrame],
    hotels: frozenset[str],
    table: str,
    damages: list[tuple[int, int, object]],
    repeats: list[int],
) -> None:
    frame = delivery[table].head(40).astype(object)
    for row, place, value in damages:
        frame.iloc[row % len(frame), place % len(frame.columns)] = value
    frame = pd.concat([frame, frame.iloc[[row % len(frame) for row in repeats]]], ignore_index=True)
    try:
        checked = check(table, frame, hotels)
    except SchemaBreak:
        reject()  # so many wrong values in a column of nulls that it is the column's fault
    assert len(checked.accepted) + checked.quarantined == len(frame)
    assert checked.quarantined == sum(reason_counts(checked.reasons).values()) >= len(repeats)
    assert len(quarantine_rows(DAY, [checked])) == checked.quarantined
    TABLES[table].schema.validate(checked.accepted)
    assert not checked.accepted.duplicated(list(TABLES[table].key)).any()
