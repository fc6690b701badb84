"""A month of a large market on a Spark cluster of this machine, beside DuckDB in one process on the same files.

Written first: the opportunities, clicks and bookings of 30 days. Then each engine computes the view hotel_traffic of every day of the month, and
the training set of the month's clicks with these features as known at each. Spark is a standalone cluster: a master, two workers of one
core and bounded memory. Feature rows have to be equal in every bit, and so the training rows of a sample of hotels, or the
benchmark fails.

    python -m benchmarks.spark_month --json
    python -m benchmarks.spark_month --rows 2000000          # to see that it works
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks.common import ROOT, Figure, run, stopwatch
from benchmarks.feature_engines import DAY, write_market
from benchmarks.spark_cluster import cluster

if TYPE_CHECKING:
    from ml.lake.lake import Lake

ROWS = 200_000_000
DAYS = 30
WORKERS, WORKER_MEMORY, EXECUTOR_MEMORY, DRIVER_MEMORY = 2, "4g", "3g", "3g"
DUCKDB_MEMORY = "6GB"
SAMPLED_HOTELS = "h000"
"""The training rows of hotels whose names begin so are compared: one in two hundred."""
LIMIT_MB = 16_000.0
"""Driver, its Java, two executors and the workers that start them: half of it heaps, the rest Java's own and Arrow."""


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """Write the month, then both engines, each in a process of its own."""
    with TemporaryDirectory(prefix="bidwright-benchmark-", dir=given.scratch) as folder:
        home = Path(folder)
        sys.stderr.write(f"writing {given.rows:,} opportunities\n")
        with stopwatch() as wrote:
            write_market(home, given.rows, days=DAYS)
        disk = sum(file.stat().st_size for file in home.rglob("*.parquet"))
        sys.stderr.write(f"written in {wrote[0]:.0f} s: {disk / 1e9:.1f} GB\n")
        duckdb = _in_child("duckdb", home, "", [])
        sys.stderr.write(f"DuckDB: {duckdb}\n")
        with cluster(home, workers=WORKERS, memory=WORKER_MEMORY) as (master, workers):
            spark = _in_child("spark", home, master, workers)
        sys.stderr.write(f"Spark: {spark}\n")
    for what in ("features", "feature_rows", "sample", "sampled_rows", "training_rows"):
        if duckdb[what] != spark[what]:
            raise SystemExit(f"{what} differ: DuckDB {duckdb[what]}, Spark {spark[what]}")
    return {
        "opportunities": Figure(float(given.rows), "rows on disk"),
        "disk": Figure(round(disk / 1e9, 2), "GB"),
        "features": Figure(spark["feature_seconds"], "s, Spark; peer DuckDB", peer=duckdb["feature_seconds"]),
        "feature_rows": Figure(float(spark["feature_rows"]), "rows, equal in every bit"),
        "training_set": Figure(spark["training_seconds"], "s, Spark; peer DuckDB", peer=duckdb["training_seconds"]),
        "training_rows": Figure(float(spark["training_rows"]), "rows"),
        "sampled_rows": Figure(float(spark["sampled_rows"]), "training rows, equal"),
        "peak_memory": Figure(
            spark["peak_mb"], "MB, Spark's processes; peer DuckDB", peer=duckdb["peak_mb"], limit=LIMIT_MB
        ),
    }


def _lake(home: Path, master: str) -> Lake:
    from ml.lake.blobs import open_blobs
    from ml.lake.compute import Compute
    from ml.lake.lake import Lake

    options = {
        "spark.driver.memory": DRIVER_MEMORY,
        "spark.executor.memory": EXECUTOR_MEMORY,
        "spark.driver.maxResultSize": "2g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": "32",
    }
    compute = Compute("spark", spark_master=master, spark_options=options) if master else Compute(memory=DUCKDB_MEMORY)
    return Lake(open_blobs(str(home / "lake"), cache=home / "cache"), "benchmark", compute)


def _in_child(engine: str, home: Path, master: str, workers: list[int]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.spark_month", "--child", str(home), master, json.dumps(workers)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{engine} failed; what it said is above")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def child(home: Path, master: str, workers: list[int]) -> dict[str, Any]:
    """The month's features and training set with one engine, and what tells them apart."""
    import pyarrow.compute as pc

    from ml.features.build import build_days
    from ml.features.decisions import joined
    from ml.features.definitions import HOTEL_TRAFFIC
    from ml.features.engine import engine

    lake, month = _lake(home, master), [DAY - timedelta(days=n) for n in range(DAYS)]
    with stopwatch() as building:
        built = build_days(lake, [HOTEL_TRAFFIC], month)
    told = hashlib.sha256("".join(str(lake.digest(HOTEL_TRAFFIC.table, day)) for day in month).encode()).hexdigest()
    with stopwatch() as training, engine(lake) as opened:
        clicks = opened.read(lake.paths("clicks", month[-1], month[0]), "clicks")
        decision = clicks["known_at"].truncate("D").cast("timestamp('UTC', 6)")
        rows = clicks.select("click_id", "hotel_id", "partner", decision_at=decision)
        found = opened.to_pyarrow(joined(opened, lake, rows, views=[HOTEL_TRAFFIC], last=None))
    some = found.filter(pc.starts_with(found["hotel_id"], SAMPLED_HOTELS)).sort_by("click_id")
    return {
        "features": told,
        "feature_rows": built[HOTEL_TRAFFIC.name],
        "feature_seconds": round(building[0], 1),
        "training_rows": found.num_rows,
        "training_seconds": round(training[0], 1),
        "sample": hashlib.sha256(repr(some.select(sorted(some.column_names)).to_pylist()).encode()).hexdigest(),
        "sampled_rows": some.num_rows,
        "peak_mb": _peak_mb(workers),
    }


def _peak_mb(workers: list[int]) -> float:
    """Of this process, its Java, and the workers with their executors: the sum of each one's highest resident memory."""
    import psutil

    roots = [psutil.Process(), *(psutil.Process(pid) for pid in workers)]
    every = {process.pid for root in roots for process in (root, *root.children(recursive=True))}
    lines = [line for pid in every for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return round(sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000, 1)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=ROWS, help="opportunities in the month")
    parser.add_argument("--scratch", type=Path, default=None, help="folder for some 10 GB that go with the run")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))))
        sys.exit(0)
    sys.exit(run("spark_month", measure, arguments=_arguments))
