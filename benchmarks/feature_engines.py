"""Spark against DuckDB: the feature view hotel_traffic of one market day from N rows of 28 days, and where the two cross.

Each engine in a process of its own, on the same Parquet files; Spark runs in this machine (`local[2]`), is started before the
clock, and has 6 GB. The rows that come out are equal to the last bit, or the benchmark fails. Peak memory is of the process
and of its Java.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common import ROOT, Figure, run, stopwatch

ROWS = 20_000_000
DAYS, DAY = 28, date(2026, 1, 30)
HOTELS, PARTNERS = 20_000, 3
CLICK_SHARE, BOOKING_SHARE = 0.05, 0.03
OPTIONS = {"spark.driver.memory": "6g", "spark.sql.shuffle.partitions": "8"}
ENGINES = ("duckdb", "spark")


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """A hundredth, a tenth and the whole of the rows, with each engine."""
    figures, seconds = {}, {}
    sizes = [given.rows // 100, given.rows // 10, given.rows]
    for rows in sizes:
        with TemporaryDirectory(prefix="bidwright-benchmark-") as home:
            write_market(Path(home), rows)
            found = {name: _in_child(name, home) for name in ENGINES}
        if found["duckdb"]["digest"] != found["spark"]["digest"]:
            raise SystemExit(f"the engines' rows differ at {rows:,} rows")
        sys.stderr.write(f"{rows:,} rows: {found}\n")
        ours, theirs = found["duckdb"], found["spark"]
        figures[f"{rows}_seconds"] = Figure(ours["seconds"], "s, DuckDB; peer Spark", peer=theirs["seconds"])
        figures[f"{rows}_peak_memory"] = Figure(ours["peak_mb"], "MB, DuckDB; peer Spark", peer=theirs["peak_mb"])
        seconds[rows] = (ours["seconds"], theirs["seconds"])
    return figures | _crossing(seconds, sizes)


def _crossing(seconds: dict[int, tuple[float, float]], sizes: list[int]) -> dict[str, Figure]:
    """Both as fixed + per row x rows, through the two largest sizes: the rows at which they take as long, if any."""
    less, most = sizes[-2:]
    slopes = [(seconds[most][n] - seconds[less][n]) / (most - less) for n in (0, 1)]
    fixed = [seconds[most][n] - slopes[n] * most for n in (0, 1)]
    found = {
        "per_million_rows": Figure(slopes[0] * 1e6, "s, DuckDB; peer Spark", peer=slopes[1] * 1e6),
        # On paper: executors share the work per row and nothing else; what is fixed stays.
        "cluster_cores_to_match": Figure(2 * slopes[1] / slopes[0], "cores, against DuckDB on 2"),
    }
    if slopes[1] < slopes[0]:
        found["crossing"] = Figure((fixed[1] - fixed[0]) / (slopes[0] - slopes[1]), "rows")
    return found


def write_market(home: Path, rows: int, *, days: int = DAYS) -> None:
    """The columns that the view reads, by market day, up to DAY; `rows` opportunities in all."""
    import numpy as np
    import pyarrow as pa

    from ml.core.units import day_start

    lake, rng, each = _lake(home, "duckdb"), np.random.default_rng(1), rows // days
    hotels = np.array([f"h{n:05d}" for n in range(HOTELS)], dtype=object)
    partners = np.array([f"p{n}" for n in range(PARTNERS)], dtype=object)
    for day in (DAY - timedelta(days=n) for n in range(days)):
        start = int(day_start(day).timestamp() * 1e6)

        def known(many: int, start: int = start) -> Any:
            return pa.array(start + rng.integers(0, 86_400 * 10**6, many), pa.timestamp("us", tz="UTC"))

        def keys(many: int) -> dict[str, Any]:
            hotel, partner = rng.integers(0, HOTELS, many), rng.integers(0, PARTNERS, many)
            return {"hotel_id": pa.array(hotels[hotel]), "partner": pa.array(partners[partner])}

        lake.write(
            "opportunities", day, pa.table({**keys(each), "shown": rng.random(each) < 0.9, "known_at": known(each)})
        )
        clicks = int(each * CLICK_SHARE)
        ids = pa.array([f"{day}-{n}" for n in range(clicks)], pa.string())
        cpc = pa.array(rng.integers(100_000, 2_000_000, clicks), pa.int64())
        lake.write(
            "clicks", day, pa.table({"click_id": ids, **keys(clicks), "cpc_micros": cpc, "known_at": known(clicks)})
        )
        booked = ids[: int(clicks * BOOKING_SHARE)]
        lake.write(
            "bookings", day, pa.table({"booking_id": booked, "click_id": booked, "known_at": known(len(booked))})
        )


def _lake(home: Path, engine: str) -> Any:
    from ml.lake.blobs import open_blobs
    from ml.lake.compute import Compute
    from ml.lake.lake import Lake

    compute = Compute("spark", spark_options=OPTIONS) if engine == "spark" else Compute(memory="6GB")
    return Lake(open_blobs(str(home / "lake"), cache=home / "cache"), "benchmark", compute)


def _in_child(engine: str, home: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.feature_engines", "--child", engine, home]
    done = subprocess.run(command, capture_output=True, check=False, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{engine} failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def child(engine: str, home: Path) -> dict[str, Any]:
    """Build the day; its digest says what came out."""
    import ibis

    from ml.features.build import build_days
    from ml.features.definitions import HOTEL_TRAFFIC
    from ml.features.engine import engine as open_engine

    lake = _lake(home, engine)
    with open_engine(lake) as opened:
        opened.to_pyarrow(ibis.memtable({"one": [1]}))
    with stopwatch() as seconds:
        build_days(lake, [HOTEL_TRAFFIC], [DAY])
    return {"seconds": round(seconds[0], 2), "peak_mb": _peak_mb(), "digest": lake.digest(HOTEL_TRAFFIC.table, DAY)}


def _peak_mb() -> float:
    """Of this process and of its children that still run, which is Java."""
    import psutil

    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    lines = [line for each in processes for line in Path(f"/proc/{each.pid}/status").read_text().splitlines()]
    return round(sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000, 1)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=ROWS, help="opportunities in all; a tenth and a hundredth before")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(sys.argv[2], Path(sys.argv[3]))))
        sys.exit(0)
    sys.exit(run("feature_engines", measure, arguments=_arguments))
