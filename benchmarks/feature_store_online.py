"""The figures of the online stores, and, run as a module, the processes that take them.

A process first materialises a tiny view, so that what Feast and its engines import is paid for, ours and stock alike.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.common import ROOT, Figure, median

FEATURES = [f"f{number}" for number in range(20)]
REFS = [f"view:{name}" for name in FEATURES]
READ = 50
END = datetime(2026, 1, 31, tzinfo=UTC)
DAY = timedelta(days=1)
STORES: Mapping[str, Mapping[str, Any]] = {
    "ours": {
        "online_store": {"type": "ml.features.feast_online.EmbeddedOnlineStore", "path": "online"},
        "batch_engine": {"type": "ml.features.feast_engine.EmbeddedComputeEngine"},
    },
    "sqlite": {"online_store": {"type": "sqlite", "path": "online.db"}},
    "redis": {"online_store": {"type": "redis"}},
}
Found = dict[str, float]


def online_store(given: argparse.Namespace) -> dict[str, Figure]:
    """Materialisation, a day's increment, size, reads through Feast and direct reads."""
    with TemporaryDirectory(prefix="bidwright-feature-store-") as folder, _redis(Path(folder)) as port:
        job = partial(_job, Path(folder), port)
        ours = [_fresh(job, "ours", given.entities) for _ in range(given.runs)]
        many = [
            job("materialise", "ours", given.many) | job("increment", "ours", given.many) for _ in range(given.runs)
        ]
        direct = [job("direct", "ours", given.many) for _ in range(given.runs)]
        kinds = ["sqlite", *(["redis"] if port else [])] if given.peer_runs else []
        peers = {kind: [_fresh(job, kind, given.entities) for _ in range(given.peer_runs)] for kind in kinds}
    figures = _beside("sqlite", ours, peers) | _beside("redis", ours, peers)
    if not peers:
        figures = _beside(None, ours, peers)
    plain: dict[str, tuple[str, Sequence[Found], float | None, str]] = {
        "materialise_large": ("seconds", many, 4.0, "s"),
        "materialise_large_cpu": ("cpu_seconds", many, None, "s of processor"),
        "materialise_large_peak": ("peak_mb", many, None, "MB"),
        "increment": ("increment_seconds", many, 0.5, "s"),
        "increment_cpu": ("increment_cpu_seconds", many, None, "s of processor"),
        "bytes_per_entity_large": ("bytes_per_entity", many, 150.0, "bytes"),
        "bytes_per_entity_after_another_full_day": ("bytes_after_second", ours, None, "bytes"),
        "get_online_features_p99": ("online_p99_ms", ours, None, "ms"),
        "get_online_features_as_protobuf": ("online_proto_ms", ours, None, "ms"),
    }
    figures |= {name: _figure(runs, key, limit, unit) for name, (key, runs, limit, unit) in plain.items()}
    limits = {"direct_p50": 20.0, "direct_p99": 60.0}
    for key in ("direct_p50", "direct_p99", "direct_text_p50", "direct_text_p99", "prepared_p50", "prepared_p99"):
        peer = "memmap_" + key.rsplit("_", 1)[1]
        figures[key] = _figure(ours, key, limits.get(key), "us", peer=median([found[peer] for found in ours]))
    for key in ("direct_p50", "direct_p99"):
        figures[f"{key}_large"] = _figure(direct, key, None, "us")
    return figures


def _fresh(job: Callable[..., Found], kind: str, entities: int) -> Found:
    found = job("materialise", kind, entities) | job("online", kind, entities)
    return found | job("direct", kind, entities) | job("again", kind, entities) if kind == "ours" else found


