"""The simulator: what a million opportunities cost, whether a repeat has the same bytes, and its figures beside published ones."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.common import ROOT, Figure, median, run, stopwatch

if TYPE_CHECKING:
    from ml.market.simulator.day import Market, Resolved

OPPORTUNITIES = 1_000_000
LIMIT_SECONDS, LIMIT_MIB = 10.0, 1536.0
DAY = date(2026, 3, 2)
RUNS = 3
SEED = 7
DAYS = 28
REDRAWS = 2
"""Of the four weeks, from which the best bids are learned."""

MULTIPLIERS = tuple(n / 20 for n in range(2, 31))
"""Of the true worth of a click, among which O3 is chosen."""

POLICIES = {"o3": "best multiple of worth (O3)", "o2": "best bids (O2)", "house": "house policy"}
"""Policies at which the market is measured. The prototype's optimum is a multiple of the true worth, as O3 is."""


@dataclass(frozen=True)
class Published:
    """A figure of a market, and the range that was published: `low` to `high`, by `source`."""

    low: float
    high: float
    unit: str
    source: str


PUBLISHED = {
    "impression_share": Published(0.42, 0.61, "share", "prototype at the optimal and the truthful policy; Snap .48"),
    "ctr": Published(0.029, 0.09, "share", "Snap .033, prototype .029; hotel direct .09"),
    "cvr": Published(0.026, 0.06, "share", "prototype .030; hotel direct .06"),
    "cpc": Published(0.34, 0.80, "currency", "prototype .34, Snap .5, an agent's benchmark .80"),
    "booking_value": Published(108.0, 241.0, "currency", "Snap 108, prototype 241"),
    "cost_of_sale": Published(0.046, 0.072, "share", "prototype, optimal to truthful"),
    "position": Published(2.0, 3.4, "place", "prototype 3.4, of 4"),
    "cancelled": Published(0.14, 0.367, "share", "prototype .14; Online TA of the booking demand data .367"),
    "searches_within_7_days": Published(0.41, 0.42, "share", "Koddi 2014: .4145"),
    "searches_within_30_days": Published(0.80, 0.85, "share", "Koddi 2014: .80 of all, .85 of chosen dates"),
    "booked_within_24_hours": Published(0.50, 0.75, "share", "Criteo .50; prototype's mixture .75"),
    "cells_without_a_click": Published(0.93, 0.98, "share", "Snap .97"),
}
"""Sections 1.7 and 8.2 of the domain notes."""


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """Speed and memory in processes of their own, repeated; then the aggregates."""
    runs = [_in_child(given.opportunities) for _ in range(RUNS)]
    cpu, wall = ([found[name] for found in runs] for name in ("cpu_seconds", "seconds"))
    figures = {
        "million_opportunities": Figure(median(wall), "s", limit=LIMIT_SECONDS, runs=tuple(wall)),
        "million_opportunities_cpu": Figure(median(cpu), "s", limit=LIMIT_SECONDS, runs=tuple(cpu)),
        "peak_memory": Figure(max(found["peak_mib"] for found in runs), "MiB", limit=LIMIT_MIB),
        "repeats_with_the_same_bytes": Figure(float(len({found["digest"] for found in runs}) == 1), "flag", limit=1.0),
    }
    ours = {policy: aggregates(policy) for policy in POLICIES}
    if given.table:
        print(table(ours))
    for policy, found in ours.items():
        prefix = "" if policy == "house" else f"{policy}_"
        figures |= {f"{prefix}{name}": Figure(round(value, 4), PUBLISHED[name].unit) for name, value in found.items()}
        outside = sum(not _inside(name, value) for name, value in found.items())
        figures[f"{prefix}outside"] = Figure(float(outside), "figures", limit=0.0)
    return figures


def table(ours: Mapping[str, Mapping[str, float]]) -> str:
    """The aggregates by policy as Markdown, each followed by whether it lies in the published range."""
    head = "".join(f" {title} | inside |" for title in POLICIES.values())
    lines = [f"| figure |{head} range | source |", "|---|" + "---:|---|" * len(POLICIES) + "---:|---|"]
    for name, known in PUBLISHED.items():
        told = "".join(f" {one[name]:.3g} | {'yes' if _inside(name, one[name]) else 'no'} |" for one in ours.values())
        lines.append(f"| {name} |{told} {known.low:g} to {known.high:g} | {known.source} |")
    return "\n".join(lines)


def _inside(name: str, value: float) -> bool:
    return PUBLISHED[name].low <= value <= PUBLISHED[name].high


