"""Feast's answer to `get_online_features`, kept in columns until somebody asks for its protobuf."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]

from ml.features.feast_import import light_import
from ml.features.feast_values import to_protos, to_python
from ml.features.online.keys import words_of
from ml.features.online.schema import Flags, Places
from ml.features.online.snapshot import Snapshot

with light_import():
    from feast.feature_service import FeatureService
    from feast.online_response import TIMESTAMP_POSTFIX, OnlineResponse
    from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.type_map import python_values_to_proto_values

_MICROS = 1_000_000


@dataclass(frozen=True)
class Part:
    """The features that a request wants of one view, and what the answer calls them."""

    view: Any
    features: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A request that can be answered from the views' own columns alone."""

    keys: Mapping[str, Any]
    parts: tuple[Part, ...]
    types: Mapping[str, Any]

    def columns(self, entity_rows: Any) -> dict[str, Sequence[Any]] | None:
        """The keys in columns; None for what is better left to Feast: other columns, or values in protobuf."""
        if isinstance(entity_rows, list):
            try:
                found: dict[str, Sequence[Any]] = {key: [row[key] for row in entity_rows] for key in self.keys}
            except (KeyError, TypeError):
                return None
            plain = all(len(row) == len(self.keys) for row in entity_rows)
        elif isinstance(entity_rows, Mapping):
            found = dict(entity_rows)
            plain = found.keys() == self.keys.keys() and all(isinstance(held, list | tuple) for held in found.values())
        else:
            return None
        lengths = {len(held) for held in found.values()} if plain else set()
        if len(lengths) != 1 or lengths == {0} or any(isinstance(held[0], Value) for held in found.values()):
            return None
        return found


def plan_of(context: Any, features: Any, full_feature_names: bool) -> Plan | None:
    """A plan from Feast's context of a request; None where Feast has to compute something or count the reads."""
    _, on_demand, _, key_types, _, grouped, _, request_data, without_keys = context
    metrics = sys.modules.get("feast.metrics")  # whoever wants reads counted has imported it
    counted = metrics is not None and metrics._config.online_features
    computed = on_demand or request_data or without_keys or counted
    if computed or (isinstance(features, FeatureService) and getattr(features, "precompute_online", False)):
        return None
    parts: list[Part] = []
    keys: dict[str, Any] = {}
    types: dict[str, Any] = {}
    for view, wanted in grouped:
        joins = [column.name for column in getattr(view, "entity_columns", ())]
        if not joins or view.projection.join_key_map or len(joins) != len(view.entities):
            return None
        keys |= {join: key_types[join] for join in joins}
        prefix = f"{view.projection.name_to_use()}__" if full_feature_names else ""
        parts.append(Part(view, tuple(wanted), tuple(prefix + name for name in wanted)))
        types |= {prefix + field.name: field.dtype.to_value_type() for field in view.features if field.name in wanted}
    return Plan(keys, tuple(parts), types)


