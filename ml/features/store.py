"""The online store, and the checked way to offline values, both through Feast. Importing it costs seconds."""

from __future__ import annotations

import io
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from ml.core.errors import CorruptArtefact, NoData, StoreUnavailable, UsageError
from ml.core.settings import Settings
from ml.core.units import days_between, known_by
from ml.features.build import market_views
from ml.features.definitions import CREATED_TIMESTAMP, EVENT_TIMESTAMP, FeatureView
from ml.features.feast_import import light_import
from ml.features.feast_objects import feast_config, feast_objects, mirror
from ml.features.redis_check import check_redis, note_written
from ml.lake.lake import Lake

with light_import():
    from feast import FeatureStore as FeastStore

_NEVER = int(np.datetime64("NaT", "us").astype(np.int64))


@dataclass(frozen=True)
class Verification:
    """What a read-back of the online store showed: entities compared, and the first values that differed."""

    compared: int
    equal: int
    differing: tuple[Mapping[str, Any], ...]


class FeatureStore:
    """One market's features in Feast: DuckDB over the lake's partitions offline, the embedded store or Redis online."""

    def __init__(self, store: FeastStore, lake: Lake, home: Path, *, late_days: int, redis: str = "") -> None:
        self._feast, self._lake, self._home, self._late_days, self._redis = store, lake, home, late_days, redis
        self.views: Mapping[str, FeatureView] = market_views(lake)

    @classmethod
    def open(cls, settings: Settings, lake: Lake, *, writer: str = "") -> FeatureStore:
        """The store of the lake's market below `settings.home`; its folder is made, nothing else is written.

        Writers that work side by side, on different views, each need a name: Feast writes its registry at every step, and
        not all at once, so that none may be shared.
        """
        config = feast_config(settings.home, lake.market, redis=settings.redis, writer=writer)
        return cls(
            FeastStore(config=config), lake, settings.home, late_days=settings.lateness_days, redis=settings.redis
        )

    def apply(self) -> None:
        """Tell Feast of the market's views; idempotent. A damaged registry is made anew, for it holds nothing else."""
        with _clear_errors():
            try:
                self._apply()
            except DecodeError:
                Path(self._feast.config.registry.path).unlink()
                self._feast = FeastStore(config=self._feast.config)
                self._apply()

    def materialize(self, first: date, last: date, *, views: Collection[str] | None = None) -> None:
        """Put the newest row of each entity, from `first` (and the days of lateness before it) to `last`, online.

        Args:
            first, last: market days.
            views: names of feature views; None for all.

        Raises:
            CorruptArtefact: a partition holds rows that are dated in its future; nothing of it is written.
            StoreUnavailable: the online store cannot be written.
        """
        if self._redis:
            check_redis(self._redis, self._lake.market)
        start = first - timedelta(days=self._late_days)
        names = list(self.views if views is None else views)
        for view in map(self._view, names):
            mirror(self._lake, view, self._home, first=start, last=last)
            self._refuse_future(view, first=start, last=last)
        with _clear_errors():
            self._feast.materialize(start_date=known_by(start), end_date=known_by(last), feature_views=names)
        if self._redis:
            note_written(self._redis, self._lake.market)

    def read_online(self, view: str, entities: pd.DataFrame, *, day: date | None = None) -> pd.DataFrame:
        """The online features of entities.

        Args:
            view: name of the feature view.
            entities: the view's entity columns; one row per answer, repeats allowed.
            day: the market day whose knowledge is meant; rows older than the view's ttl by its end count as absent.

        Returns:
            The entity columns, the features as float64 (NaN where absent) and event_timestamp, under the index of
            `entities`.
        """
        definition = self._view(view)
        values = self._read(definition, entities)
        known_at = [_NEVER if stamp is None else round(stamp * 1e6) for stamp in values.pop(EVENT_TIMESTAMP)]
        stamps = pd.Series(np.array(known_at, dtype="datetime64[us]")).dt.tz_localize("UTC")
        frame = pd.DataFrame(values, index=entities.index, columns=list(definition.feature_names), dtype="float64")
        frame = frame.assign(**{EVENT_TIMESTAMP: stamps.array})
        if day is not None:
            old = frame[EVENT_TIMESTAMP] < known_by(day) - timedelta(days=definition.ttl_days)
            frame.loc[old, list(definition.feature_names)] = np.nan
        return pd.concat([entities[list(definition.entity)], frame], axis=1)

    def historical(self, entities: pd.DataFrame, views: Collection[str]) -> pd.DataFrame:
        """Feast's own point-in-time join, by both clocks: slow, and there to check ours against.

        Args:
            entities: entity columns of the views and `event_timestamp`, the instant of each decision.
            views: names of feature views.

        Returns:
            The rows given, in any order, with the views' features.
        """
        wanted = [self._view(name) for name in views]
        for view in wanted:
            mirror(self._lake, view, self._home, first=None, last=None)
        names = [f"{view.name}:{feature}" for view in wanted for feature in view.feature_names]
        with _clear_errors():
            job = self._feast.get_historical_features(
                entity_df=entities.copy(), features=names, filter_by_created_timestamp=True
            )
            answer: pd.DataFrame = job.to_df()
        return answer

    def verify_sample(self, view: str, day: date, *, n: int, seed: int) -> Verification:
        """Read up to `n` entities of a day's partition back from the online store and compare every value exactly."""
        definition = self._view(view)
        offline = self._lake.read(definition.table, day)
        offline = offline.sort_values(CREATED_TIMESTAMP).drop_duplicates(list(definition.entity), keep="last")
        chosen = np.random.default_rng(seed).permutation(len(offline))[:n]
        sample = offline.iloc[np.sort(chosen)].reset_index(drop=True)
        if sample.empty:
            return Verification(0, 0, ())
        online = self._read(definition, sample)
        differing = list(_differences(definition, sample, online))
        bad = {difference["row"] for difference in differing}
        return Verification(len(sample), len(sample) - len(bad), tuple(differing[:10]))

    def _apply(self) -> None:
        wanted = feast_objects(self._lake, self._home)
        names = {item.name for item in wanted}
        gone = [view for view in self._feast.list_feature_views() if view.name not in names]
        self._feast.apply([*wanted, *gone], objects_to_delete=gone, partial=False)

    def _view(self, name: str) -> FeatureView:
        if name not in self.views:
            raise UsageError(f"there is no feature view {name!r}", next=f"choose from {', '.join(self.views)}")
        return self.views[name]

    def _refuse_future(self, view: FeatureView, *, first: date, last: date) -> None:
        for day in days_between(first, last):
            try:
                rows = self._lake.read(view.table, day)
            except NoData:
                continue  # a day of the lookback on which nothing was built
            if (rows[EVENT_TIMESTAMP] != known_by(day)).any() or (rows[CREATED_TIMESTAMP] > known_by(last)).any():
                raise CorruptArtefact(
                    f"the features of {view.name} for {day} hold rows of another time",
                    left="the online store is as it was",
                    next=f"build the day again with: bidwright materialize --day {day}",
                )

    def _read(self, view: FeatureView, entities: pd.DataFrame) -> dict[str, list[Any]]:
        """Values as Feast gives them, and the event time in seconds since 1970 (None where there is no row)."""
        names = [f"{view.name}:{feature}" for feature in view.feature_names]
        keys = entities[list(view.entity)].to_dict("list")
        if entities.empty:
            return {name: [] for name in (*view.feature_names, EVENT_TIMESTAMP)}
        with _clear_errors():
            answer = self._feast.get_online_features(features=names, entity_rows=keys)
            read = answer.to_dict(include_event_timestamps=True)
        found: dict[str, list[Any]] = {name: read[name] for name in view.feature_names}
        return found | {EVENT_TIMESTAMP: [stamp or None for stamp in read[f"{view.feature_names[0]}__ts"]]}


