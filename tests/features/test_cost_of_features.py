"""What a feature costs online, in bytes and look-ups: a budget per feature, measured on the files of each view."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from ml.core.settings import Settings
from ml.core.units import days_between
from ml.features.build import build_days, market_views
from ml.features.store import FeatureStore
from ml.lake.lake import Lake

Copy = Callable[[Path, Path], Lake]
FIRST, LAST = date(2024, 2, 8), date(2024, 2, 12)

BYTES_PER_FEATURE = 16
"""Of one entity: the value (8), its share of flags, keys, times and index."""

BYTES_PER_ENTITY = 64
"""Whatever features it has: key, two instants, its place in the index."""

VIEWS_PER_REQUEST = 8
"""Each view that a request needs is one look-up, however many features it has."""


@pytest.mark.ml_test_score("data3")
def test_no_feature_takes_more_bytes_than_its_budget_and_no_request_more_look_ups(
    landed_folder: Path, copy_lake: Copy, settings: Settings, tmp_path: Path
) -> None:
    lake = copy_lake(landed_folder, tmp_path)
    build_days(lake, market_views(lake).values(), days_between(FIRST, LAST))
    store = FeatureStore.open(settings, lake)
    store.apply()
    store.materialize(LAST, LAST)
    cost = {}
    for name, view in store.views.items():
        (folder,) = (settings.home / "feast").rglob(f"{lake.market}-online/*/{name}")
        held = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and ".json" not in file.name)
        entities = len(lake.read(view.table, LAST))
        assert held > 0 and entities > 0, name
        cost[name] = held / entities - BYTES_PER_ENTITY - BYTES_PER_FEATURE * len(view.feature_names)
    assert {name: round(over) for name, over in cost.items() if over > 0} == {}
    assert len(cost) <= VIEWS_PER_REQUEST
