"""Feast holds what the lake holds, refuses rows of the future, and speaks to nobody else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.core.errors import CorruptArtefact, StoreUnavailable, UsageError
from ml.core.settings import Settings
from ml.core.units import days_between, known_by
from ml.features.build import build_days, market_views
from ml.features.definitions import FEATURE_VIEWS
from ml.features.online_place import direct_reader
from ml.features.store import FeatureStore
from ml.features.training_set import decision_rows
from ml.lake.lake import Lake
from ml.lake.local import LocalBlobs

Copy = Callable[[Path, Path], Lake]
ROOT = Path(__file__).parents[2]
FIRST, LAST = date(2024, 2, 1), date(2024, 2, 12)
AGENTS = FEATURE_VIEWS["agent_history"]


@pytest.fixture(scope="module")
def template(landed_folder: Path, copy_lake: Copy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("template")
    lake = copy_lake(landed_folder, home)
    build_days(lake, market_views(lake).values(), days_between(FIRST, LAST))
    return home / "lake"


@pytest.fixture
def built(template: Path, tmp_path: Path, copy_lake: Copy) -> Lake:
    return copy_lake(template, tmp_path)


@pytest.fixture
def store(built: Lake, settings: Settings) -> FeatureStore:
    opened = FeatureStore.open(settings, built)
    opened.apply()
    return opened


def features_of(store: FeatureStore, lake: Lake, view: str, day: date) -> pd.DataFrame:
    """The online features of every entity in a day's partition."""
    offline = lake.read(FEATURE_VIEWS[view].table, day)
    return store.read_online(view, offline[list(FEATURE_VIEWS[view].entity)])


@pytest.mark.parametrize("name", FEATURE_VIEWS)
def test_what_is_read_online_is_what_lies_offline(name: str, store: FeatureStore, built: Lake) -> None:
    store.materialize(LAST, LAST)
    view = FEATURE_VIEWS[name]
    offline = built.read(view.table, LAST)
    online = features_of(store, built, name, LAST)
    expected = offline[[*view.entity, *view.feature_names, "event_timestamp"]].astype(
        dict.fromkeys(view.feature_names, float)
    )
    pd.testing.assert_frame_equal(online, expected, check_exact=True)
    assert store.verify_sample(name, LAST, n=20, seed=1) == store.verify_sample(name, LAST, n=20, seed=1)
    assert store.verify_sample(name, LAST, n=10_000, seed=1).equal == len(offline) > 0


def test_a_later_day_replaces_an_earlier_one(store: FeatureStore, built: Lake) -> None:
    for day in (FIRST + timedelta(days=5), LAST):
        store.materialize(day, day)
        online = features_of(store, built, "agent_history", day)
        assert set(online["event_timestamp"]) == {known_by(day)}


@pytest.mark.parametrize("name", FEATURE_VIEWS)
def test_the_direct_read_gives_the_same_values_without_feast(
    name: str, store: FeatureStore, settings: Settings
) -> None:
    store.materialize(LAST, LAST)
    view = FEATURE_VIEWS[name]
    asked = store._lake.read(view.table, LAST)[list(view.entity)]
    unknown = pd.DataFrame([["nobody"] * len(view.entity)], columns=list(view.entity))
    asked = pd.concat([asked, unknown], ignore_index=True)
    names = list(view.feature_names)
    direct = direct_reader(settings.home, "m", name, names)
    matrix = direct.read(*(asked[key].tolist() for key in sorted(view.entity)))
    np.testing.assert_array_equal(matrix, store.read_online(name, asked)[names].to_numpy())
    assert np.isnan(matrix[-1]).all() and not np.isnan(matrix[:-1]).all()


def test_an_unknown_entity_is_absent_and_the_index_is_kept(store: FeatureStore) -> None:
    store.materialize(LAST, LAST)
    asked = pd.DataFrame({"hotel_id": ["h1", "nowhere", "h1"], "agent_id": ["a1", "a1", "a1"]}, index=[7, 3, 9])
    online = store.read_online("agent_history", asked)
    assert online.index.tolist() == [7, 3, 9]
    assert online.loc[3, list(AGENTS.feature_names)].isna().all() and pd.isna(online.loc[3, "event_timestamp"])
    assert online.loc[7].equals(online.loc[9]) and online.loc[7].notna().all()
    assert store.read_online("agent_history", asked.iloc[:0]).empty


def test_a_row_older_than_the_ttl_counts_as_absent(store: FeatureStore) -> None:
    store.materialize(LAST, LAST)
    asked = pd.DataFrame({"hotel_id": ["h1"], "agent_id": ["a1"]})
    names = list(AGENTS.feature_names)
    at_limit, beyond = LAST + timedelta(days=AGENTS.ttl_days), LAST + timedelta(days=AGENTS.ttl_days + 1)
    assert store.read_online("agent_history", asked, day=at_limit)[names].notna().all(axis=None)
    assert store.read_online("agent_history", asked, day=beyond)[names].isna().all(axis=None)