def _differences(
    view: FeatureView, sample: pd.DataFrame, online: Mapping[str, Sequence[Any]]
) -> Iterator[Mapping[str, Any]]:
    """Each value that is not the same offline and online; two absent ones are the same."""
    stamps = [stamp.timestamp() for stamp in sample[EVENT_TIMESTAMP]]
    for name in (*view.feature_names, EVENT_TIMESTAMP):
        expected = stamps if name == EVENT_TIMESTAMP else sample[name].tolist()
        for row, (offline, found) in enumerate(zip(expected, online[name], strict=True)):
            absent = pd.isna(offline)
            if (found is not None) if absent else (found != offline):
                key = {column: sample[column].iloc[row] for column in view.entity}
                yield {"row": row, "entity": key, "feature": name, "offline": offline, "online": found}


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Feast prints and draws bars where nobody looks; its stores' errors become ours."""
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    except _store_errors() as error:
        raise StoreUnavailable(
            f"the online store cannot be used: {error}",
            left="the watermark was not moved",
            next="check the working folder and its disk, or the Redis that the settings name, and run it again",
        ) from error
    except duckdb.Error as error:
        raise CorruptArtefact(
            f"the feature tables could not be read: {str(error).splitlines()[0]}",
            left="the watermark was not moved",
            next="build their days again with: bidwright history --from YYYY-MM-DD --to YYYY-MM-DD",
        ) from error


def _store_errors() -> tuple[type[Exception], ...]:
    """What the online stores raise; of the Redis client where Feast has loaded it."""
    redis = sys.modules.get("redis")
    return (OSError, redis.RedisError) if redis else (OSError,)
