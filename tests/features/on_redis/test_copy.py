"""Redis holds the online features, and the bid service of another machine reads its own copy of them: what the copy holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis import Redis

from ml.core.errors import NoData, StoreUnavailable, UsageError
from ml.core.settings import Settings
from ml.features.feast_online import EmbeddedOnlineStore
from ml.features.online_copy import copy_online, last_copy
from ml.features.online_place import direct_reader
from ml.features.store import FeatureStore
from ml.lake.lake import Lake
from ml.market.tables import TABLES
from tests.features.on_redis.conftest import LAST, VIEW, needs_redis, opened

pytestmark = needs_redis


@pytest.fixture
def lake(built: Lake) -> Lake:
    """What is materialised from."""
    return built


@pytest.fixture
def writing(lake: Lake, settings: Settings, port: int) -> FeatureStore:
    """The store of the machine that materialises; its Redis is empty at first."""
    Redis("127.0.0.1", port).flushall()
    return opened(settings, lake, port)


@pytest.fixture
def serving(settings: Settings, tmp_path: Path, port: int) -> Settings:
    """The settings of the machine that serves: a working folder of its own."""
    return settings.model_copy(update={"home": tmp_path / "serving", "redis": f"127.0.0.1:{port}"})


def held(serving: Settings, lake: Lake) -> tuple[np.ndarray, np.ndarray]:
    """What the bid service of that machine reads of every entity of the last day, and what lies offline."""
    offline = lake.read(VIEW.table, LAST).drop_duplicates(list(VIEW.entity))
    reader = direct_reader(serving.home, lake.market, VIEW.name, VIEW.feature_names)
    keys = [offline[key].tolist() for key in sorted(VIEW.entity)]
    return reader.read(*keys), offline[list(VIEW.feature_names)].to_numpy(dtype=np.float64)


def test_what_the_bid_service_reads_is_what_was_materialised_elsewhere(
    writing: FeatureStore, lake: Lake, serving: Settings
) -> None:
    writing.materialize(LAST, LAST)
    copied = copy_online(serving, lake)
    assert {name for name, entities in copied.entities.items() if entities} == set(writing.views)
    assert copied.entities[VIEW.name] == lake.read(VIEW.table, LAST).drop_duplicates(list(VIEW.entity)).shape[0] > 0
    found, offline = held(serving, lake)
    np.testing.assert_array_equal(found, offline)


class _Forbidden:
    """Blobs of which nothing may be read or listed, as the policy of the bid service has it for the lake."""

    def __getattr__(self, name: str) -> Any:
        raise StoreUnavailable(f"access denied: {name}")


def test_a_copy_reads_nothing_of_the_lake_which_is_not_for_the_bid_service(
    writing: FeatureStore, lake: Lake, serving: Settings
) -> None:
    writing.materialize(LAST, LAST)
    blobs: Any = _Forbidden()
    copy_online(serving, Lake(blobs, lake.market))
    found, offline = held(serving, lake)
    np.testing.assert_array_equal(found, offline)


def test_a_correction_of_the_same_day_reaches_the_copy(writing: FeatureStore, lake: Lake, serving: Settings) -> None:
    writing.materialize(LAST, LAST)
    copy_online(serving, lake)
    lake.write(VIEW.table, LAST, lake.read(VIEW.table, LAST).assign(traffic_clicks_7d=777))
    writing.materialize(LAST, LAST)
    copy_online(serving, lake)
    found, offline = held(serving, lake)
    assert set(found[:, VIEW.feature_names.index("traffic_clicks_7d")]) == {777.0}
    np.testing.assert_array_equal(found, offline)


def test_nothing_is_copied_while_nothing_was_written(writing: FeatureStore, lake: Lake, serving: Settings) -> None:
    writing.materialize(LAST, LAST)
    first = copy_online(serving, lake)
    again = copy_online(serving, lake)
    assert (again.written, dict(again.entities)) == (first.written, {})
    kept = last_copy(serving.home, lake.market)
    assert kept is not None
    assert dict(kept.entities) == dict(first.entities)


def test_a_redis_that_lost_everything_takes_nothing_from_the_copy(
    writing: FeatureStore, lake: Lake, serving: Settings, port: int
) -> None:
    writing.materialize(LAST, LAST)
    copy_online(serving, lake)
    Redis("127.0.0.1", port).flushall()
    assert set(copy_online(serving, lake).entities.values()) == {0}
    found, offline = held(serving, lake)
    np.testing.assert_array_equal(found, offline)


def test_a_redis_that_lost_everything_and_was_written_as_often_as_before_is_copied(
    writing: FeatureStore, lake: Lake, serving: Settings, port: int
) -> None:
    writing.materialize(LAST, LAST)
    copy_online(serving, lake)
    Redis("127.0.0.1", port).flushall()
    lake.write(VIEW.table, LAST, lake.read(VIEW.table, LAST).assign(traffic_clicks_7d=777))
    writing.materialize(LAST, LAST)
    copy_online(serving, lake)
    found, offline = held(serving, lake)
    assert set(found[:, VIEW.feature_names.index("traffic_clicks_7d")]) == {777.0}
    np.testing.assert_array_equal(found, offline)


def test_a_copy_that_was_cut_short_is_made_again(
    writing: FeatureStore, lake: Lake, serving: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise StoreUnavailable("the disk is full", next="make room")

    writing.materialize(LAST, LAST)
    with monkeypatch.context() as patched:
        patched.setattr(EmbeddedOnlineStore, "online_write_batch", cut)
        with pytest.raises(StoreUnavailable, match="disk is full"):
            copy_online(serving, lake)
    assert last_copy(serving.home, lake.market) is None
    copy_online(serving, lake)
    found, offline = held(serving, lake)
    np.testing.assert_array_equal(found, offline)


def test_a_redis_that_does_not_answer_and_none_at_all_are_said_in_one_sentence(
    lake: Lake, serving: Settings, settings: Settings
) -> None:
    with pytest.raises(StoreUnavailable, match=r"the Redis 127\.0\.0\.1:1 cannot be used"):
        copy_online(serving.model_copy(update={"redis": "127.0.0.1:1"}), lake)
    with pytest.raises(UsageError, match="no Redis holds the online features"):
        copy_online(settings, lake)


def test_what_another_market_has_in_the_same_redis_is_not_copied(
    writing: FeatureStore, lake: Lake, serving: Settings, tmp_path: Path
) -> None:
    writing.materialize(LAST, LAST)
    other = Lake(lake.blobs, "another")
    for table in TABLES:
        for day in lake.days(table):
            other.write(table, day, lake.read(table, day))
    copied = copy_online(serving, other)
    assert copied.entities == dict.fromkeys(writing.views, 0)
    reader = direct_reader(serving.home, "another", VIEW.name, VIEW.feature_names)
    keys = lake.read(VIEW.table, LAST)
    with pytest.raises(NoData):
        reader.read(*[keys[key].tolist() for key in sorted(VIEW.entity)])
