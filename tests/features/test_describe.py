"""The page about the features is what their definitions say."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.core.errors import UsageError
from ml.features.definitions import FEATURE_VIEWS
from ml.features.describe import describe
from ml.market.hotel_bookings import LEAKY_COLUMNS

PAGE = Path(__file__).parents[2] / "docs" / "features.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == describe(), "run: python -m ml.features.describe > docs/features.md"


def test_every_feature_and_every_leaky_column_is_on_it_with_a_meaning() -> None:
    text = describe()
    for view in FEATURE_VIEWS.values():
        for feature in view.features:
            assert (
                f"| `{feature.name}` | {feature.window_days} | {feature.unit} | {feature.dtype} | {feature.meaning} |"
                in text
            )
            assert feature.meaning
    for column, reason in LEAKY_COLUMNS.items():
        assert f"| `{column}` | {reason} |" in text


def test_one_view_can_be_asked_for_and_an_unknown_one_is_named() -> None:
    assert describe("company_history").startswith("## company_history")
    with pytest.raises(UsageError, match="nonsense"):
        describe("nonsense")