@pytest.mark.parametrize(
    ("column", "moved"),
    [
        ("event_timestamp", timedelta(days=400)),
        ("event_timestamp", timedelta(days=-1)),
        ("created_timestamp", timedelta(days=1)),
    ],
)
def test_rows_of_another_time_are_refused_and_the_store_stays(
    column: str, moved: timedelta, store: FeatureStore, built: Lake
) -> None:
    before = LAST - timedelta(days=1)
    store.materialize(before, before)
    served = features_of(store, built, "agent_history", before)
    rows = built.read(AGENTS.table, LAST)
    rows.loc[0, column] += moved
    built.write(AGENTS.table, LAST, rows)
    with pytest.raises(CorruptArtefact, match="another time"):
        store.materialize(LAST, LAST)
    pd.testing.assert_frame_equal(features_of(store, built, "agent_history", before), served)


def test_the_read_back_finds_a_single_value_that_differs(store: FeatureStore, built: Lake) -> None:
    store.materialize(LAST, LAST)
    rows = built.read(AGENTS.table, LAST)
    feature = AGENTS.feature_names[2]
    rows.loc[3, feature] = np.nextafter(rows.loc[3, feature], 1.0)
    built.write(AGENTS.table, LAST, rows)
    result = store.verify_sample("agent_history", LAST, n=len(rows), seed=0)
    assert (result.compared, result.equal) == (len(rows), len(rows) - 1)
    assert [(found["feature"], found["entity"]) for found in result.differing] == [
        (feature, rows.loc[3, list(AGENTS.entity)].to_dict())
    ]


def test_the_newest_version_of_a_day_is_the_one_served(store: FeatureStore, built: Lake) -> None:
    rows = built.read(AGENTS.table, LAST - timedelta(days=2))
    newer = rows.assign(agent_bookings_28d=777, created_timestamp=rows["created_timestamp"] + timedelta(days=1))
    built.write(AGENTS.table, LAST - timedelta(days=2), pd.concat([rows, newer]))
    for day in (LAST - timedelta(days=1), LAST):
        built.delete(AGENTS.table, day)
    store.materialize(LAST, LAST)
    assert set(features_of(store, built, "agent_history", LAST - timedelta(days=2))["agent_bookings_28d"]) == {777.0}
    assert store.verify_sample("agent_history", LAST - timedelta(days=2), n=99, seed=0).differing == ()


def test_feasts_join_and_ours_give_the_same_rows(store: FeatureStore, built: Lake) -> None:
    """Both clocks: a correction created later, a day backfilled later, a row of the future and one beyond the ttl."""
    for view in ("agent_history", "segment_history"):
        _plant(built, view)
    ours = decision_rows(built, market="m", last=date(2024, 3, 25), views=["agent_history", "segment_history"])
    keys = ["hotel_id", "agent_id", "lead_bucket", "segment"]
    asked = ours[[*keys, "decision_at"]].rename(columns={"decision_at": "event_timestamp"})
    asked = asked.dropna().drop_duplicates(ignore_index=True)
    names = [*AGENTS.feature_names, *FEATURE_VIEWS["segment_history"].feature_names]
    theirs = store.historical(asked, ["agent_history", "segment_history"])
    both = theirs.merge(
        ours.rename(columns={"decision_at": "event_timestamp"}).drop_duplicates([*keys, "event_timestamp"]),
        on=[*keys, "event_timestamp"],
        suffixes=("", "_ours"),
        validate="1:1",
    )
    assert len(both) == len(asked)
    expected = both[[f"{name}_ours" for name in names]].set_axis(names, axis=1)
    pd.testing.assert_frame_equal(both[names].astype(float), expected, check_exact=True)
    assert (expected == 555).any(axis=None), "the late rows must be seen where they were known"
    assert expected.isna().any(axis=None) and expected.notna().any(axis=None)


def _plant(lake: Lake, name: str) -> None:
    view = FEATURE_VIEWS[name]
    poison = {feature.name: 555 if feature.dtype == "int64" else 555.0 for feature in view.features}
    rows = lake.read(view.table, LAST).assign(**poison)
    corrected = rows.assign(created_timestamp=rows["created_timestamp"] + timedelta(days=6))
    lake.write(view.table, LAST, pd.concat([lake.read(view.table, LAST), corrected]))
    backfilled = FIRST - timedelta(days=4)
    when = {"event_timestamp": pd.Timestamp(known_by(backfilled)).as_unit("us")}
    lake.write(
        view.table, backfilled, rows.assign(**when, created_timestamp=when["event_timestamp"] + timedelta(days=3))
    )
    ahead = pd.Timestamp(datetime(2031, 1, 1, tzinfo=UTC)).as_unit("us")
    lake.write(view.table, LAST + timedelta(days=1), rows.assign(event_timestamp=ahead, created_timestamp=ahead))


