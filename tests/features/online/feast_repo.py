"""A small Feast repository over any of the three online stores, and a redis-server of its own."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ml.features.feast_import import light_import

with light_import():
    from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig
    from feast.types import (
        Array,
        Bool,
        Bytes,
        Decimal,
        Float32,
        Float64,
        Int32,
        Int64,
        Json,
        Map,
        Set,
        String,
        UnixTimestamp,
        Uuid,
    )
    from feast.value_type import ValueType

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
EMBEDDED = "ml.features.feast_online.EmbeddedOnlineStore"
ENGINE = "ml.features.feast_engine.EmbeddedComputeEngine"
TYPES: Mapping[str, Any] = {
    "float32": Float32,
    "float64": Float64,
    "int32": Int32,
    "int64": Int64,
    "flag": Bool,
    "text": String,
    "raw": Bytes,
    "instant": UnixTimestamp,
    "float32s": Array(Float32),
    "float64s": Array(Float64),
    "int32s": Array(Int32),
    "int64s": Array(Int64),
    "flags": Array(Bool),
    "texts": Array(String),
    "raws": Array(Bytes),
    "instants": Array(UnixTimestamp),
    "text_set": Set(String),
    "json": Json,
    "map": Map,
    "uuid": Uuid,
    "decimal": Decimal,
}
KEYS = {"hotel_id": (String, ValueType.STRING), "id": (Int64, ValueType.INT64)}
VIEWS = {"by_text": ("hotel_id",), "by_number": ("id",), "by_both": ("hotel_id", "id")}


class Repo:
    """A repository with views keyed by text, by a number and by both, each with two numbers; and one of every type."""

    def __init__(self, root: Path, online: Mapping[str, Any], *, engine: str | None = None) -> None:
        self.root = root
        config: dict[str, Any] = {
            "project": "test",
            "provider": "local",
            "registry": str(root / "registry.db"),
            "offline_store": {"type": "duckdb"},
            "online_store": dict(online),
            "entity_key_serialization_version": 3,
        }
        if engine:
            config["batch_engine"] = {"type": engine}
        self.feast = FeatureStore(config=RepoConfig(**config, repo_path=root))
        self.keys = {name: Entity(name=name, join_keys=[name], value_type=kind) for name, (_, kind) in KEYS.items()}
        numbers = {"a": Float32, "b": Int64}
        self.views = {name: self._view(name, keys, numbers) for name, keys in VIEWS.items()}
        self.views["typed"] = self._view("typed", ("id",), TYPES)
        self.feast.apply([*self.keys.values(), *self.views.values()])

    def push(
        self, view: str, rows: Sequence[Mapping[str, Any]], *, at: datetime = NOON, created: datetime | None = None
    ) -> None:
        """Write rows through Feast's own API; `at` and `created` where a row does not say otherwise."""
        frame = pd.DataFrame([{"event_timestamp": at, "created": created or at, **row} for row in rows])
        self.feast.write_to_online_store(view, frame)

    def read(
        self, view: str, keys: Sequence[Mapping[str, Any]], features: Sequence[str] = ("a", "b"), **options: Any
    ) -> Any:
        """Feast's answer."""
        return self.feast.get_online_features([f"{view}:{name}" for name in features], [*map(dict, keys)], **options)

    def land(self, view: str, table: pa.Table) -> None:
        """Make a table the view's offline source."""
        pq.write_table(table, self.root / f"{view}.parquet")

    def materialize(self, view: str, first: datetime, last: datetime) -> None:
        """From the offline source into the store."""
        self.feast.materialize(first, last, [view])

    def serve(self, name: str, *views: str) -> Any:
        """A feature service over views."""
        service = FeatureService(name=name, features=[self.views[view] for view in views])
        self.feast.apply([service])
        return service

    def withdraw(self, view: str) -> None:
        """Take a view out of the registry, and its rows out of the store."""
        self.feast.apply([], objects_to_delete=[self.views[view]], partial=False)

    def _view(self, name: str, keys: Sequence[str], features: Mapping[str, Any]) -> Any:
        return FeatureView(
            name=name,
            entities=[self.keys[key] for key in keys],
            ttl=DAY,
            schema=[
                *(Field(name=key, dtype=KEYS[key][0]) for key in keys),
                *(Field(name=feature, dtype=dtype) for feature, dtype in features.items()),
            ],
            source=FileSource(
                name=name,
                path=str(self.root / f"{name}.parquet"),
                timestamp_field="event_timestamp",
                created_timestamp_column="created",
            ),
        )


def why_no_redis() -> str | None:
    """What is missing for tests against Redis; None if nothing is."""
    if shutil.which("redis-server") is None:
        return "no redis-server on PATH (Debian: apt-get install redis-server)"
    if importlib.util.find_spec("redis") is None:
        return "the Python package redis, which Feast's Redis store needs, is not installed"
    return None


@contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    """A redis-server on loopback that keeps nothing; yields its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait(10)


def _wait_for(port: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"redis-server does not answer on port {port}")
