"""What is served on a day is what the training set will have of that day's decisions, or the difference is named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.core.settings import Settings
from ml.core.units import days_between
from ml.features.build import build_days, market_views
from ml.features.definitions import FEATURE_VIEWS
from ml.features.parity import ViewParity, served_parity
from ml.features.store import FeatureStore
from ml.lake.lake import Lake

Copy = Callable[[Path, Path], Lake]
FIRST, DAY = date(2024, 2, 1), date(2024, 2, 12)
BEFORE = DAY - timedelta(days=1)
NAMES = ("segment_history", "hotel_traffic")


@pytest.fixture(scope="module")
def template(landed_folder: Path, copy_lake: Copy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("template")
    lake = copy_lake(landed_folder, home)
    build_days(lake, market_views(lake).values(), days_between(FIRST, BEFORE))
    return home / "lake"


@pytest.fixture
def built(template: Path, tmp_path: Path, copy_lake: Copy) -> Lake:
    return copy_lake(template, tmp_path)


@pytest.fixture
def store(built: Lake, settings: Settings) -> FeatureStore:
    """An online store as it is while DAY passes: it holds the day before."""
    opened = FeatureStore.open(settings, built)
    opened.apply()
    opened.materialize(BEFORE, BEFORE)
    return opened


def compared(store: FeatureStore, lake: Lake, name: str) -> ViewParity:
    return served_parity(store, lake, FEATURE_VIEWS[name], DAY, seed=0)


@pytest.mark.ml_test_score("data7", "monitor3")
@pytest.mark.parametrize("name", NAMES)
def test_every_value_served_is_exactly_the_training_sets(name: str, store: FeatureStore, built: Lake) -> None:
    found = compared(store, built, name)
    assert found.compared > 0
    assert set(found.equal.values()) == {found.compared}
    assert found.differing == ()


@pytest.mark.ml_test_score("monitor3")
@pytest.mark.parametrize("name", NAMES)
def test_a_single_value_served_otherwise_is_found_and_shown(name: str, store: FeatureStore, built: Lake) -> None:
    view = FEATURE_VIEWS[name]
    rows, feature = built.read(view.table, BEFORE), view.feature_names[0]
    before = rows[feature].copy()
    built.write(view.table, BEFORE, rows.assign(**{feature: rows[feature] + 1}))
    store.materialize(BEFORE, BEFORE)
    built.write(view.table, BEFORE, rows.assign(**{feature: before}))
    found = compared(store, built, name)
    assert found.equal[feature] < found.compared
    assert all(found.equal[other] == found.compared for other in view.feature_names[1:])
    first = found.differing[0]
    assert first["feature"] == feature
    assert first["online"] == first["offline"] + 1
    assert set(first["entity"]) == set(view.entity)


def test_a_correction_that_was_learned_later_is_no_difference(store: FeatureStore, built: Lake) -> None:
    view = FEATURE_VIEWS["hotel_traffic"]
    rows = built.read(view.table, BEFORE)
    later = rows.assign(
        traffic_clicks_7d=rows["traffic_clicks_7d"] + 9, created_timestamp=rows["created_timestamp"] + timedelta(days=1)
    )
    built.write(view.table, BEFORE, pd.concat([rows, later]))
    assert compared(store, built, "hotel_traffic").differing == ()


def test_an_entity_that_neither_side_knows_is_the_same_on_both(store: FeatureStore, built: Lake) -> None:
    shown = built.read("opportunities", DAY)
    built.write("opportunities", DAY, shown.assign(hotel_id="new"))
    found = compared(store, built, "hotel_traffic")
    assert found.compared > 0
    assert set(found.equal.values()) == {found.compared}


def test_an_entity_whose_newest_row_never_reached_the_store_differs(
    store: FeatureStore, built: Lake, settings: Settings
) -> None:
    view = FEATURE_VIEWS["hotel_traffic"]
    hotels = set(built.read("opportunities", DAY)["hotel_id"])
    rows = built.read(view.table, BEFORE)
    late = sorted(hotels & set(rows["hotel_id"]))[0]
    empty = FeatureStore.open(settings.model_copy(update={"home": settings.home / "other"}), built)
    empty.apply()
    built.write(view.table, BEFORE, rows[rows["hotel_id"] != late].reset_index(drop=True))
    empty.materialize(BEFORE, BEFORE)
    built.write(view.table, BEFORE, rows)
    found = compared(empty, built, "hotel_traffic")
    assert {one["entity"]["hotel_id"] for one in found.differing} == {late}
    assert found.differing[0]["online"] != found.differing[0]["offline"]


def test_a_day_without_decisions_compares_nothing(store: FeatureStore, built: Lake) -> None:
    far = DAY + timedelta(days=200)
    assert not built.days("opportunities") or far not in built.days("opportunities")
    found = served_parity(store, built, FEATURE_VIEWS["hotel_traffic"], far, seed=0)
    assert (found.compared, found.differing) == (0, ())


def test_the_sample_is_the_same_for_the_same_seed(
    store: FeatureStore, built: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.features.parity.SAMPLE_ENTITIES", 2)
    view = FEATURE_VIEWS["hotel_traffic"]
    rows = built.read(view.table, BEFORE)
    built.write(view.table, BEFORE, rows.assign(traffic_clicks_7d=np.arange(len(rows)) + 1000))
    once, again = (served_parity(store, built, view, DAY, seed=3) for _ in range(2))
    assert once == again
    assert once.compared == 2
