"""Columns that are filled in after the decision cannot reach a feature view, by name or through its expression."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ibis.expr import operations as ops

from ml.core.errors import LeakageError
from ml.features.definitions import FeatureView
from ml.market.hotel_bookings import LEAKY_COLUMNS


def check_names(names: Iterable[str], *, where: str, leaky: Mapping[str, str] = LEAKY_COLUMNS) -> None:
    """LeakageError if one of these columns is leaky, with the reason."""
    for name in names:
        if name in leaky:
            raise LeakageError(
                f"{where} uses the column {name!r}, which is filled in later: {leaky[name]}",
                left="nothing was computed",
                next="take the column out of the definition",
            )


def check_expression(expression: Any, *, where: str, leaky: Mapping[str, str] = LEAKY_COLUMNS) -> None:
    """LeakageError if an Ibis expression reads a leaky column at any depth, under whatever name it ends."""
    fields = expression.op().find(ops.Field)
    check_names(sorted({field.name for field in fields}), where=where, leaky=leaky)


def check_view(view: FeatureView, expression: Any) -> None:
    """LeakageError if a view has a leaky column for a feature or a key, or reads one in `expression`, its facts."""
    where = f"the feature view {view.name}"
    check_names((*view.entity, *view.feature_names), where=where)
    check_expression(expression, where=where)
