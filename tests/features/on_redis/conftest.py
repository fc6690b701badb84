"""A lake with a few built days, a redis-server of its own, and the store of the machine that materialises into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from ml.core.settings import Settings
from ml.core.units import days_between
from ml.features.build import build_days, market_views
from ml.features.definitions import FEATURE_VIEWS
from ml.features.store import FeatureStore
from ml.lake.lake import Lake
from tests.features.online.feast_repo import redis_server, why_no_redis

Copy = Callable[[Path, Path], Lake]
FIRST, LAST = date(2024, 2, 8), date(2024, 2, 12)
VIEW = FEATURE_VIEWS["hotel_traffic"]

needs_redis = pytest.mark.skipif(why_no_redis() is not None, reason=why_no_redis() or "")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_server(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
def built(landed_folder: Path, copy_lake: Copy, tmp_path: Path) -> Lake:
    lake = copy_lake(landed_folder, tmp_path)
    build_days(lake, market_views(lake).values(), days_between(FIRST, LAST))
    return lake


def opened(settings: Settings, lake: Lake, port: int) -> FeatureStore:
    """The store over the Redis that listens there."""
    store = FeatureStore.open(settings.model_copy(update={"redis": f"127.0.0.1:{port}"}), lake)
    store.apply()
    return store
