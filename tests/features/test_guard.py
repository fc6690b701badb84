"""Columns that are filled in after the booking cannot reach a feature view."""

from __future__ import annotations

import dataclasses
from typing import Any

import ibis
import pytest

from ml.core.errors import LeakageError
from ml.features.build import build_days
from ml.features.definitions import FEATURE_VIEWS, FeatureView
from ml.features.guard import check_expression, check_view
from ml.lake.lake import Lake
from ml.market.hotel_bookings import LEAKY_COLUMNS

VIEW = FEATURE_VIEWS["company_history"]
CLEAN = ibis.table({"company_id": "string", "lead_days": "int64"}, name="bookings")


@pytest.mark.ml_test_score("data4")
@pytest.mark.parametrize("column", LEAKY_COLUMNS)
def test_a_leaky_column_is_no_feature(column: str) -> None:
    class Named(FeatureView):
        """A view whose feature bears the very name of a column."""

        feature_names = (column,)

    fields = {field.name: getattr(VIEW, field.name) for field in dataclasses.fields(VIEW)}
    with pytest.raises(LeakageError, match=column):
        check_view(Named(**fields), CLEAN)


@pytest.mark.parametrize("column", LEAKY_COLUMNS)
def test_a_leaky_column_is_no_key(column: str) -> None:
    with pytest.raises(LeakageError, match=column):
        check_view(dataclasses.replace(VIEW, entity=("hotel_id", column)), CLEAN)


@pytest.mark.ml_test_score("data4")
@pytest.mark.parametrize("column", LEAKY_COLUMNS)
def test_a_leaky_column_is_found_at_any_depth_under_any_name(column: str) -> None:
    bookings = ibis.table({"company_id": "string", column: "int64"}, name="bookings")
    renamed = bookings.rename(harmless=column).mutate(deeper=ibis._["harmless"] + 1)
    counted = renamed.group_by("company_id").agg(value=renamed["deeper"].sum())
    with pytest.raises(LeakageError, match=column):
        check_expression(counted, where="a test")
    with pytest.raises(LeakageError, match=column):
        check_expression(bookings.filter(bookings[column] > 0).select("company_id"), where="a test")


def test_the_error_gives_the_reason() -> None:
    with pytest.raises(LeakageError, match="is the outcome"):
        check_expression(
            ibis.table({"reservation_status": "string"}, name="t").distinct().select("reservation_status"),
            where="a test",
        )


def test_an_expression_without_leaky_columns_passes() -> None:
    check_view(VIEW, CLEAN.group_by("company_id").agg(value=CLEAN["lead_days"].sum()))


def test_building_a_view_that_reads_a_leaky_column_writes_nothing(full: Lake) -> None:
    day = full.days("bookings")[0]

    def leaky(tables: Any, as_of: Any) -> Any:
        bookings = tables["bookings"].mutate(deposit_type=1)
        return VIEW.facts({**tables, "bookings": bookings.mutate(value_micros=bookings["deposit_type"])}, as_of)

    with pytest.raises(LeakageError, match="deposit_type"):
        build_days(full, [dataclasses.replace(VIEW, facts=leaky)], [day])
    assert full.days(VIEW.table) == []
