"""The bid service: what one worker answers on one core, how late, beside others, and what it does when things go wrong.

The server has the first core, the load the last. Open loop: latency counts from the time a request falls due. Every part can
be measured alone (`--only`), and each figure is the median of its runs, which are listed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from benchmarks.bid_service_canary import canary, harmless
from benchmarks.bid_service_faults import faults, hostile, promotions
from benchmarks.bid_service_peers import PEERS, DoesNotRun, build, serving, version
from benchmarks.bid_service_world import Asked, Service, make_world
from benchmarks.common import Figure, figure, median, rounded, run
from benchmarks.load import Load, closed_loop, cores, on_core, open_loop, steady
from benchmarks.load_wire import post
from ml.core.memory import memory_folder

CONNECTIONS: Final = 16
RATE: Final = 1_500.0
_BIN_SECONDS = 0.5
_GOOD_SHARE = 0.99
_GOOD_BINS = 4


def capacity(asked: Asked) -> dict[str, Figure]:
    """One worker, closed loop, everything on; the floor is its own handler that does nothing, in the same run."""
    with asked.world.service() as service:
        runs, floor, busy = [], [], []
        _closed(service, asked.lasts(3))
        for _ in range(asked.repeats):
            before = service.busy_seconds()
            runs.append(_closed(service, asked.lasts(10)))
            busy.append(1e6 * (service.busy_seconds() - before) / len(runs[-1].due))
            floor.append(_floor(service, asked.lasts(5)))
        events = service.drained()
    rates = [load.answered_per_second for load in runs]
    idle = median([load.answered_per_second for load in floor])
    return {
        "capacity": figure(rates, "requests/s", limit=5_000.0, digits=0),
        "capacity_p50": figure([load.percentile_ms(0.5) for load in runs], "ms"),
        "capacity_p99": figure([load.percentile_ms(0.99) for load in runs], "ms"),
        "capacity_errors": figure([load.errors() for load in runs], "requests", limit=0.0),
        "capacity_events_lost": figure([events["lost"]], "events"),
        "floor": figure([load.answered_per_second for load in floor], "requests/s", digits=0),
        "busy_per_request": figure(busy, "us of processor", digits=1),
        "work_per_request": figure([1e6 / rate - 1e6 / idle for rate in rates], "us more than the floor", digits=1),
    }


def rate(asked: Asked) -> dict[str, Figure]:
    """1,500 requests a second for ten minutes, once; events that were answered for and are not durable count as lost."""
    with asked.world.service() as service:
        _closed(service, asked.lasts(3))
        before = service.drained()["logged"]
        with on_core(cores()[1]):
            load = open_loop(service.address, service.requests(), steady((RATE, asked.lasts(600, quick=3))))
        logged = service.drained()["logged"] - before
    answered = load.statuses.get(200, 0)
    late = int(((load.status == 200) & (load.latency_ms > asked.deadline_ms)).sum())
    sys.stderr.write(f"rate: answers by status {load.statuses}\n")
    return {
        "rate_p50": figure([load.percentile_ms(0.5)], "ms", limit=0.6),
        "rate_p99": figure([load.percentile_ms(0.99)], "ms", limit=5.0),
        "rate_p999": figure([load.percentile_ms(0.999)], "ms"),
        "rate_max": figure([load.percentile_ms(1.0)], "ms"),
        "rate_requests": figure([len(load.due)], "requests"),
        "rate_errors": figure([load.errors()], "requests", limit=0.0),
        "rate_late": figure([late], "answers after the deadline"),
        "rate_events_lost": figure([answered - logged], "events", limit=0.0),
    }


def peers(asked: Asked) -> dict[str, Figure]:
    """Others with the same model and the same work, without log, split or features of their own, in the same run."""
    found: dict[str, Figure] = {}
    work = asked.world.work(asked.scratch)
    best = 0.0
    for name in asked.peers:
        try:
            python = build(name, asked.scratch)
            with serving(name, python, work, asked.scratch, core=cores()[0]) as address, on_core(cores()[1]):
                requests = [post(address, PEERS[name].path, body) for body in work.bodies(name)]
                closed_loop(address, requests, seconds=asked.lasts(3), connections=CONNECTIONS)
                runs = [
                    closed_loop(address, requests, seconds=asked.lasts(10), connections=CONNECTIONS)
                    for _ in range(asked.repeats)
                ]
        except DoesNotRun as error:
            sys.stderr.write(f"not measured: {error}\n")
            continue
        rates = [load.answered_per_second for load in runs]
        found[f"peer_{name}"] = figure(rates, "requests/s", digits=0)
        best = max(best, median(rates))
        sys.stderr.write(f"{name} {version(python, PEERS[name])}: {median(rates):,.0f} requests/s\n")
    with asked.world.service() as service:
        _closed(service, asked.lasts(3))
        ours = [_closed(service, asked.lasts(10)).answered_per_second for _ in range(asked.repeats)]
    found["beside_peers"] = Figure(round(median(ours)), "requests/s", round(best) or None, runs=rounded(ours, 0))
    if best:
        found["over_best_peer"] = figure([each / best for each in ours], "times", limit=3.0, digits=2)
    return found


def overload(asked: Asked) -> dict[str, Figure]:
    """Three times what it can do for 20 seconds, then half of it: what is still answered in time, and when all is again."""
    goodput, shed, recovery, other = [], [], [], []
    with asked.world.service() as service:
        _closed(service, asked.lasts(3))
        for _ in range(asked.repeats):
            full = _closed(service, asked.lasts(5), connections=32).answered_per_second
            step, after = asked.lasts(20, quick=2), asked.lasts(10, quick=3)
            with on_core(cores()[1]):
                due = steady((3 * full, step), (0.5 * full, after))
                load = open_loop(service.address, service.requests(), due, connections=1_000)
            during = load.due < step
            good = (load.status == 200) & (load.latency_ms <= asked.deadline_ms)
            goodput.append(float((good & during).sum()) / step / full)
            shed.append(float((load.status[during] == 429).mean()))
            recovery.append(recovered(load, step, asked.deadline_ms))
            other.append(float(load.errors(429)))
    return {
        "overload_goodput": figure(goodput, "share of capacity", limit=0.8),
        "overload_shed": figure(shed, "share of requests"),
        "overload_recovery": figure(recovery, "s", limit=5.0, digits=2),
        "overload_errors": figure(other, "requests, neither 200 nor 429", limit=0.0),
    }


def recovered(load: Load, end: float, deadline_ms: float) -> float:
    """Seconds after `end` until requests are answered in time for good, for two seconds at least.

    Half seconds are looked at, of the due times; one is good if 99 % of its requests had a 200 within the deadline. Where it
    does not come to four of these in a row, the answer is the time until the load ended.
    """
    after = load.due >= end
    bins = ((load.due[after] - end) / _BIN_SECONDS).astype(int)
    good = (load.status[after] == 200) & (load.latency_ms[after] <= deadline_ms)
    size = int(bins.max(initial=-1)) + 1
    shares = np.bincount(bins, weights=good, minlength=size) / np.maximum(1, np.bincount(bins, minlength=size))
    in_a_row = 0
    for at, share in enumerate(shares):
        in_a_row = in_a_row + 1 if share >= _GOOD_SHARE else 0
        if in_a_row == _GOOD_BINS:
            return (at + 1 - _GOOD_BINS) * _BIN_SECONDS
    return size * _BIN_SECONDS


PARTS: Final[Mapping[str, Callable[[Asked], Mapping[str, Figure]]]] = {
    "capacity": capacity,
    "rate": rate,
    "peers": peers,
    "overload": overload,
    "promotions": promotions,
    "canary": canary,
    "harmless": harmless,
    "hostile": hostile,
    "faults": faults,
}
"""What can be measured, by name, in the order in which it is."""


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """The figures of the parts asked for."""
    with TemporaryDirectory(prefix="bidwright-bid-service-") as folder:
        scratch = Path(given.scratch) if given.scratch else Path(folder) / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        world = make_world(Path(folder), entities=given.entities, trees=30 if given.quick else 300)
        asked = Asked(
            world,
            given.seconds,
            1 if given.quick else given.repeats,
            given.quick,
            scratch,
            given.peers,
            2_000 if given.quick else given.bodies,
        )
        try:
            return {name: figure for part in given.only for name, figure in PARTS[part](asked).items()}
        finally:
            if (counted := memory_folder(Path(folder) / "home")) is not None:
                shutil.rmtree(counted, ignore_errors=True)


def _closed(service: Service, seconds: float, *, connections: int = CONNECTIONS) -> Load:
    with on_core(cores()[1]):
        return closed_loop(service.address, service.requests(), seconds=seconds, connections=connections)


def _floor(service: Service, seconds: float) -> Load:
    with on_core(cores()[1]):
        return closed_loop(service.address, [service.nothing()], seconds=seconds, connections=CONNECTIONS)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--seconds", type=float, help="of each run; each part has its own by itself")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="everything small, to see that it works")
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--bodies", type=int, default=200_000, help="hostile ones")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--scratch", help="keeps the environments of the peers from one time to the next")


if __name__ == "__main__":
    sys.exit(run("bid_service", measure, arguments=_arguments))
