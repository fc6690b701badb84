"""Training sets: the point-in-time join of N decisions with N feature rows (20 features, N / 10 entities), as Arrow.

Ours (through the lake's engine, with both clocks and the view's ttl), stock Feast's DuckDB offline store, and DuckDB's own
ASOF JOIN on the same files, each in a process of its own; what comes out is compared row by row. Above 2 million rows Feast
is left out: it takes more memory than most machines have.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks.common import ROOT, Figure, median, run

if TYPE_CHECKING:
    import pyarrow as pa

    from ml.features.definitions import FeatureView
    from ml.lake.lake import Lake

ROWS, FEATURES, RUNS, FEAST_RUNS = 2_000_000, 20, 3, 1
FEAST_ROWS = 2_000_000
"""Stock Feast is asked for no more."""
DAY = date(2026, 1, 30)
END = datetime(2026, 1, 31, tzinfo=UTC)
TTL_DAYS = 3650
LIMITS = {2_000_000: (1.2, 1000.0), 10_000_000: (None, 4000.0)}
"""Seconds and MB that ours is to keep, by rows."""


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """Write the data, then every way to join them."""
    with TemporaryDirectory(prefix="bidwright-benchmark-") as home:
        _write(Path(home), given.rows)
        ours = [_in_child("ours", home) for _ in range(given.runs)]
        plain = [_in_child("asof", home) for _ in range(given.runs)]
        feast = [_in_child("feast", home) for _ in range(FEAST_RUNS)] if given.rows <= FEAST_ROWS else []
    found = [(each["rows"], each["fingerprint"]) for each in (*ours, *plain, *feast)]
    if len(set(found)) != 1:
        raise SystemExit(f"the rows differ: {found}")
    seconds, memory = LIMITS.get(given.rows, (None, None))
    return {
        "ours_seconds": _figure(ours, "seconds", "s", feast, seconds),
        "ours_cpu_seconds": _figure(ours, "cpu", "s", feast, None),
        "ours_peak_memory": _figure(ours, "peak_mb", "MB", feast, memory),
        "asof_seconds": _figure(plain, "seconds", "s", [], None),
        "asof_cpu_seconds": _figure(plain, "cpu", "s", [], None),
        "asof_peak_memory": _figure(plain, "peak_mb", "MB", [], None),
        "rows_equal": Figure(float(found[0][0]), "rows"),
    }


def _figure(ours: list[Any], key: str, unit: str, peer: list[Any], limit: float | None) -> Figure:
    values = tuple(each[key] for each in ours)
    theirs = median([each[key] for each in peer]) if peer else None
    return Figure(median(values), unit, peer=theirs, limit=limit, runs=values)


def _view() -> FeatureView:
    from ml.features.definitions import HOTEL_TRAFFIC, FeatureView
    from ml.features.measures import Measure

    measures = tuple(Measure(f"{n}", "float64", "", "", (), lambda own, _: own) for n in range(FEATURES))
    return FeatureView(
        name="history",
        meaning="numbers",
        entity=("id",),
        prefix="f",
        windows=(1,),
        measures=measures,
        facts=HOTEL_TRAFFIC.facts,
        tables=(),
        for_sources_with="bookings",
        ttl_days=TTL_DAYS,
    )


def _lake(home: Path) -> Lake:
    from ml.lake.blobs import open_blobs
    from ml.lake.compute import Compute
    from ml.lake.lake import Lake

    memory = os.environ.get("BIDWRIGHT_ENGINE_MEMORY", Compute().memory)
    return Lake(open_blobs(str(home / "lake"), cache=home / "cache"), "benchmark", Compute(memory=memory))


def _files(home: Path) -> tuple[Path, Path]:
    """Where the feature rows and the decisions lie."""
    lake = _lake(home)
    return home / "lake" / lake.key(_view().table, DAY), home / "labels.parquet"


def _write(home: Path, rows: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(1)
    features, labels = _files(home)
    features.parent.mkdir(parents=True)
    for path, names in ((features, _view().feature_names), (labels, ())):
        stamps = int(END.timestamp() * 1e6) - rng.integers(1, 30 * 86_400 * 10**6, rows)
        # Whole ids and instants may repeat among decisions, never among feature rows of one id.
        ids = rng.integers(0, rows // 10, rows)
        at = pa.array(stamps, pa.timestamp("us", tz="UTC"))
        columns: dict[str, Any] = {"id": pa.array(ids, pa.int64()), "event_timestamp": at}
        if names:
            columns["created_timestamp"] = at
        pq.write_table(pa.table(columns | {name: rng.standard_normal(rows, dtype=np.float32) for name in names}), path)


def _in_child(way: str, home: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.training_set", "--child", way, home]
    done = subprocess.run(command, capture_output=True, check=False, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{way} failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _ours(home: Path) -> pa.Table:
    from ml.features.decisions import joined
    from ml.features.engine import engine

    lake = _lake(home)
    with engine(lake) as opened:
        rows = opened.read([_files(home)[1]], "labels").rename(decision_at="event_timestamp")
        found = opened.to_pyarrow(joined(opened, lake, rows, views=[_view()], last=None))
    return found.rename_columns({"decision_at": "event_timestamp"})


def _asof(home: Path) -> pa.Table:
    import duckdb

    features, labels = (duckdb.read_parquet(str(path)) for path in _files(home))
    names = ", ".join(f"h.{name}" for name in _view().feature_names)
    features.create_view("features")
    labels.create_view("labels")
    return duckdb.sql(
        f"SELECT l.*, {names} FROM labels l ASOF LEFT JOIN features h "  # noqa: S608  (names of our own)
        "ON l.id = h.id AND l.event_timestamp >= h.event_timestamp"
    ).to_arrow_table()


def _feast(home: Path) -> Any:
    import pyarrow.parquet as pq
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.types import Float32

    features, labels = _files(home)
    repo = home / "feast"
    repo.mkdir(exist_ok=True)
    (repo / "feature_store.yaml").write_text(
        "project: peer\nprovider: local\nregistry: registry.db\noffline_store:\n  type: duckdb\n"
        "online_store:\n  type: sqlite\n  path: online.db\nentity_key_serialization_version: 3\n"
    )
    store = FeatureStore(repo_path=str(repo))
    entity = Entity(name="id", join_keys=["id"], value_type=ValueType.INT64)
    names = _view().feature_names
    source = FileSource(path=str(features), timestamp_field="event_timestamp")
    schema = [Field(name=name, dtype=Float32) for name in names]
    ttl = timedelta(days=TTL_DAYS)
    store.apply([entity, FeatureView(name="fv", entities=[entity], ttl=ttl, schema=schema, source=source)])
    frame = pq.read_table(labels).to_pandas()
    return lambda: store.get_historical_features(frame, [f"fv:{name}" for name in names]).to_arrow()


def _fingerprint(table: pa.Table) -> str:
    """Of the rows in any order: a hash of each, by its bits, and their sum."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    prime = np.uint64(0x9E3779B97F4A7C15)
    stamps = table["event_timestamp"].cast(pa.timestamp("us", tz="UTC")).cast("int64").to_numpy().astype(np.uint64)
    rows = table["id"].to_numpy().astype(np.uint64) * prime ^ stamps
    for name in _view().feature_names:
        bits = pc.fill_null(table[name].cast("float32"), 1e30).to_numpy().astype(np.float32)
        rows = (rows ^ bits.view(np.uint32).astype(np.uint64)) * prime
        rows ^= rows >> np.uint64(29)
    return f"{int(rows.sum()):016x}"


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return round(int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1000, 1)


def child(way: str, home: Path) -> dict[str, Any]:
    """One join in this process: wall and processor seconds, peak memory, and what came out."""
    import duckdb
    import ibis

    import ml.features.decisions  # noqa: F401  (imports are not part of the join)
    from ml.features.engine import engine

    duckdb.sql("SELECT 1").fetchall()
    if way == "ours":  # nor is what Ibis loads with its first query
        with engine(_lake(home)) as opened:
            opened.to_pyarrow(ibis.memtable({"one": [1]}))
    call = _feast(home) if way == "feast" else lambda: {"ours": _ours, "asof": _asof}[way](home)
    begin, cpu = time.perf_counter(), time.process_time()
    table = call()
    seconds, used = time.perf_counter() - begin, time.process_time() - cpu
    peak = _peak_mb()
    return {
        "seconds": round(seconds, 3),
        "cpu": round(used, 3),
        "peak_mb": peak,
        "rows": table.num_rows,
        "fingerprint": _fingerprint(table),
    }


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=ROWS, help="decisions, and as many feature rows")
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of ours and of the plain ASOF JOIN")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(sys.argv[2], Path(sys.argv[3]))))
        sys.exit(0)
    sys.exit(run("training_set", measure, arguments=_arguments))
