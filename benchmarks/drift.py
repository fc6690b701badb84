"""Drift on all rows: 30 numeric and 10 categorical columns a side, beside stock Evidently on the same files in the same run.

Ours is what the daily check does with rows that lie in the lake: ranges from a sample, one pass of DuckDB over all rows of both
sides, then every window against its references with null distributions and false discoveries. The reference's rows fall on eight
weeks, the current ones on the week after them. Five numbers and two labels have moved. Each measurement is a process of its own.

The peer takes minutes and gigabytes on a million rows: it is asked for so many only with `--full`, and stopped at `--limit`.

    python -m benchmarks.drift --json
    python -m benchmarks.drift --full --json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common import ROOT, Figure, median, run

ROWS = 1_000_000
PEER_ROWS = (10_000, 100_000)
NUMBERS, LABELS = tuple(f"n{i}" for i in range(30)), tuple(f"c{i}" for i in range(10))
MOVED = frozenset({*NUMBERS[:5], *LABELS[:2]})
REFERENCE_DAYS, CURRENT_DAYS = 56, 7
RUNS = 3
SECONDS, MEMORY_MIB, CHECK_SECONDS = 5.0, 1024.0, 15.0
LIMIT_S = 600
SAMPLE_DAYS = 8
HISTORY = 60


def measure(given: argparse.Namespace) -> Mapping[str, Figure]:
    """Ours at the full size and at the peer's sizes, the peer at its own, then a whole daily check."""
    figures: dict[str, Figure] = {}
    sizes = sorted({*PEER_ROWS, given.rows})
    asked = {*PEER_ROWS, *([given.rows] if given.full else [])}
    with TemporaryDirectory(prefix="bidwright-drift-") as folder:
        for rows in sizes:
            _in_child("data", folder, rows)
            ours = [_in_child("ours", folder, rows) for _ in range(RUNS)]
            peer = _in_child("evidently", folder, rows, limit=given.limit) if rows in asked else None
            figures |= _figures(rows, ours, peer, full_size=rows == ROWS)
    if given.check:
        with TemporaryDirectory(prefix="bidwright-drift-") as folder:
            _in_child("market", folder, HISTORY)
            checks = [_in_child("check", folder, HISTORY) for _ in range(RUNS)]
        walls = tuple(one["wall"] for one in checks)
        figures["daily_check"] = Figure(median(walls), "s", limit=CHECK_SECONDS, runs=walls)
        figures["daily_check_peak_memory"] = Figure(max(one["peak_mib"] for one in checks), "MiB")
    return figures


def _figures(
    rows: int, ours: list[dict[str, Any]], peer: dict[str, Any] | None, *, full_size: bool
) -> dict[str, Figure]:
    seconds = tuple(one["seconds"] for one in ours)
    theirs = peer or {}
    if theirs.get("stopped"):
        # What is known is that it takes longer than this.
        theirs = {"seconds": theirs["stopped"]}
    return {
        f"seconds_{rows}": Figure(
            median(seconds), "s", peer=theirs.get("seconds"), limit=SECONDS if full_size else None, runs=seconds
        ),
        f"cpu_{rows}": Figure(median([one["cpu"] for one in ours]), "s", peer=theirs.get("cpu")),
        f"peak_memory_{rows}": Figure(
            max(one["peak_mib"] for one in ours),
            "MiB",
            peer=theirs.get("peak_mib"),
            limit=MEMORY_MIB if full_size else None,
        ),
        f"moved_found_{rows}": Figure(float(ours[0]["moved"]), "columns", peer=theirs.get("moved"), limit=len(MOVED)),
        f"false_alarms_{rows}": Figure(float(ours[0]["false"]), "columns", peer=theirs.get("false"), limit=0.0),
    }


def _in_child(what: str, folder: str, rows: int, *, limit: float | None = None) -> dict[str, Any]:
    """One measurement in a process of its own: its figures, `wall` with imports, and its peak; `stopped` when over time."""
    command = [sys.executable, "-m", "benchmarks.drift", "--child", what, folder, str(rows)]
    began = time.perf_counter()
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"stopped": limit}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return {**found, "wall": round(time.perf_counter() - began, 3)}


