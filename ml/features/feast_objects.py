"""The feature views in Feast's words, its configuration, and the files that it reads. Importing it costs seconds."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import yaml  # type: ignore[import-untyped]

from ml.core.errors import StoreUnavailable
from ml.features.build import market_views
from ml.features.definitions import CREATED_TIMESTAMP, EVENT_TIMESTAMP, FeatureView
from ml.features.feast_import import light_import
from ml.features.redis_check import project_of
from ml.lake.lake import Lake
from ml.lake.local import LocalBlobs

with light_import():
    from feast import Entity, Field, FileSource, RepoConfig
    from feast import FeatureView as FeastView
    from feast.types import Float64, Int64, String
    from feast.value_type import ValueType

_REDIS_PATIENCE = ("socket_timeout=5", "socket_connect_timeout=5")
"""Seconds, as the client of Redis reads them from its connection string."""
_TYPES = {"int64": Int64, "float64": Float64}


def feast_config(home: Path, market: str, *, redis: str = "", writer: str = "") -> RepoConfig:
    """`feature_repo/feature_store.yaml` filled in for a market; makes the folder that Feast writes into.

    Args:
        home: the working folder.
        market: the market.
        redis: connection string of a Redis that takes the place of the embedded store.
        writer: a named writer has a registry of its own.
    """
    text = files("feature_repo").joinpath("feature_store.yaml").read_text()
    values = yaml.safe_load(Template(text).substitute(BIDWRIGHT_HOME=home.as_posix(), BIDWRIGHT_MARKET=market))
    registry = Path(values["registry"])
    values["registry"] = (registry.with_stem(f"{registry.stem}-{writer}") if writer else registry).as_posix()
    if redis:
        # Feast would leave out a row that is not later than what is there, so that a correction of the same day never came
        # through. What reaches the store here is the newest of each entity, never of the future, from one writer a view.
        values["project"] = project_of(market)
        values["online_store"] = {"type": "redis", "connection_string": _patient(redis), "skip_dedup": True}
        del values["batch_engine"]
    folder = registry.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(
            f"{folder} cannot be made: {error.strerror}", next="check the working folder and its disk"
        ) from error
    return RepoConfig(**values, repo_path=folder)


def _patient(redis: str) -> str:
    """The connection string, with an end to waiting where it names none: a Redis that stalls would hold a task for ever."""
    missing = [part for part in _REDIS_PATIENCE if part.split("=")[0] not in redis]
    return ",".join([redis, *missing])


def feast_objects(lake: Lake, home: Path, views: Iterable[FeatureView] | None = None) -> list[Any]:
    """Feast's entities and feature views: these, or those that the lake's tables can feed."""
    views = list(market_views(lake).values() if views is None else views)
    keys = {
        key: Entity(name=key, join_keys=[key], value_type=ValueType.STRING) for view in views for key in view.entity
    }
    return [*keys.values(), *(_feast_view(view, keys, lake, home) for view in views)]


def mirror(lake: Lake, view: FeatureView, home: Path, *, first: date | None, last: date | None) -> None:
    """Make the files of these days readable where Feast looks for them; nothing to do for a lake in a folder.

    Feast wants one pattern for all the files of a view. The local copies of an S3 lake lie under names of their
    own, so each day is linked to its copy.
    """
    if isinstance(lake.blobs, LocalBlobs):
        return
    folder = _mirror_folder(lake, view, home)
    folder.mkdir(parents=True, exist_ok=True)
    for day in lake.days(view.table):
        if (first or day) <= day <= (last or day):
            link = folder / f"{day.isoformat()}.parquet"
            fresh = link.with_suffix(".new")
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(lake.blobs.local_path(lake.key(view.table, day)))
            fresh.replace(link)


def _feast_view(view: FeatureView, keys: dict[str, Entity], lake: Lake, home: Path) -> FeastView:
    features = [
        Field(name=feature.name, dtype=_TYPES[feature.dtype], description=f"{feature.meaning} [{feature.unit}]")
        for feature in view.features
    ]
    return FeastView(
        name=view.name,
        description=view.meaning,
        entities=[keys[key] for key in view.entity],
        ttl=timedelta(days=view.ttl_days),
        schema=[*(Field(name=key, dtype=String) for key in view.entity), *features],
        source=FileSource(
            name=view.table,
            path=_pattern(lake, view, home),
            timestamp_field=EVENT_TIMESTAMP,
            created_timestamp_column=CREATED_TIMESTAMP,
        ),
    )


def _pattern(lake: Lake, view: FeatureView, home: Path) -> str:
    """The path that matches every partition of a view."""
    if isinstance(lake.blobs, LocalBlobs):
        return (lake.blobs.root.absolute() / lake.market / view.table / "day=*" / "part-0.parquet").as_posix()
    return (_mirror_folder(lake, view, home) / "*.parquet").as_posix()


def _mirror_folder(lake: Lake, view: FeatureView, home: Path) -> Path:
    return home.absolute() / "feast" / f"{lake.market}-offline" / view.name
