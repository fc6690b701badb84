"""The feature views over three months of the real bookings."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from ml.core.units import days_between
from ml.features.build import build_days, market_views
from ml.features.training_set import decision_rows
from ml.lake.blobs import open_blobs
from ml.lake.lake import Lake
from ml.market.hotel_bookings import LEAKY_COLUMNS, HotelBookings

DATA = Path(__file__).parents[3] / "shared" / "data" / "hotel_booking_demand"
FIRST, LAST = date(2016, 1, 1), date(2016, 3, 31)

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real bookings are not there: {DATA}")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    home = tmp_path_factory.mktemp("real")
    lake = Lake(open_blobs(str(home / "lake"), cache=home / "cache"), "hotel_bookings")
    source = HotelBookings(DATA, market="hotel_bookings")
    for day in days_between(FIRST, LAST):
        for table, rows in source.fetch(day).items():
            lake.write(table, day, rows)
    build_days(lake, market_views(lake).values(), days_between(FIRST, LAST))
    return lake


def test_a_day_alone_is_the_same_as_in_the_bulk_of_all_days(built: Lake) -> None:
    views = market_views(built).values()
    day = date(2016, 3, 1)
    before = {view.name: built.digest(view.table, day) for view in views}
    assert None not in before.values() and len(before) == 3
    build_days(built, views, [day])
    assert {view.name: built.digest(view.table, day) for view in views} == before


def test_every_booking_with_an_agent_seen_before_has_a_history(built: Lake) -> None:
    rows = decision_rows(built, market="hotel_bookings", last=LAST)
    agents = rows.dropna(subset=["agent_id"]).sort_values("booked_at")
    first_seen = agents.groupby(["hotel_id", "agent_id"])["booked_at"].transform("min")
    seen = agents[first_seen < agents["booked_at"]]
    assert len(seen) > 5000
    assert seen["agent_bookings_365d"].ge(1).all()
    assert rows.loc[rows["agent_id"].isna(), "agent_bookings_365d"].isna().all()
    assert set(rows.columns).isdisjoint(LEAKY_COLUMNS)


def test_the_ratio_tells_agents_apart(built: Lake) -> None:
    """In the last month, bookings of agents with a high ratio cancel more often than those with a low one."""
    rows = decision_rows(built, market="hotel_bookings", first=date(2016, 3, 1), last=LAST)
    raw = HotelBookings(DATA, market="hotel_bookings")
    events = pd.concat([raw.fetch(day)["booking_events"] for day in days_between(FIRST, date(2017, 8, 31))])
    cancelled = events[events["kind"] == "cancelled"]["booking_id"]
    rows = rows.dropna(subset=["agent_cancel_ratio_90d"])
    high = rows["agent_cancel_ratio_90d"] > rows["agent_cancel_ratio_90d"].median()
    share = rows["booking_id"].isin(cancelled).groupby(high).mean()
    assert share[True] > share[False] + 0.05