def _beside(peer: str | None, ours: Sequence[Found], peers: Mapping[str, Sequence[Found]]) -> dict[str, Figure]:
    """The figures that a stock store has too."""
    if peer is not None and peer not in peers:
        return {}
    shared: dict[str, tuple[str, float | None, str]] = {
        "materialise": ("rows_per_s", 400_000.0, "rows/s"),
        "materialise_cpu": ("cpu_seconds", None, "s of processor"),
        "materialise_peak": ("peak_mb", 600.0, "MB"),
        "bytes_per_entity": ("bytes_per_entity", 150.0, "bytes"),
        "get_online_features": ("online_p50_ms", 0.6, "ms"),
    }
    found = {}
    for name, (key, limit, unit) in shared.items():
        theirs = median([each[key] for each in peers[peer]]) if peer else None
        found[f"{name}_beside_{peer}" if peer else name] = _figure(ours, key, limit, unit, peer=theirs)
    return found


def _figure(runs: Sequence[Found], key: str, limit: float | None, unit: str, *, peer: float | None = None) -> Figure:
    values = [found[key] for found in runs]
    digits = 1 if unit in {"rows/s", "MB", "bytes", "us"} else 3
    rounded = None if peer is None else round(peer, digits)
    return Figure(round(median(values), digits), unit, rounded, limit, tuple(round(value, digits) for value in values))


def _job(folder: Path, port: int, name: str, kind: str, entities: int) -> Found:
    """One measurement in its own process."""
    arguments = [str(folder), str(port), name, kind, str(entities)]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
    }
    command = [sys.executable, "-m", "benchmarks.feature_store_online", *arguments]
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: Found = json.loads(run.stdout.splitlines()[-1])
    return found


@contextmanager
def _redis(folder: Path) -> Iterator[int]:
    """A redis-server; yields its port, 0 where there is none to be had."""
    if shutil.which("redis-server") is None or importlib.util.find_spec("redis") is None:
        yield 0
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        server.terminate()
        server.wait(10)


def _client(port: int) -> Any:
    return importlib.import_module("redis").Redis(port=port)


