"""The money of a market day: counted once, on the day on which it became known, and then for good."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ml.lake.blobs import open_blobs
from ml.lake.lake import Lake
from ml.steps.money import Spend, counted_bookings, money_of_day, spend_of

D1, D2 = date(2026, 3, 2), date(2026, 3, 3)
TAKE = 0.1


def at(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(open_blobs(str(tmp_path / "lake"), cache=tmp_path / "cache"), "m")


def land_clicks(lake: Lake, day: date, **costs: int) -> None:
    rows = [(name, cost, at(day, 9)) for name, cost in costs.items()]
    frame = pd.DataFrame(rows, columns=["click_id", "cpc_micros", "known_at"])
    lake.write("clicks", day, frame.astype({"cpc_micros": "int64", "known_at": "datetime64[us, UTC]"}))


def land_bookings(lake: Lake, day: date, **clicks: str | None) -> None:
    lake.write("bookings", day, pd.DataFrame({"booking_id": list(clicks), "click_id": list(clicks.values())}))


def bookings(*rows: tuple[str, date, int, int | None]) -> pd.DataFrame:
    """Booking, the day it became known, its gross value, what the champion expected of it."""
    frame = pd.DataFrame(rows, columns=["booking_id", "day", "value_micros", "expected_micros"])
    known = pd.to_datetime(frame["day"]).dt.tz_localize("UTC") + timedelta(hours=10)
    return frame.assign(known_at=known, expected_micros=frame["expected_micros"].astype("Float64"))


def ends(*rows: tuple[str, int]) -> pd.DataFrame:
    """Bookings whose outcome the day told, and what they realised."""
    frame = pd.DataFrame(rows, columns=["booking_id", "amount_micros"])
    return frame.assign(known_at=pd.Timestamp(at(D1, 20)))


def money(lake: Lake, known: pd.DataFrame, told: pd.DataFrame | None = None, *, day: date = D1) -> dict[str, Any]:
    return money_of_day(lake, day, bookings=known, ends=ends() if told is None else told, take_share=TAKE)


def test_a_day_earns_what_its_bookings_are_expected_to_and_pays_for_its_clicks(lake: Lake) -> None:
    land_clicks(lake, D1, c1=30_000, c2=20_000)
    assert money(lake, bookings(("b1", D1, 1_000_000, 800_000), ("b2", D1, 2_000_000, 1_500_000))) == {
        "clicks": 2,
        "spend_micros": 50_000,
        "bookings": 2,
        "net_micros": 2_300_000,
        "net_from": "champion",
        "earned_micros": 230_000,
        "profit_micros": 180_000,
    }


def test_an_outcome_that_the_day_told_stands_for_what_was_expected(lake: Lake) -> None:
    land_clicks(lake, D1, c1=0)
    known = bookings(("b1", D1, 1_000_000, 800_000), ("b2", D1, 2_000_000, 1_500_000), ("b3", D1, 500_000, 400_000))
    assert money(lake, known, ends(("b1", 0), ("b3", 500_000)))["net_micros"] == 0 + 1_500_000 + 500_000


def test_a_figure_of_a_day_stays_when_later_days_bring_its_clicks_bookings(lake: Lake) -> None:
    land_clicks(lake, D1, c1=30_000)
    before = money(lake, bookings(("b1", D1, 1_000_000, 800_000)))
    land_clicks(lake, D2, c2=40_000)
    land_bookings(lake, D2, b2="c1")
    assert money(lake, bookings(("b1", D1, 1_000_000, 800_000))) == before
    later = money(lake, bookings(("b2", D2, 1_000_000, 900_000)), day=D2)
    assert (later["bookings"], later["spend_micros"], later["net_micros"]) == (1, 40_000, 900_000)


def test_what_is_delivered_again_later_counts_on_its_first_day_alone(lake: Lake) -> None:
    land_clicks(lake, D1, c1=30_000)
    land_clicks(lake, D2, c1=35_000, c2=10_000)
    assert spend_of(lake, D1) == Spend(clicks=1, micros=30_000)
    assert spend_of(lake, D2) == Spend(clicks=1, micros=10_000)
    assert money(lake, bookings(("b1", D1, 1_000_000, 1), ("b2", D2, 1_000_000, 7)), day=D2)["net_micros"] == 7


def test_only_bookings_from_a_click_count_where_there_are_clicks(lake: Lake) -> None:
    land_bookings(lake, D1, b1="c1", b2=None)
    assert counted_bookings(lake, D1) == ["b1", "b2"]
    land_clicks(lake, D1)
    assert counted_bookings(lake, D1) == ["b1"]


def test_a_market_without_clicks_has_bookings_and_their_value_and_no_profit(lake: Lake) -> None:
    found = money(lake, bookings(("b1", D1, 1_000_000, 800_000)))
    assert (found["bookings"], found["net_micros"]) == (1, 800_000)
    assert {found[name] for name in ("clicks", "spend_micros", "earned_micros", "profit_micros")} == {None}


def test_a_day_without_a_click_spends_nothing_and_that_is_known(lake: Lake) -> None:
    land_clicks(lake, D1)
    found = money(lake, bookings())
    assert (found["spend_micros"], found["profit_micros"], found["net_from"]) == (0, 0, None)


def test_before_there_is_a_champion_the_cancelled_share_of_the_last_weeks_stands_in(lake: Lake) -> None:
    land_clicks(lake, D1, c1=10_000)
    old = D1 - timedelta(days=90)
    lake.write("booking_events", old, pd.DataFrame({"kind": ["stayed"] * 9}))
    lake.write("booking_events", D1, pd.DataFrame({"kind": ["cancelled", "stayed", "reconciled", "stayed", "stayed"]}))
    found = money(lake, bookings(("b1", D1, 1_000_000, None)))
    assert (found["net_micros"], found["net_from"]) == (750_000, "cancelled_share")


def test_while_nothing_is_known_of_cancellations_no_profit_is_made_up(lake: Lake) -> None:
    land_clicks(lake, D1, c1=10_000)
    found = money(lake, bookings(("b1", D1, 1_000_000, None)))
    assert (found["clicks"], found["spend_micros"], found["bookings"]) == (1, 10_000, 1)
    assert (found["net_micros"], found["earned_micros"], found["profit_micros"]) == (None, None, None)
