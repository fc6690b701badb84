"""The names that models read are names that the feature views write."""

from __future__ import annotations

from ml.features.definitions import FEATURE_VIEWS
from ml.models import MODELS
from ml.models.history import BOOKING_HISTORY, TRAFFIC_HISTORY


def test_every_history_column_is_a_feature_of_a_view() -> None:
    written = {name for view in FEATURE_VIEWS.values() for name in view.feature_names}
    assert {column.name for column in (*BOOKING_HISTORY, *TRAFFIC_HISTORY)} <= written


def test_every_view_is_read_by_some_model() -> None:
    read = {name for model in MODELS.values() for name in model.inputs}
    assert all(set(view.feature_names) & read for view in FEATURE_VIEWS.values())