def _in_child(opportunities: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.simulator", "--child", str(opportunities)]
    done = subprocess.run(command, capture_output=True, check=True, text=True, cwd=ROOT)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def child(opportunities: int) -> dict[str, Any]:
    """One day of about so many opportunities: auctions of seven bidders, clicks, bookings, cancellations."""
    import hashlib

    import numpy as np

    from ml.market.simulator.day import Market, origin_bookings, resolve
    from ml.market.simulator.world import World, season

    world = World.make(SEED, 240)
    # A size that gives a million on this day of the year.
    usual = float((world.popularity * season((DAY - date(1970, 1, 1)).days, world.resort))[~world.new].sum())
    market = Market(world, SEED, int(opportunities / usual))
    before = time.process_time()
    with stopwatch() as seconds:
        resolved = resolve(market, DAY, {})
        bookings = origin_bookings(market, DAY, resolved)
    cpu = time.process_time() - before
    digest = hashlib.sha256(resolved.outcomes.tobytes() + np.ascontiguousarray(bookings).tobytes()).hexdigest()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    per_million = OPPORTUNITIES / len(resolved.searches)
    return {
        "seconds": round(seconds[0] * per_million, 2),
        "cpu_seconds": round(cpu * per_million, 2),
        "peak_mib": round(peak),
        "digest": digest,
        "opportunities": len(resolved.searches),
    }


def aggregates(policy: str) -> dict[str, float]:
    """The market's figures over four weeks of the demo's history at the default size, at one of `POLICIES`.

    O2 and O3 are chosen on redraws of these weeks, so that they know the market and not its dice.
    """
    import numpy as np

    from ml.core.settings import Settings
    from ml.market.simulator.bookings import DIRECT
    from ml.market.simulator.day import click_times, join, origin_bookings
    from ml.market.simulator.source import make_market

    default = {name: field.default for name, field in Settings.model_fields.items()}
    market = make_market(SEED, default["simulator_hotels"], default["simulator_opportunities_per_day"], ())
    days = [DAY - timedelta(days=DAYS - n) for n in range(DAYS)]
    resolved = _resolved(market, days, policy)
    searches, outcomes = (join([getattr(found, part) for found in resolved]) for part in ("searches", "outcomes"))
    parts, waits = [], []
    for day, found in zip(days, resolved, strict=True):
        rows = origin_bookings(market, day, found)
        rows = rows[rows["segment"] != DIRECT]
        clicked_at = click_times(day, found.searches[np.searchsorted(found.searches["number"], rows["number"])])
        parts.append(rows)
        waits.append(rows["booked"] - clicked_at)
    booked, wait = join(parts), np.concatenate(waits) / 86_400_000_000
    shown, clicked = outcomes["position"] > 0, outcomes["clicked"]
    cost, value = outcomes["cpc"][clicked].sum() / 1e6, (booked["rate"] * booked["los"]).sum() / 1e6
    return {
        "impression_share": float(shown.mean()),
        "ctr": float(clicked.sum() / shown.sum()),
        "cvr": float(len(booked) / clicked.sum()),
        "cpc": float(cost / clicked.sum()),
        "booking_value": float(value / len(booked)),
        "cost_of_sale": float(cost / value),
        "position": float(outcomes["position"][shown].mean()),
        "cancelled": float(booked["cancelled"].mean()),
        "searches_within_7_days": float((searches["lead"] <= 7).mean()),
        "searches_within_30_days": float((searches["lead"] <= 30).mean()),
        "booked_within_24_hours": float((wait < 1).mean()),
        "cells_without_a_click": float(1 - _cells(searches[clicked]) / _cells(searches)),
    }


def _resolved(market: Market, days: Sequence[date], policy: str) -> list[Resolved]:
    """What a policy makes of the days."""
    import numpy as np

    from ml.core.units import MICROS_PER_UNIT
    from ml.market.simulator import oracle
    from ml.market.simulator.day import Resolved, contests, join, play, resolve

    if policy == "house":
        return [resolve(market, day, {}) for day in days]
    drawn = list(oracle.redraws(market, REDRAWS))
    if policy == "o2":
        seen = oracle.curves(drawn, days)
        bids = oracle.standing(market.world, oracle.best_in_language(seen.profit, seen.hotels))
        return [resolve(market, day, bids) for day in days]
    profits = oracle.multiplier_profits(drawn, days, np.array(MULTIPLIERS))
    best = np.asarray(MULTIPLIERS)[profits.argmax(axis=1)]
    found = []
    for day in days:
        parts = []
        for contest in contests(market, day):
            worth = contest.conversion * contest.value * best[contest.searches["partner"]]
            parts.append((contest.searches, play(contest, np.rint(worth * MICROS_PER_UNIT).astype(np.int64))))
        searches, outcomes = zip(*parts, strict=True)
        found.append(Resolved(join(searches), join(outcomes)))
    return found


def _cells(searches: Any) -> int:
    """Cells of partner, point of sale, hotel, device, check-in, length of stay and day that these searches reach."""
    import numpy as np

    day = searches["check_in"] - searches["lead"]
    names = ("partner", "country", "hotel", "device", "check_in", "los")
    keys = np.column_stack([day, *(searches[name] for name in names)]).astype(np.int64)
    return len(np.unique(keys, axis=0))


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--opportunities", type=int, default=OPPORTUNITIES, help="size of the measured day")
    parser.add_argument("--table", action="store_true", help="print the aggregates as a table in Markdown first")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(int(sys.argv[2]))))
        sys.exit(0)
    sys.exit(run("simulator", measure, arguments=_arguments))
