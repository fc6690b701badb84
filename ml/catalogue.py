"""Every feature in one list: what it means, where it comes from, who reads it, and up to which day it is served."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from ml.core.errors import UsageError

if TYPE_CHECKING:
    from ml.features.definitions import FeatureView
    from ml.platform import Platform


def readers() -> dict[str, tuple[str, ...]]:
    """The models that read each column, by its name."""
    from ml.models.registry import PAIRS

    found: dict[str, list[str]] = defaultdict(list)
    for name, (model, _) in PAIRS.items():
        for column in model.inputs:
            found[column].append(name)
    return {column: tuple(models) for column, models in found.items()}


def served(platform: Platform) -> dict[str, date]:
    """The newest market day of each feature view that the online store serves; empty before the first."""
    from ml.ledger import watermarks

    return watermarks.all_views(platform.db, platform.market)


def catalogue(days: Mapping[str, date], *, name: str | None = None) -> list[dict[str, Any]]:
    """The feature views as plain values, each with its features.

    Args:
        days: from `served`.
        name: a view, or a feature, to be shown alone.

    Raises:
        UsageError: there is neither a view nor a feature of that name; the nearest ones are named.
    """
    from ml.features.definitions import FEATURE_VIEWS

    users = readers()
    found = [_view(view, users, days) for view in FEATURE_VIEWS.values()]
    if name is None:
        return found
    chosen = [view if name == view["name"] else _only(view, name) for view in found]
    kept = [view for view in chosen if view["features"]]
    if not kept:
        raise UsageError(f"there is no feature or feature view {name!r}", next=f"choose from {_near(name, found)}")
    return kept


def _view(view: FeatureView, users: Mapping[str, tuple[str, ...]], days: Mapping[str, date]) -> dict[str, Any]:
    day = days.get(view.name)
    return {
        "name": view.name,
        "meaning": view.meaning,
        "entity": list(view.entity),
        "sources": list(view.tables),
        "owner": view.owner,
        "leakage": view.caution,
        "absent_after_days": view.ttl_days,
        "served_day": day.isoformat() if day else None,
        "features": [
            {
                "name": feature.name,
                "meaning": feature.meaning,
                "unit": feature.unit,
                "type": feature.dtype,
                "window_days": feature.window_days,
                "read_by": list(users.get(feature.name, ())),
            }
            for feature in view.features
        ],
    }


def _only(view: dict[str, Any], name: str) -> dict[str, Any]:
    return view | {"features": [feature for feature in view["features"] if feature["name"] == name]}


def _near(name: str, views: list[dict[str, Any]]) -> str:
    from difflib import get_close_matches

    known = list(_names(views))
    return ", ".join(get_close_matches(name, known, n=4, cutoff=0.4) or [view["name"] for view in views])


def _names(views: list[dict[str, Any]]) -> Iterator[str]:
    for view in views:
        yield view["name"]
        yield from (feature["name"] for feature in view["features"])
