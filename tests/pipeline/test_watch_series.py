"""The daily series of a simulated market: what they hold, what they do not know, and what a check does with them."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml.core.settings import Settings
from ml.features.watch_facts import read_prices
from ml.lake.blobs import open_blobs
from ml.lake.lake import Lake
from ml.ledger import stages
from ml.ledger.database import Database
from ml.market.simulator.source import FIRST_DAY, Simulator
from ml.market.tables import TABLES
from ml.steps.watch_series import Extras, merged, read_facts, series_of
from monitoring.watchers.measures import SUMS, WHOLE
from monitoring.watchers.series import MARKET, NO_CLICK, Scope

DAYS = 40
LAST = FIRST_DAY + timedelta(days=DAYS - 1)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    home = tmp_path_factory.mktemp("watched")
    settings = Settings(home=home, source="simulator", simulator_hotels=30, simulator_opportunities_per_day=1500)
    source = Simulator.from_settings(settings)
    found = Lake(open_blobs(str(home / "lake"), cache=home / "cache", endpoint=""), "simulator")
    for n in range(DAYS):
        day = FIRST_DAY + timedelta(days=n)
        for table, frame in source.fetch(day).items():
            rows = pa.Table.from_pandas(
                frame[list(TABLES[table].names)], schema=TABLES[table].arrow, preserve_index=False
            )
            found.write(table, day, rows)
    return found


def test_sums_are_those_of_the_tables(lake: Lake) -> None:
    series = series_of(read_facts(lake, FIRST_DAY, LAST), LAST)
    auctions, clicks = lake.read("opportunities", LAST), lake.read("clicks", LAST)
    ours = auctions[(auctions["partner"] == "google") & (auctions["user_country"] == "DE")]
    german = series.sum("eligible", Scope("google", "DE"))
    assert german is not None
    assert german[-1] == len(ours)
    assert series.need("eligible")[-1] == len(auctions)
    assert series.need("impressions")[-1] == auctions["shown"].sum()
    assert series.need("bids")[-1] == auctions["bid_micros"].sum()
    assert series.need("clicks")[-1] == len(clicks)
    assert series.need("spend")[-1] == clicks["cpc_micros"].sum()
    gap = np.log(auctions["price_micros"] / auctions["rival_price_micros"].astype(float))
    assert series.need("gap")[-1] == pytest.approx(gap.sum())
    hours = series.hours("clicks")
    assert hours is not None
    assert hours.sum(axis=1)[-1] == len(clicks)


def test_bookings_count_by_the_age_of_their_click(lake: Lake) -> None:
    series = series_of(read_facts(lake, FIRST_DAY, LAST), LAST)
    bookings = lake.read("bookings", LAST)
    clicks = pd.concat([lake.read("clicks", FIRST_DAY + timedelta(days=n)) for n in range(DAYS)])
    credited = bookings.merge(clicks[["click_id", "known_at"]], on="click_id", suffixes=("", "_click"))
    same = (credited["known_at"].dt.date == credited["known_at_click"].dt.date).sum()
    assert series.need("day0")[-1] == same
    assert series.need("bookings")[-1] == len(credited)
    assert series.whole["direct"][-1] == bookings["click_id"].isna().sum()


def test_what_is_expected_of_the_reference_days_is_what_they_had(lake: Lake) -> None:
    series = series_of(read_facts(lake, FIRST_DAY, LAST), LAST)
    weeks = slice(-31, -3)
    for name in ("places", "clicks"):
        had, expected = series.need(name)[weeks].sum(), series.need(f"{name}_expected")[weeks].sum()
        assert expected == pytest.approx(had, rel=0.05)
    early = series.need("early_cancelled")[weeks].sum()
    assert early > 0
    assert series.need("early_expected")[weeks].sum() == pytest.approx(early, rel=0.15)


def test_nothing_that_came_later_is_seen(lake: Lake) -> None:
    """The series of a day are the same whether or not later days have landed."""
    before = LAST - timedelta(days=5)
    late, then = (series_of(read_facts(lake, FIRST_DAY, last), before) for last in (LAST, before))
    assert late.days == then.days
    for name, found in then.sums.items():
        np.testing.assert_allclose(late.sums[name], found, err_msg=name)
    for name, found in then.whole.items():
        np.testing.assert_allclose(late.whole[name], found, err_msg=name)


def test_every_name_has_a_meaning_and_every_leaf_lies_in_the_market(lake: Lake) -> None:
    series = series_of(read_facts(lake, FIRST_DAY, LAST), LAST)
    assert set(series.sums) <= set(SUMS)
    assert set(series.whole) <= set(WHOLE)
    assert all(MARKET.covers(leaf) for leaf in series.leaves)
    assert series.leaves[-1] == Scope(NO_CLICK)
    assert Scope(NO_CLICK) not in series.scopes


def test_a_day_that_did_not_land_is_unknown_and_not_zero(lake: Lake, tmp_path: Path) -> None:
    gone = LAST - timedelta(days=4)
    holed = Lake(open_blobs(str(tmp_path), cache=tmp_path / "c", endpoint=""), "simulator")
    for table in ("hotels", "opportunities", "clicks", "bookings", "booking_events"):
        for n in range(20, DAYS):
            day = FIRST_DAY + timedelta(days=n)
            if day != gone:
                holed.blobs.put(holed.key(table, day), lake.blobs.get(lake.key(table, day)))
    series = series_of(read_facts(holed, FIRST_DAY + timedelta(days=20), LAST), LAST)
    assert np.isnan(series.need("clicks")[-5])
    assert np.isfinite(series.need("clicks")[-4])


def test_a_source_without_clicks_says_so(lake: Lake, tmp_path: Path) -> None:
    bare = Lake(open_blobs(str(tmp_path), cache=tmp_path / "c", endpoint=""), "simulator")
    for n in range(30, DAYS):
        day = FIRST_DAY + timedelta(days=n)
        bare.blobs.put(bare.key("opportunities", day), lake.blobs.get(lake.key("opportunities", day)))
    series = series_of(read_facts(bare, FIRST_DAY + timedelta(days=30), LAST), LAST)
    assert series.sum("clicks") is None
    assert series.why_missing("clicks") == "the source delivers no clicks"
    assert series.need("eligible")[-1] > 0


def test_of_the_facts_only_the_prices_depend_on_odd_days_and_they_can_be_read_by_themselves(lake: Lake) -> None:
    odd = {LAST - timedelta(days=6)}
    usual, with_odd = (read_facts(lake, FIRST_DAY, LAST, days).frames for days in ((), odd))
    keys = ["day", "partner", "point"]

    def ordered(frame: pd.DataFrame) -> pd.DataFrame:
        known = [name for name in frame if name in {*keys, "cell", "hour", "lead", "age", "seen"}]
        return frame.sort_values(known, ignore_index=True)

    for name in {*usual} - {"prices"}:
        pd.testing.assert_frame_equal(ordered(usual[name]), ordered(with_odd[name]))
    assert not np.allclose(
        ordered(usual["prices"])["own_price_change"], ordered(with_odd["prices"])["own_price_change"]
    )
    alone = read_prices(lake, first=FIRST_DAY, last=LAST, odd=odd)
    pd.testing.assert_frame_equal(ordered(alone), ordered(with_odd["prices"]))


def test_odd_days_are_no_reference_for_prices(lake: Lake) -> None:
    every = [FIRST_DAY + timedelta(days=n) for n in range(DAYS - 4)]
    series = series_of(read_facts(lake, FIRST_DAY, LAST, every), LAST)
    assert series.need("matched")[-1] == 0
    assert series_of(read_facts(lake, FIRST_DAY, LAST), LAST).need("matched")[-1] > 100


def test_extras_are_put_together() -> None:
    day = date(2026, 3, 1)
    both = merged(Extras(whole={"rows": {day: 1.0}}, take_share=0.1), Extras(held=frozenset({day}), missing={"x": "y"}))
    assert (both.take_share, both.held, both.missing, both.whole) == (0.1, {day}, {"x": "y"}, {"rows": {day: 1.0}})


def test_days_found_blind_later_are_held_once(tmp_path: Path) -> None:
    """An outage found on its third day: the two before are learned from no more; a day that never was checked is left."""
    from types import SimpleNamespace
    from typing import Any, cast

    from ml.core.units import known_by
    from ml.steps.observe import hold_blind_days

    db = Database.open(f"sqlite:///{tmp_path}/ledger.db")
    db.migrate()
    clock = SimpleNamespace(now=lambda: known_by(LAST))
    platform = cast(Any, SimpleNamespace(db=db, market="m", clock=clock))
    first = LAST - timedelta(days=2)
    for one in (first, LAST - timedelta(days=1)):
        stages.record(
            db, stages.StageKey("m", "drift", one), status="done", result={"verdict": "PASS"}, at=known_by(one)
        )
    since = (first - timedelta(days=1)).isoformat()
    assert hold_blind_days(platform, LAST, since) == [first, LAST - timedelta(days=1)]
    assert hold_blind_days(platform, LAST, since) == []
    assert hold_blind_days(platform, LAST, "") == []
    assert stages.held_days(db, "m", last=LAST) == [first, LAST - timedelta(days=1)]