def child(what: str, folder: Path, rows: int) -> dict[str, Any]:
    """What a child process measures."""
    work = {"data": _write, "ours": _ours, "evidently": _evidently, "market": _market, "check": _check}[what]
    found = work(folder, rows)
    return {**found, "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)}


def _days(folder: Path, rows: int, side: str) -> list[Path]:
    return sorted((folder / str(rows) / side).glob("*.parquet"))


def _write(folder: Path, rows: int) -> dict[str, Any]:
    """A Parquet file a day, as in the lake."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    for number, (side, first, count) in enumerate(
        (("reference", 0, REFERENCE_DAYS), ("current", REFERENCE_DAYS, CURRENT_DAYS))
    ):
        place = folder / str(rows) / side
        place.mkdir(parents=True)
        ends = np.linspace(0, rows, count + 1).astype(np.int64)
        for day in range(count):
            rng = np.random.default_rng([rows, number, day])
            size = int(ends[day + 1] - ends[day])
            columns: dict[str, Any] = {"day": pa.array(np.full(size, first + day), pa.int32())}
            for name in NUMBERS:
                columns[name] = rng.standard_normal(size) + (0.3 * number if name in MOVED else 0.0)
            names = pa.array([f"v{n}" for n in range(12)])
            for name in LABELS:
                weight = np.arange(1, 13) ** (0.5 * number if name in MOVED else 0.0)
                codes = pa.array(rng.choice(12, size, p=weight / weight.sum()), pa.int32())
                columns[name] = pa.DictionaryArray.from_arrays(codes, names).cast(pa.string())
            pq.write_table(pa.table(columns), place / f"{first + day:03}.parquet")
    return {}


def _ours(folder: Path, rows: int) -> dict[str, Any]:
    """From the files to every column's verdict; imports are not timed, as they are not for the peer."""
    import ibis
    import numpy as np
    import pyarrow.parquet as pq

    from ml.features.engine import DuckDbEngine
    from ml.features.tally import ranges, tally
    from monitoring.discovery import discoveries
    from monitoring.histograms import of_tally
    from monitoring.windows import compared, decided, score, with_nulls

    engine = DuckDbEngine(ibis.duckdb.connect(memory_limit="512MB"))
    began, cpu = time.perf_counter(), time.process_time()
    files = [*_days(folder, rows, "reference"), *_days(folder, rows, "current")]
    some = files[:: max(1, len(files) // SAMPLE_DAYS)]
    parts = [pq.read_table(file, columns=list(NUMBERS)).slice(0, 5_000) for file in some]
    sample = {name: np.concatenate([part[name].to_numpy() for part in parts]) for name in NUMBERS}
    counted = tally(
        engine,
        engine.read(files, "rows"),
        day="day",
        first=0,
        days=REFERENCE_DAYS + CURRENT_DAYS,
        numbers=ranges(sample),
        labels=LABELS,
    )
    aparts = with_nulls([compared(of_tally(found)) for found in counted.values()])
    alone = [score(apart) for apart in aparts]
    together = discoveries([one.p if one.p is not None else 1.0 for one in alone], [1.0] * len(alone))
    drifted = {name for name, one, found in zip(counted, alone, together, strict=True) if decided(one, found).exceeds}
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    total = sum(int(found.counts.sum()) for found in counted.values())
    if total != 2 * rows * (len(NUMBERS) + len(LABELS)):
        raise SystemExit(f"{total} values were counted")
    found = {"moved": len(drifted & MOVED), "false": len(drifted - MOVED)}
    return {"seconds": round(seconds, 3), "cpu": round(cpu, 3), **found}


def _evidently(folder: Path, rows: int) -> dict[str, Any]:
    """Stock Evidently: DataDriftPreset as it comes, with its HTML; imports and reading the files are not timed."""
    import pandas as pd
    import pyarrow.parquet as pq

    from monitoring.drift import TELEMETRY_OFF, THRESHOLD

    os.environ.update(TELEMETRY_OFF)
    # Evidently 0.7.23 and its plots use names that numpy and pandas have deprecated.
    warnings.simplefilter("ignore")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    wanted = [*NUMBERS, *LABELS]
    reference, current = (
        pd.concat([pq.ParquetFile(file).read(columns=wanted).to_pandas() for file in _days(folder, rows, side)])
        for side in ("reference", "current")
    )
    began, cpu = time.perf_counter(), time.process_time()
    definition = DataDefinition(numerical_columns=list(NUMBERS), categorical_columns=list(LABELS))
    sides = (Dataset.from_pandas(frame.reset_index(drop=True), definition) for frame in (current, reference))
    snapshot = Report([DataDriftPreset()]).run(*sides)
    snapshot.get_html_str(as_iframe=False)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    told = json.loads(snapshot.json())["metrics"]
    # Above 1,000 rows its own methods are distances, and this is its threshold of both.
    drifted = {m["config"]["column"] for m in told if "column" in m["config"] and m["value"] >= THRESHOLD}
    found = {"moved": len(drifted & MOVED), "false": len(drifted - MOVED)}
    return {"seconds": round(seconds, 3), "cpu": round(cpu, 3), **found}


def _market(folder: Path, days: int) -> dict[str, Any]:
    """A simulated market of default size: a champion of its history, and a day after it that is not checked yet."""
    from datetime import timedelta

    from benchmarks.detection_world import crown
    from benchmarks.policy_regret import open_platform
    from ml import pipeline

    platform, clock = open_platform(folder, 7)
    first = platform.source.first_day()
    clock.day = first + timedelta(days=days - 2)
    pipeline.import_history(platform, first, clock.day)
    crown(platform, clock.day)  # whatever the gates say of it: a check without a champion does half of the work
    clock.day += timedelta(days=1)
    for step in (pipeline.ingest, pipeline.settle, pipeline.materialize):
        step(platform, clock.day)
    return {}


def _check(folder: Path, days: int) -> dict[str, Any]:
    """The daily check of the last day, as the task does it; nothing is imported for it before."""
    from datetime import timedelta

    from benchmarks.policy_regret import DayClock, settings_of
    from ml import pipeline
    from ml.platform import Platform

    clock = DayClock()
    platform = Platform(settings_of(folder, 7), clock)
    clock.day = platform.source.first_day() + timedelta(days=days - 1)
    found = pipeline.check_drift(platform, clock.day)
    return {"verdict": found["verdict"]}


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=ROWS, help="rows a side")
    parser.add_argument("--full", action="store_true", help="ask the peer for all rows too: minutes, and 3.5 GB")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds after which the peer is stopped")
    parser.add_argument("--no-check", dest="check", action="store_false", help="leave the daily check out")


def main(argv: list[str]) -> int:
    """The benchmark, or one of its children."""
    if argv[:1] == ["--child"]:
        what, folder, rows = argv[1:]
        print(json.dumps(child(what, Path(folder), int(rows))))
        return 0
    return run("drift", measure, arguments=_arguments, argv=argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
