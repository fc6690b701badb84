"""What a market day costs, step by step, as the market grows: searches a day at a fixed number of hotels, and hotels at a fixed number of searches.

Each market is simulated, has some weeks of history, and then one day through the product's own steps, warm, in a process of its own.
Processor seconds are counted rather than seconds on the wall: they change little with what else the machine does. A slope is the
cost of a million further searches, or of a thousand further hotels, between the smallest and the largest market.

    python -m benchmarks.market_day --json
    python -m benchmarks.market_day --sizes 5000 10000 --hotels 240 --history 30
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common import ROOT, Figure, run

SIZES = (10_000, 20_000, 40_000)
HOTELS = (240, 960)
HISTORY = 35
"""Days: two windows of references, and enough bookings to train on."""
STEPS = ("ingest", "settle", "materialize", "check_drift", "publish_bids", "train", "judge")


def measure(given: argparse.Namespace) -> Mapping[str, Figure]:
    """Every size with the fewest hotels, then the first size with the others."""
    least, *others = given.hotels
    markets = [*((size, least) for size in given.sizes), *((given.sizes[0], hotels) for hotels in others)]
    found = {}
    for size, hotels in markets:
        sys.stderr.write(f"{size:,} searches a day, {hotels} hotels\n")
        found[size, hotels] = _in_child(size, hotels, given.history)
        sys.stderr.write(f"  {found[size, hotels]}\n")
    figures: dict[str, Figure] = {}
    for (size, hotels), costs in found.items():
        for name, cost in costs.items():
            figures[f"{name}_{size}_{hotels}"] = Figure(cost, _unit(name))
    first, last = found[markets[0]], found[given.sizes[-1], least]
    more = (given.sizes[-1] - given.sizes[0]) / 1e6
    for name in first if more else ():
        figures[f"{name}_per_million_searches"] = Figure(round((last[name] - first[name]) / more, 2), _unit(name))
    if others:
        wide, more = found[given.sizes[0], others[-1]], (others[-1] - least) / 1e3
        for name in first:
            figures[f"{name}_per_thousand_hotels"] = Figure(round((wide[name] - first[name]) / more, 2), _unit(name))
    return figures


def _unit(name: str) -> str:
    return {"peak": "MiB", "disk": "MB a day"}.get(name, "s of processor")


def _in_child(size: int, hotels: int, history: int) -> dict[str, float]:
    with TemporaryDirectory(prefix="bidwright-benchmark-") as home:
        command = [sys.executable, "-m", "benchmarks.market_day", "--child", home, str(size), str(hotels), str(history)]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def child(home: Path, size: int, hotels: int, history: int) -> dict[str, float]:
    """Processor seconds of each step of a day, highest resident memory, and bytes that the day leaves in the lake."""
    from benchmarks.policy_regret import open_platform
    from ml import pipeline

    platform, clock = open_platform(home, 7, simulator_opportunities_per_day=size, simulator_hotels=hotels)
    first = platform.source.first_day()
    clock.day = first + timedelta(days=history - 2)
    pipeline.import_history(platform, first, clock.day)
    pipeline.check_drift(platform, clock.day)
    costs: dict[str, float] = {}
    costs["train"] = _cost(lambda: pipeline.train(platform, clock.day))
    decided: dict[str, Any] = {}
    costs["judge"] = _cost(lambda: decided.update(pipeline.judge(platform, clock.day)))
    if not pipeline.promote(platform, clock.day, decision_id=decided["decision_id"])["moved"]:
        sys.stderr.write(f"  no champion: {decided['verdict']}; drift and publication are measured without one\n")
    else:
        pipeline.publish_bids(platform, clock.day)
    clock.day += timedelta(days=1)
    for step in (pipeline.ingest, pipeline.settle, pipeline.materialize, pipeline.check_drift, pipeline.publish_bids):
        costs[step.__name__] = _cost(lambda step=step: step(platform, clock.day))
    files = home.glob(f"lake/*/*/day={clock.day}/*")
    return {
        **{name: costs[name] for name in STEPS},
        "peak": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "disk": round(sum(file.stat().st_size for file in files) / 1e6, 2),
    }


def _cost(work: Any) -> float:
    before = os.times()
    work()
    return round(sum(os.times()[:4]) - sum(before[:4]), 2)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="searches a day")
    parser.add_argument("--hotels", type=int, nargs="+", default=HOTELS, help="hotels; the first with every size")
    parser.add_argument("--history", type=int, default=HISTORY, help="days before the day that is measured")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(Path(sys.argv[2]), *map(int, sys.argv[3:6]))))
        sys.exit(0)
    sys.exit(run("market_day", measure, arguments=_arguments))
