"""What one retrain costs: wall time and peak memory of a candidate on the simulator, in a process of its own.

The peer of the fits is the logistic baseline on the same prepared rows.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common import ROOT, Figure, median, run, stopwatch

DAYS = 67
"""Market days imported: the 60 of the demo's history and the 7 that it runs."""

RUNS = 3


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """Import the days, then build the candidate of the last one several times, each in a fresh process."""
    with TemporaryDirectory(prefix="bidwright-benchmark-") as home:
        day = _import(Path(home), days=given.days)
        # A seed of its own makes each run a new version: a repeat would find its own bundle and stop early.
        runs = [_in_child(Path(home), day, seed=seed) for seed in range(RUNS)]
    figures = {
        "retrain": _figure(runs, "seconds", "s"),
        "peak_memory": _figure(runs, "peak_mib", "MiB"),
    }
    for name in runs[0]["fits"]:
        ours = [found["fits"][name]["ours"] for found in runs]
        peer = median([found["fits"][name]["peer"] for found in runs])
        figures[f"fit_{name}"] = Figure(median(ours), "s", peer=peer, runs=tuple(ours))
    return figures


def _figure(runs: list[dict[str, Any]], key: str, unit: str) -> Figure:
    values = [found[key] for found in runs]
    return Figure(median(values), unit, runs=tuple(values))


def _import(home: Path, *, days: int) -> date:
    """Fill a working folder; returns the last market day."""
    from ml.core.clock import SystemClock
    from ml.core.settings import load_settings
    from ml.core.units import days_between
    from ml.evaluation.tracking import prepare
    from ml.features.build import build_days, market_views
    from ml.market.ingest import ingest_range
    from ml.platform import Platform

    platform = Platform(load_settings(source="simulator", home=home), SystemClock())
    platform.db.migrate()
    prepare(platform.settings)
    first = platform.source.first_day()
    span = days_between(first, first + timedelta(days=days - 1))
    ingest_range(
        platform.source,
        platform.lake,
        platform.db,
        market=platform.market,
        days=span,
        at=platform.clock.now(),
        progress=None,
    )
    build_days(platform.lake, market_views(platform.lake).values(), span)
    return span[-1]


def _in_child(home: Path, day: date, *, seed: int) -> dict[str, Any]:
    """One retrain in a fresh process: its own words about it."""
    command = [sys.executable, "-m", "benchmarks.training", "--child", str(home), day.isoformat(), str(seed)]
    done = subprocess.run(command, capture_output=True, check=True, text=True, cwd=ROOT)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def child(home: Path, day: date, *, seed: int) -> dict[str, Any]:
    """Build the candidate, then time each fit alone; peak memory is of the candidate."""
    from ml.core.clock import SystemClock
    from ml.core.settings import load_settings
    from ml.models.candidate import build_candidate
    from ml.platform import Platform

    platform = Platform(load_settings(source="simulator", home=home, seed=seed), SystemClock())
    with stopwatch() as seconds:
        build_candidate(platform, day)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": round(seconds[0], 2), "peak_mib": round(peak), "fits": _fits(platform, day)}


def _fits(platform: Any, day: date) -> dict[str, dict[str, float]]:
    from ml.core.units import known_by
    from ml.models import PAIRS
    from ml.models.rows import training_rows
    from ml.models.training import prepare

    as_of = known_by(day - timedelta(days=platform.settings.holdout_days))
    found = {}
    rows = training_rows(platform, as_of=as_of, exclude_days=())
    for name in (name for name in rows if name in PAIRS):
        model, baseline = PAIRS[name]
        prepared = prepare(name, rows, as_of=as_of)
        with stopwatch() as ours:
            model.fit_prepared(prepared, seed=platform.settings.seed)
        with stopwatch() as peer:
            baseline.fit_prepared(prepared, seed=platform.settings.seed)
        found[name] = {"ours": round(ours[0], 3), "peer": round(peer[0], 3)}
    return found


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=int, default=DAYS, help="market days to import")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(Path(sys.argv[2]), date.fromisoformat(sys.argv[3]), seed=int(sys.argv[4]))))
        sys.exit(0)
    sys.exit(run("training", measure, arguments=_arguments))