def test_applying_again_changes_nothing_and_a_damaged_registry_is_made_anew(
    store: FeatureStore, built: Lake, settings: Settings
) -> None:
    store.materialize(LAST, LAST)
    served = features_of(store, built, "company_history", LAST)
    store.apply()
    registry = settings.home / "feast" / "m-registry.db"
    registry.write_bytes(b"\xff" * 100)
    again = FeatureStore.open(settings, built)
    again.apply()
    assert registry.read_bytes() != b"\xff" * 100
    pd.testing.assert_frame_equal(features_of(again, built, "company_history", LAST), served)


def test_a_view_that_the_market_no_longer_feeds_is_withdrawn(
    store: FeatureStore, built: Lake, settings: Settings
) -> None:
    store.materialize(LAST, LAST)
    for day in built.days("opportunities"):
        built.delete("opportunities", day)
    smaller = FeatureStore.open(settings, built)
    smaller.apply()
    assert "hotel_traffic" not in smaller.views
    smaller.materialize(LAST, LAST)
    with pytest.raises(UsageError, match="hotel_traffic"):
        smaller.read_online("hotel_traffic", pd.DataFrame({"hotel_id": ["h1"], "partner": ["google"]}))


def test_nothing_is_sent_anywhere(built: Lake, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []

    def refuse(_socket: socket.socket, address: Any) -> None:
        tried.append(address)
        raise OSError(f"the test allows no connection, not to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    with pytest.raises(OSError, match="allows no connection"):
        socket.create_connection(("127.0.0.1", 9))
    tried.clear()
    store = FeatureStore.open(settings, built)
    store.apply()
    store.materialize(LAST, LAST)
    assert store.verify_sample("agent_history", LAST, n=5, seed=0).equal == 5
    assert tried == []


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_time_zone_of_the_machine_does_not_matter(tokyo: None, store: FeatureStore, built: Lake) -> None:
    assert datetime.fromtimestamp(0).hour == 9  # noqa: DTZ006  (the local hour is the point)
    store.materialize(LAST, LAST)
    online = features_of(store, built, "agent_history", LAST)
    assert set(online["event_timestamp"]) == {known_by(LAST)}
    assert store.verify_sample("agent_history", LAST, n=99, seed=0).differing == ()


class Remote:
    """A blob store whose local copies lie under names of their own, as those of S3 do."""

    def __init__(self, root: Path, cache: Path) -> None:
        self._blobs, self._cache = LocalBlobs(root), cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    def local_path(self, key: str) -> Path:
        copy = self._cache / f"{abs(hash((key, self._blobs.get(key))))}.parquet"
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(self._blobs.get(key))
        return copy


def test_a_lake_elsewhere_is_read_through_its_local_copies(built: Lake, settings: Settings, tmp_path: Path) -> None:
    far = Lake(Remote(tmp_path / "lake", tmp_path / "copies"), "m")
    store = FeatureStore.open(settings, far)
    store.apply()
    store.materialize(LAST, LAST)
    assert store.verify_sample("agent_history", LAST, n=99, seed=0).differing == ()
    rows = far.read(AGENTS.table, LAST).assign(agent_bookings_28d=123)
    far.write(AGENTS.table, LAST, rows)
    store.materialize(LAST, LAST)
    assert set(features_of(store, far, "agent_history", LAST)["agent_bookings_28d"]) == {123.0}
    asked = rows[["hotel_id", "agent_id"]].assign(event_timestamp=known_by(FIRST + timedelta(days=1)))
    assert store.historical(asked, ["agent_history"])["agent_bookings_28d"].notna().all()


def test_a_working_folder_that_cannot_be_used_is_named(built: Lake, settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "feast").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="feast"):
        FeatureStore.open(settings, built)


def test_the_feast_command_works_on_the_repository(built: Lake, settings: Settings) -> None:
    """`feast apply` defines the very views that the platform reads."""
    settings.home.mkdir()
    environment = {
        **os.environ,
        "BIDWRIGHT_HOME": str(settings.home),
        "BIDWRIGHT_MARKET": "m",
        "BIDWRIGHT_LAKE_URL": settings.lake_url,
        "PYTHONPATH": str(ROOT),
    }
    feast = [str(Path(sys.executable).with_name("feast")), "-c", str(ROOT / "feature_repo")]
    subprocess.run([*feast, "apply"], env=environment, check=True, capture_output=True, timeout=300)
    store = FeatureStore.open(settings, built)
    store.materialize(LAST, LAST)
    assert store.verify_sample("hotel_traffic", LAST, n=5, seed=0).equal == 3