class ColumnarResponse(OnlineResponse):  # type: ignore[misc]
    """As Feast's `OnlineResponse`, from snapshots; `proto` is built when it is first asked for."""

    def __init__(self, plan: Plan, keys: Mapping[str, Sequence[Any]], snapshots: Sequence[Snapshot | None]) -> None:
        self._plan, self._keys, self._feature_types = plan, keys, dict(plan.types)
        self._count = len(next(iter(keys.values())))
        self._found = [_Found(part, snapshot, keys) for part, snapshot in zip(plan.parts, snapshots, strict=True)]
        self._proto: Any = None

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, Any]:
        """The answer as lists by name, with event times in seconds since 1970 where asked for (0 where there is no row)."""
        answer: dict[str, Any] = {}
        for name, values in self._keys.items():
            answer[name] = list(values)
            if include_event_timestamps:
                answer[name + TIMESTAMP_POSTFIX] = [0] * self._count
        for found in self._found:
            seconds = [int(at) for at in found.seconds()] if include_event_timestamps else []
            for name, values in found.columns().items():
                answer[name] = values
                if include_event_timestamps:
                    answer[name + TIMESTAMP_POSTFIX] = seconds
        return answer

    @property
    def proto(self) -> Any:
        """Feast's protobuf of the answer."""
        if self._proto is None:
            self._proto = self._built()
        return self._proto

    def _built(self) -> Any:
        answer = GetOnlineFeaturesResponse(results=[])
        nothing = [Timestamp()] * self._count
        for name, values in self._keys.items():
            protos = python_values_to_proto_values(list(values), self._plan.keys[name])
            answer.metadata.feature_names.val.append(name)
            statuses = [FieldStatus.PRESENT] * self._count
            answer.results.append(_vector(protos, statuses, nothing))
        for found in self._found:
            stamps = [Timestamp(seconds=at // _MICROS, nanos=at % _MICROS * 1000) for at in found.micros()]
            statuses = [FieldStatus.PRESENT if has else FieldStatus.NOT_FOUND for has in found.present()]
            for name, protos in found.protos().items():
                known = statuses if protos is not None else [FieldStatus.NOT_FOUND] * self._count
                answer.metadata.feature_names.val.append(name)
                answer.results.append(_vector(protos or [Value()] * self._count, known, stamps))
        return answer


class _Found:
    """The rows of one view that answer a request."""

    def __init__(self, part: Part, snapshot: Snapshot | None, keys: Mapping[str, Sequence[Any]]) -> None:
        self._part, self._snapshot = part, snapshot
        self._count = len(next(iter(keys.values())))
        self._rows: Places = np.zeros(self._count, dtype=np.intp)
        self._own: Flags | None = np.zeros(self._count, dtype=np.bool_)
        if snapshot is not None and len(snapshot.times):
            names = [name for name, _ in snapshot.schema.keys]
            words = words_of(snapshot.schema.key_types, [keys[name] for name in names], names=names)
            self._rows, self._own = snapshot.locate(words)
        else:
            self._snapshot = None

    def columns(self) -> dict[str, list[Any]]:
        """The values by the answer's names, None for nulls."""
        snapshot, part = self._snapshot, self._part
        if snapshot is None:
            return {name: [None] * self._count for name in part.names}
        schema, nulls = snapshot.schema, snapshot.manifest.nulls
        whole = self._own is None and nulls.isdisjoint(part.features)
        valid = None if whole else self._valid(snapshot)
        groups = {kind: values[self._rows].T.tolist() for kind, values in snapshot.dense.items()}
        lists = {c.name: groups[kind][n] for kind, columns in schema.groups.items() for n, c in enumerate(columns)}
        answer: dict[str, list[Any]] = {}
        for feature, name in zip(part.features, part.names, strict=True):
            place = schema.places.get(feature)
            if place is None:
                answer[name] = [None] * self._count
                continue
            column = schema.columns[place]
            if column.kind == "var":
                answer[name] = self._of_any_length(snapshot, feature)
            elif valid is None or valid[:, place].all():
                answer[name] = lists[feature] if column.meaning in _AS_STORED else to_python(column, lists[feature])
            else:
                values = to_python(column, lists[feature])
                answer[name] = [v if has else None for v, has in zip(values, valid[:, place].tolist(), strict=True)]
        return answer

    def protos(self) -> dict[str, list[Any] | None]:
        """Feast's values by the answer's names; None for a feature that was never written."""
        snapshot = self._snapshot
        if snapshot is None:
            return dict.fromkeys(self._part.names)
        valid, places = self._valid(snapshot), snapshot.schema.places
        return {
            name: to_protos(snapshot, feature, self._rows, valid[:, places[feature]]) if feature in places else None
            for feature, name in zip(self._part.features, self._part.names, strict=True)
        }

    def micros(self) -> list[int]:
        """Event timestamps in microseconds since 1970; 0 where there is no row."""
        if self._snapshot is None:
            return [0] * self._count
        times = self._snapshot.times[self._rows, 0]
        found: list[int] = (times if self._own is None else np.where(self._own, times, 0)).tolist()
        return found

    def seconds(self) -> list[int]:
        """Event timestamps in seconds since 1970; 0 where there is no row."""
        return [at // _MICROS for at in self.micros()]

    def present(self) -> list[bool]:
        """Which entities there is a row of."""
        return [True] * self._count if self._own is None else self._own.tolist()

    def _valid(self, snapshot: Snapshot) -> Flags:
        valid = snapshot.valid(self._rows)
        return valid if self._own is None else valid & self._own[:, None]

    def _of_any_length(self, snapshot: Snapshot, feature: str) -> list[Any]:
        place = snapshot.schema.places[feature]
        valid = self._valid(snapshot)[:, place]
        values = iter(to_python(snapshot.schema.columns[place], snapshot.bytes_of(feature, self._rows[valid])))
        return [next(values) if has else None for has in valid.tolist()]


_AS_STORED = {"FLOAT", "DOUBLE", "INT32", "INT64"}


def _vector(values: list[Any], statuses: list[Any], stamps: list[Any]) -> Any:
    return GetOnlineFeaturesResponse.FeatureVector(values=values, statuses=statuses, event_timestamps=stamps)