class Repo:
    """A Feast repository over a store, with its views `view` and `tiny`."""

    def __init__(self, folder: Path, port: int, kind: str, entities: int, *, fresh: bool) -> None:
        from ml.features.feast_import import light_import

        with light_import():
            from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
            from feast.types import Float32

        self.kind, self.entities, self.port = kind, entities, port
        self.root = folder / f"{kind}-{entities}"
        if fresh:
            shutil.rmtree(self.root, ignore_errors=True)
            self.root.mkdir()
        settings = {name: dict(value) for name, value in STORES[kind].items()}
        if kind == "redis":
            settings["online_store"]["connection_string"] = f"127.0.0.1:{port}"
        self.feast = FeatureStore(
            config=RepoConfig(
                project="bench",
                provider="local",
                registry=str(self.root / "registry.db"),
                offline_store={"type": "duckdb"},
                entity_key_serialization_version=3,
                repo_path=self.root,
                **settings,
            )
        )
        if fresh:
            key = Entity(name="id", join_keys=["id"], value_type=ValueType.INT64)
            fields = [Field(name=name, dtype=Float32) for name in FEATURES]
            views = [
                FeatureView(
                    name=name,
                    entities=[key],
                    ttl=timedelta(days=3650),
                    schema=fields,
                    source=FileSource(
                        name=name, path=f"{self.root}/{name}-*.parquet", timestamp_field="event_timestamp"
                    ),
                )
                for name in ("view", "tiny")
            ]
            self.feast.apply([key, *views])

    def land(self, view: str, ids: Any, *, days_ago: int, seed: int) -> Any:
        """A file of rows for these entities, dated within a day."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rng = np.random.default_rng(seed)
        at = int((END - days_ago * DAY).timestamp() * 1e6) - rng.integers(0, 86_400 * 10**6, len(ids))
        columns = {"id": pa.array(ids, pa.int64()), "event_timestamp": pa.array(at, pa.timestamp("us", tz="UTC"))}
        columns |= {name: pa.array(rng.standard_normal(len(ids), dtype=np.float32)) for name in FEATURES}
        table = pa.table(columns)
        pq.write_table(table, self.root / f"{view}-{days_ago}.parquet")
        return table

    def materialise(self, view: str, first: datetime, last: datetime) -> tuple[float, float]:
        """Seconds that Feast took for it, and those of its processors, which other work on the machine changes less."""
        begin, busy = time.perf_counter(), time.process_time()
        with redirect_stdout(StringIO()):
            self.feast.materialize(first, last, [view])
        return time.perf_counter() - begin, time.process_time() - busy

    def warm_up(self) -> None:
        """Pay for what is imported and opened on first use."""
        self.land("tiny", np.arange(10), days_ago=1, seed=0)
        self.materialise("tiny", END - 31 * DAY, END)

    def check(self, table: Any, *, rows: int = 200) -> None:
        """What is served is what lies in the table."""
        places = random.Random(0).sample(range(len(table)), rows)  # noqa: S311
        taken = table.take(places)
        answer = self.feast.get_online_features(REFS, [{"id": key} for key in taken["id"].to_pylist()]).to_dict()
        for name in FEATURES:
            if not np.array_equal(np.array(answer[name], dtype=np.float32), taken[name].to_numpy()):
                raise AssertionError(f"{name} is served otherwise than it was written")

    def size(self) -> int:
        """Bytes that the store holds."""
        if self.kind == "redis":
            return int(_client(self.port).info("memory")["used_memory"])
        return sum(path.stat().st_size for path in self.root.glob("online*/**/*") if path.is_file()) + sum(
            path.stat().st_size for path in self.root.glob("online.db*")
        )


def materialise(folder: Path, port: int, kind: str, entities: int) -> Found:
    """All entities, into a store that does not hold them yet."""
    import pyarrow.parquet as pq

    if kind == "redis":
        _client(port).flushall()
    repo = Repo(folder, port, kind, entities, fresh=True)
    repo.warm_up()
    _in_a_child(partial(repo.land, "view", np.arange(entities), days_ago=2, seed=1))
    before = repo.size()
    seconds, busy = repo.materialise("view", END - 31 * DAY, END)
    peak = _peak_mb()
    repo.check(pq.read_table(repo.root / "view-2.parquet"))
    grown = repo.size() - before
    found = {"seconds": seconds, "cpu_seconds": busy, "rows_per_s": entities / seconds, "peak_mb": peak}
    return found | {"bytes_per_entity": grown / entities}


def increment(folder: Path, port: int, kind: str, entities: int) -> Found:
    """A day on which 5 % of the entities change."""
    repo = Repo(folder, port, kind, entities, fresh=False)
    repo.warm_up()
    changed = np.sort(np.random.default_rng(2).choice(entities, entities // 20, replace=False))
    table = repo.land("view", changed, days_ago=0, seed=3)
    seconds, busy = repo.materialise("view", END - DAY, END)
    repo.check(table)
    return {"increment_seconds": seconds, "increment_cpu_seconds": busy}


def again(folder: Path, port: int, kind: str, entities: int) -> Found:
    """A day on which every entity changes; the former files are kept to fall back to."""
    repo = Repo(folder, port, kind, entities, fresh=False)
    table = repo.land("view", np.arange(entities), days_ago=1, seed=4)
    repo.materialise("view", END - 2 * DAY, END - DAY)
    repo.check(table)
    return {"bytes_after_second": repo.size() / entities}


def online(folder: Path, port: int, kind: str, entities: int) -> Found:
    """`get_online_features(..).to_dict()` of READ entities, in milliseconds."""
    repo = Repo(folder, port, kind, entities, fresh=False)
    draw = random.Random(3)  # noqa: S311

    def pick() -> list[dict[str, int]]:
        return [{"id": key} for key in draw.sample(range(entities), READ)]

    p50, p99 = _latencies(lambda rows: repo.feast.get_online_features(REFS, rows).to_dict(), pick, times=500)
    proto, _ = _latencies(lambda rows: repo.feast.get_online_features(REFS, rows).proto, pick, times=200)
    return {"online_p50_ms": 1e3 * p50, "online_p99_ms": 1e3 * p99, "online_proto_ms": 1e3 * proto}


def direct(folder: Path, port: int, kind: str, entities: int) -> Found:
    """A matrix of READ entities x 20, in microseconds: whole numbers and text for keys, and a memmap with a dict."""
    from ml.features.online.direct import DirectReader
    from ml.features.online.reader import Reader

    repo = Repo(folder, port, kind, entities, fresh=False)
    view = repo.feast.get_feature_view("view")
    store = repo.feast._get_provider().online_store
    reader = DirectReader(Reader(store.folder(repo.feast.config, view)), FEATURES)
    draw = random.Random(4)  # noqa: S311
    pick = partial(draw.sample, range(entities), READ)
    found = _named("direct", _latencies(reader.read, pick, times=5000))
    prepared = [reader.prepare(pick()) for _ in range(200)]
    found |= _named("prepared", _latencies(lambda keys: keys.read(), partial(draw.choice, prepared), times=5000))
    text = _text_reader(folder / f"text-{entities}", entities)
    names = partial(lambda: [f"hotel-{key:07d}" for key in pick()])
    found |= _named("direct_text", _latencies(text.read, names, times=5000))
    matrix = np.memmap(repo.root / "limit.f32", np.float32, "w+", shape=(entities, len(FEATURES)))
    rows = {key: key for key in range(entities)}
    return found | _named("memmap", _latencies(lambda keys: matrix[[rows[key] for key in keys]], pick, times=5000))


def _text_reader(folder: Path, entities: int) -> Any:
    import pyarrow as pa

    from ml.features.online.direct import DirectReader
    from ml.features.online.keys import words_of_arrow
    from ml.features.online.reader import Reader
    from ml.features.online.schema import NEVER, Column, Dense, Rows, Schema
    from ml.features.online.writer import upsert

    keys = pa.array([f"hotel-{key:07d}" for key in range(entities)])
    rng, times = np.random.default_rng(5), np.full(entities, 1, dtype=np.int64)
    columns = {name: Dense(rng.standard_normal(entities, dtype=np.float32)) for name in FEATURES}
    schema = Schema((("id", "text"),), tuple(Column(name, "f4", "FLOAT") for name in FEATURES))
    upsert(folder, schema, Rows(words_of_arrow(("text",), [keys], names=["id"]), times, times * NEVER, columns))
    return DirectReader(Reader(folder), FEATURES)


def _latencies(call: Callable[[Any], Any], pick: Callable[[], Any], *, times: int) -> tuple[float, float]:
    """Median and 99th percentile in seconds, each call on its own choice; the first twentieth does not count."""
    found = []
    for _ in range(times + times // 20):
        keys = pick()
        begin = time.perf_counter()
        call(keys)
        found.append(time.perf_counter() - begin)
    counted = np.array(found[times // 20 :])
    return float(np.percentile(counted, 50)), float(np.percentile(counted, 99))


def _named(name: str, found: tuple[float, float]) -> Found:
    return {f"{name}_p50": 1e6 * found[0], f"{name}_p99": 1e6 * found[1]}


def _in_a_child(act: Callable[[], Any]) -> None:
    """Make data in a fork, so that the memory it takes is not measured."""
    child = os.fork()
    if child == 0:
        act()
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise RuntimeError("the data could not be made")


def _peak_mb() -> float:
    """The most memory that this process ever held."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


JOBS = {"materialise": materialise, "increment": increment, "again": again, "online": online, "direct": direct}

if __name__ == "__main__":
    print(json.dumps(JOBS[sys.argv[3]](Path(sys.argv[1]), int(sys.argv[2]), sys.argv[4], int(sys.argv[5]))))
