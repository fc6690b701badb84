"""The page about the features is what their definitions say."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from ml.catalogue import catalogue, readers
from ml.core.errors import UsageError
from ml.features.definitions import FEATURE_VIEWS
from ml.features.describe import describe
from ml.market.hotel_bookings import LEAKY_COLUMNS

PAGE = Path(__file__).parents[2] / "docs" / "features.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == describe(readers()), "run: bidwright features --markdown > docs/features.md"


def test_every_feature_and_every_leaky_column_is_on_it_with_a_meaning() -> None:
    text = describe(readers())
    for view in FEATURE_VIEWS.values():
        for feature in view.features:
            assert (
                f"| `{feature.name}` | {feature.window_days} | {feature.unit} | {feature.dtype} | {feature.meaning} |"
                in text
            )
            assert feature.meaning
    for column, reason in LEAKY_COLUMNS.items():
        assert f"| `{column}` | {reason} |" in text


def test_each_feature_says_which_models_read_it() -> None:
    read_by = {one["name"]: one["read_by"] for view in catalogue({}) for one in view["features"]}
    assert read_by["agent_cancel_ratio_365d"] == ["value"]
    assert read_by["agent_cancel_rate_365d"] == []
    assert all(models != ["conversion"] for name, models in read_by.items() if name.startswith("traffic_"))


def test_a_view_or_a_feature_can_be_asked_for_with_the_day_up_to_which_it_is_served() -> None:
    (view,) = catalogue({"company_history": date(2026, 3, 2)}, name="company_history")
    assert view["served_day"] == "2026-03-02"
    assert view["features"]
    (alone,) = catalogue({}, name="traffic_ctr_7d")
    assert [one["name"] for one in alone["features"]] == ["traffic_ctr_7d"]
    assert alone["served_day"] is None


def test_an_unknown_name_is_answered_with_the_nearest_ones() -> None:
    with pytest.raises(UsageError, match="'company_historie'") as caught:
        catalogue({}, name="company_historie")
    assert "company_history" in caught.value.next
