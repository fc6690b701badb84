"""The embedded online store as Feast sees it: named by class path in feature_store.yaml, Feast's own extension point."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from ml.core.errors import SchemaBreak, UsageError
from ml.features.feast_import import light_import
from ml.features.feast_response import ColumnarResponse, Plan, plan_of
from ml.features.feast_values import from_arrow, from_protos, key_type, schema_of, to_protos
from ml.features.online.keys import words_of, words_of_arrow
from ml.features.online.reader import Reader
from ml.features.online.schema import NEVER, Batches, Ints, KeyType, Rows, Schema, Words
from ml.features.online.writer import drop, upsert
from ml.features.online_place import view_folder

with light_import():
    from feast import utils
    from feast.infra.online_stores.helpers import compute_versioned_name
    from feast.infra.online_stores.online_store import OnlineStore
    from feast.repo_config import FeastConfigBaseModel

_NOTHING = "nothing was written, and what was there is served"
_PLANS = 64
_MICROS = 1_000_000


class EmbeddedOnlineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """What feature_store.yaml may say of the store."""

    type: Literal["ml.features.feast_online.EmbeddedOnlineStore"] = "ml.features.feast_online.EmbeddedOnlineStore"
    path: str = "online"
    """The folder; relative to the repository's."""
    future_seconds: float | None = 300.0
    """Rows dated later than this from now are refused; null where the market's clock is not the machine's."""


