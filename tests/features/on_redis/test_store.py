"""Redis in place of the embedded store: the platform's own rules hold where Feast's store alone would lose a correction."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pytest

from ml.core.errors import CorruptArtefact, StoreUnavailable
from ml.core.settings import Settings
from ml.features.feast_objects import feast_config
from ml.features.store import FeatureStore
from ml.lake.lake import Lake
from tests.features.on_redis.conftest import FIRST, LAST, VIEW, needs_redis, opened

pytestmark = needs_redis


def served(store: FeatureStore, lake: Lake) -> pd.DataFrame:
    return store.read_online(VIEW.name, lake.read(VIEW.table, LAST)[list(VIEW.entity)])


def test_what_is_read_from_redis_is_what_lies_offline(built: Lake, settings: Settings, port: int) -> None:
    store = opened(settings, built, port)
    store.materialize(LAST, LAST)
    for name, view in store.views.items():
        offline = built.read(view.table, LAST)
        assert store.verify_sample(name, LAST, n=len(offline), seed=0).equal == len(offline) > 0


def test_a_correction_of_the_same_day_reaches_redis(built: Lake, settings: Settings, port: int) -> None:
    store = opened(settings, built, port)
    store.materialize(LAST, LAST)
    rows = built.read(VIEW.table, LAST)
    built.write(VIEW.table, LAST, rows.assign(traffic_clicks_7d=777))
    store.materialize(LAST, LAST)
    assert set(served(store, built)["traffic_clicks_7d"]) == {777.0}


def test_a_row_of_the_future_does_not_reach_redis(built: Lake, settings: Settings, port: int) -> None:
    store = opened(settings, built, port)
    store.materialize(LAST, LAST)
    before = served(store, built)
    rows = built.read(VIEW.table, LAST)
    built.write(VIEW.table, LAST, rows.assign(event_timestamp=rows["event_timestamp"] + timedelta(days=400)))
    with pytest.raises(CorruptArtefact, match="another time"):
        store.materialize(LAST, LAST)
    built.write(VIEW.table, LAST, rows)
    pd.testing.assert_frame_equal(served(store, built), before)


def test_an_older_day_materialised_again_does_not_take_the_newest_away(
    built: Lake, settings: Settings, port: int
) -> None:
    store = opened(settings, built, port)
    store.materialize(LAST, LAST)
    before = served(store, built)
    store.materialize(FIRST, LAST)
    pd.testing.assert_frame_equal(served(store, built), before)


def test_waiting_for_redis_has_an_end_and_the_setting_may_name_another(settings: Settings) -> None:
    def told(redis: str) -> str:
        return str(feast_config(settings.home, "m", redis=redis).online_store.connection_string)

    assert told("h:1,db=2") == "h:1,db=2,socket_timeout=5,socket_connect_timeout=5"
    assert told("h:1,socket_timeout=60") == "h:1,socket_timeout=60,socket_connect_timeout=5"


def test_two_markets_share_a_redis_under_names_of_their_own(settings: Settings, port: int) -> None:
    ours, theirs = (feast_config(settings.home, market, redis=f"127.0.0.1:{port}").project for market in ("m", "n"))
    assert ours != theirs


def test_a_redis_that_does_not_answer_is_said_in_one_sentence(built: Lake, settings: Settings) -> None:
    store = opened(settings, built, 1)
    with pytest.raises(StoreUnavailable, match=r"the Redis 127\.0\.0\.1:1 cannot be used"):
        store.materialize(LAST, LAST)