class EmbeddedOnlineStore(OnlineStore):  # type: ignore[misc]
    """Each feature view in a folder of its own; see docs/online-store.md."""

    _versioned_read_supported = True

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._readers: dict[Path, Reader] = {}
        self._plans: dict[int, tuple[Any, Plan | None, list[Reader]]] = {}

    def online_write_batch(
        self,
        config: Any,
        table: Any,
        data: Sequence[tuple[Any, Mapping[str, Any], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Feast's way in for rows that are pushed: all of them are visible at once, or none.

        Raises:
            UsageError: a key is of the wrong type, or a row is dated in the future.
            SchemaBreak: a value is not of its feature's type.
            StoreUnavailable: another process is writing, or the disk refuses.
        """
        if not data:
            return
        schema = _with_keys(schema_of(table), data[0][0])
        words = _words([key for key, _, _, _ in data], schema)
        columns = {
            column.name: from_protos(column, [row.get(column.name) for _, row, _, _ in data])
            for column in schema.columns
        }
        event = np.array([_micros(at) for _, _, at, _ in data], dtype=np.int64)
        created = np.array([NEVER if at is None else _micros(at) for _, _, _, at in data], dtype=np.int64)
        self._refuse_future(config, table, event)
        upsert(self.folder(config, table), schema, Rows(words, event, created, columns))
        if progress:
            progress(len(data))

    def write_arrow(self, config: Any, table: Any, rows: pa.Table) -> None:
        """As `online_write_batch`, for a table with the view's columns, kept in columns all the way."""
        schema, source = schema_of(table), table.batch_source
        created_column = source.created_timestamp_column
        wanted = [name for name, _ in schema.keys] + [column.name for column in schema.columns]
        wanted += [source.timestamp_field, *([created_column] if created_column else [])]
        if missing := [name for name in wanted if name not in rows.column_names]:
            raise SchemaBreak(
                f"the source of {table.name} lacks the column {missing[0]}",
                left=_NOTHING,
                next="correct the source or the definition of the feature view",
            )
        parts = [_batch(batch, schema, source, table.name) for batch in rows.to_batches() if batch.num_rows]
        if parts:
            whole = parts[0] if len(parts) == 1 else Batches(parts)
            self._refuse_future(config, table, whole.event_us)
            upsert(self.folder(config, table), schema, whole)

    def online_read(
        self, config: Any, table: Any, entity_keys: Sequence[Any], requested_features: Sequence[str] | None = None
    ) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        """Feast's way out: the event timestamp and the features of each entity, (None, None) where there is none."""
        snapshot = self.reader(config, table).snapshot()
        if snapshot is None or not entity_keys:
            return [(None, None) for _ in entity_keys]
        rows = snapshot.find(_words(entity_keys, snapshot.schema))
        held = rows[rows >= 0]
        valid = snapshot.valid(held)
        names = requested_features if requested_features is not None else [field.name for field in table.features]
        places = snapshot.schema.places
        columns = {n: to_protos(snapshot, n, held, valid[:, places[n]]) for n in names if n in places}
        stamps = [datetime.fromtimestamp(at / _MICROS, tz=UTC) for at in snapshot.times[held, 0].tolist()]
        found = iter(
            [
                (at, dict(zip(columns, row, strict=True)))
                for at, row in zip(stamps, _by_row(columns, len(held)), strict=True)
            ]
        )
        return [next(found) if row >= 0 else (None, None) for row in rows.tolist()]

    def get_online_features(
        self,
        config: Any,
        features: Any,
        entity_rows: Any,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
    ) -> Any:
        """Feast's own answer in columns, built without a protobuf per value where nothing is computed on demand."""
        if not include_feature_view_version_metadata:
            context = utils._get_cached_request_context(registry, project, features, full_feature_names)
            plan, readers = self._plan(config, context, features, full_feature_names)
            keys = plan.columns(entity_rows) if plan else None
            if plan is not None and keys is not None:
                return ColumnarResponse(plan, keys, [reader.snapshot() for reader in readers])
        return super().get_online_features(
            config=config,
            features=features,
            entity_rows=entity_rows,
            registry=registry,
            project=project,
            full_feature_names=full_feature_names,
            include_feature_view_version_metadata=include_feature_view_version_metadata,
        )

    def update(
        self,
        config: Any,
        tables_to_delete: Sequence[Any],
        tables_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],  # noqa: ARG002  (Feast's signature)
        partial: bool,  # noqa: ARG002
    ) -> None:
        """Remove the views that were withdrawn; a view's folder appears with its first write."""
        for view in tables_to_keep:
            schema_of(view)
        self.teardown(config, tables_to_delete, entities_to_delete)

    def teardown(self, config: Any, tables: Sequence[Any], entities: Sequence[Any]) -> None:  # noqa: ARG002
        """Remove these views."""
        for view in tables:
            folder = self.folder(config, view)
            drop(folder)
            self._readers.pop(folder, None)
            self._plans.clear()

    def folder(self, config: Any, view: Any) -> Path:
        """Where a view lies."""
        root = Path(config.online_store.path)
        if config.repo_path and not root.is_absolute():
            root = Path(config.repo_path) / root
        name = compute_versioned_name(view, config.registry.enable_online_feature_view_versioning)
        return view_folder(root, config.project, name)

    def reader(self, config: Any, view: Any) -> Reader:
        """The one reader of a view in this process."""
        folder = self.folder(config, view)
        if (found := self._readers.get(folder)) is None:
            found = self._readers.setdefault(folder, Reader(folder))
        return found

    def _plan(
        self, config: Any, context: Any, features: Any, full_feature_names: bool
    ) -> tuple[Plan | None, list[Reader]]:
        """How a request is answered; Feast's context of it is the same object until the registry changes."""
        if (found := self._plans.get(id(context))) is None:
            plan = plan_of(context, features, full_feature_names)
            readers = [self.reader(config, part.view) for part in plan.parts] if plan else []
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            found = self._plans[id(context)] = (context, plan, readers)  # the context stays, and so does its id
        return found[1], found[2]

    def _refuse_future(self, config: Any, view: Any, event: Ints) -> None:
        ahead = config.online_store.future_seconds
        if ahead is None or not len(event):
            return
        late = event > (self._clock() + ahead) * _MICROS
        if late.any():
            first = datetime.fromtimestamp(int(event[late].min()) / _MICROS, tz=UTC)
            raise UsageError(
                f"{int(late.sum())} rows of {view.name} are dated in the future, the first {first.isoformat()}",
                left=_NOTHING,
                next="correct the dates; served, such a row would hide every correction until then",
            )


def _with_keys(schema: Schema, example: Any) -> Schema:
    """A view without keys of its own is keyed by whatever is written."""
    names = sorted(example.join_keys)
    if [name for name, _ in schema.keys] == names:
        return schema
    types = dict(zip(example.join_keys, map(key_type, example.entity_values), strict=True))
    return Schema(tuple((name, types[name]) for name in names), schema.columns)


def _words(keys: Sequence[Any], schema: Schema) -> Words:
    """The words of Feast's entity keys."""
    names = [name for name, _ in schema.keys]
    columns: list[list[Any]] = [[] for _ in names]
    for key in keys:
        values = dict(zip(key.join_keys, key.entity_values, strict=True))
        if sorted(values) != names:
            raise UsageError(f"an entity is keyed by {', '.join(values)}", next=f"give {', '.join(names)}")
        for column, (name, kind) in zip(columns, schema.keys, strict=True):
            _check_key(name, kind, values[name])
            column.append(getattr(values[name], values[name].WhichOneof("val")))
    return words_of(schema.key_types, columns, names=names)


def _check_key(name: str, kind: KeyType, value: Any) -> None:
    if key_type(value) != kind:
        raise UsageError(
            f"the key {name} is to be {kind}, not {key_type(value)}", next="give keys of the view's own type"
        )


def _by_row(columns: Mapping[str, list[Any]], count: int) -> list[tuple[Any, ...]]:
    return list(zip(*columns.values(), strict=True)) if columns else [()] * count


def _micros(at: datetime) -> int:
    """Microseconds since 1970; Feast takes a time without a zone for UTC."""
    aware = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    delta = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * _MICROS + delta.microseconds


def _batch(rows: pa.RecordBatch, schema: Schema, source: Any, view: str) -> Rows:
    """A batch of Arrow's as one of ours, on the same memory."""
    created = source.created_timestamp_column
    names = [name for name, _ in schema.keys]
    return Rows(
        words_of_arrow(schema.key_types, [_key_array(rows.column(name)) for name in names], names=names),
        _instants(rows, source.timestamp_field, view),
        _instants(rows, created, None) if created else np.full(rows.num_rows, NEVER),
        {column.name: from_arrow(column, rows.column(column.name)) for column in schema.columns},
    )


def _key_array(array: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        return array.dictionary_decode()
    return array.cast(pa.timestamp("s")).cast(pa.int64()) if pa.types.is_timestamp(array.type) else array


def _instants(rows: pa.RecordBatch, name: str, view: str | None) -> Ints:
    """A column of timestamps in microseconds; without one, NEVER, or an error that names the view."""
    array = rows.column(name)
    if not pa.types.is_timestamp(array.type):
        raise SchemaBreak(
            f"the column {name} is {array.type}, not a timestamp", left=_NOTHING, next="correct the source"
        )
    if array.null_count and view is not None:
        raise SchemaBreak(f"{array.null_count} rows of {view} have no {name}", left=_NOTHING, next="correct the source")
    found: Ints = np.asarray(
        array.cast(pa.timestamp("us", array.type.tz), safe=False).cast(pa.int64()).fill_null(NEVER)
    )
    return found
