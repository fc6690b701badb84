"""The judge of canaries on trial: harmless candidates, harmful ones, and days on which it is blind.

Harmless candidates and faults are judged every 5 s of simulated time by the ramp's own policy, as the rollout's `tick` does;
the blind judge runs through `tick` and a ledger.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.canary_world import BLIND, CLOCKS, Blind, World, even, worse
from benchmarks.common import Figure, median, memory_folder, run
from ml.core.clock import FixedClock
from ml.core.digests import Digest
from ml.core.verdict import Verdict
from ml.ledger import champion, decisions, rollouts, versions
from ml.ledger.database import Database
from ml.promotion.canary import StatsSource, judge
from ml.promotion.ramp import RAMP, RampPolicy
from ml.promotion.rollout import enqueue, tick
from ml.serving.arm_stats import StatsKey
from ml.serving.arms import beside

EVERY = RAMP.every
RATE = 1_500.0
MARKET = "trial"
BEGIN = datetime(2026, 3, 2, tzinfo=UTC)

FAULTS: Mapping[str, Mapping[str, float]] = {
    "five times the errors": {"errors": 0.01},
    "errors for every request": {"errors": 1.0},
    "numbers out of range for 1 %": {"out_of_range": 0.01},
    "five times the missed deadlines": {"late": 0.015},
    "bids x 1.5": {"bid_log_mean": 12.5 + 0.405},
    "bids x 0.5": {"bid_log_mean": 12.5 - 0.693},
    "latency x 2": {"latency_ms": 2.4},
    "no bid for 30 % instead of 20 %": {"no_bid": 0.3},
}


@dataclass(frozen=True)
class Outcome:
    """How a candidate ended, after how many seconds, and why."""

    state: str
    seconds: float
    reason: str


def walk(world: World, policy: RampPolicy = RAMP) -> Outcome:
    """A candidate's way through a ramp, judged as often as the policy means."""
    seconds = 0.0
    for number, step in enumerate(policy.steps):
        world.next_analysis(step.shares, tried=beside(step.shares.canary) if step.answers else 0.0)
        watched, held = timedelta(0), timedelta(0)
        while True:
            world.serve(EVERY.total_seconds())
            seconds += EVERY.total_seconds()
            now = BEGIN + timedelta(seconds=seconds)
            found = judge(world, StatsKey(1, 1, number + 1), policy=policy, now=now)
            if found.verdict is Verdict.FAIL:
                return Outcome("rolled_back", seconds, found.reason)
            if found.verdict is Verdict.HOLD:
                held += EVERY
                if held >= policy.max_hold:
                    return Outcome("rolled_back", seconds, found.reason)
                continue
            held, watched = timedelta(0), watched + EVERY
            if watched >= step.watched and found.requests >= step.requests:
                break
    return Outcome("promoted", seconds, "")


def harmless(seed: int) -> Outcome:
    """The way of a candidate that is the champion."""
    return walk(even(RATE, seed))


def detection(seed: int, changed: Mapping[str, float], policy: RampPolicy = RAMP) -> Outcome:
    """How soon a fault is seen that is there from the canary's first request on; `held` where it is not within the ramp."""
    return walk(worse(RATE, seed, **changed), replace(policy, steps=policy.steps[1:]))


@contextmanager
def ledger(folder: Path) -> Iterator[Database]:
    """A ledger with a champion and a candidate that passed its gates and waits for its turn."""
    with closing(Database.open(f"sqlite:///{folder / 'trial.db'}")) as db:
        db.migrate()
        register(db, MARKET)
        yield db


def register(db: Database, market: str) -> None:
    """Two versions; the first becomes champion, the second begins a rollout."""
    day = date(2026, 3, 2)
    for number, digest in enumerate((Digest("a" * 64), Digest("b" * 64))):
        version = versions.Version(digest, market, day, "blob", digest, day, {}, "")
        versions.register(db, version, BEGIN)
        decision = decisions.Decision(
            market, day, digest, Digest("a" * 64) if number else None, number, Verdict.PASS, [], digest, None
        )
        decision_id = decisions.record(db, decision, BEGIN)
        if number:
            enqueue(db, decision_id=decision_id, policy=RAMP, at=BEGIN)
        else:
            champion.move(db, market, digest=digest, expected_generation=0, decision_id=decision_id, day=day, at=BEGIN)


def tended(db: Database, source: StatsSource, world: World, policy: RampPolicy, *, jump: str = "") -> rollouts.Rollout:
    """Tick until the rollout is over, or for ten times the patience of the policy."""
    clock = FixedClock(BEGIN)
    ticks = int(10 * policy.max_hold / EVERY)
    seen = rollouts.newest(db, MARKET, 1)[0]
    for number in range(ticks):
        world.serve(EVERY.total_seconds())
        true = BEGIN + (number + 1) * EVERY
        clock.at = CLOCKS[jump](true, number + 1) if jump else true
        before = seen.analysis
        tick(db, market=MARKET, stats=source, clock=clock, policy=policy)
        seen = rollouts.newest(db, MARKET, 1)[0]
        if seen.analysis != before and seen.is_active:
            world.next_analysis(policy.steps[seen.step].shares)
        if seen.is_over:
            break
    return seen


def blind(name: str) -> rollouts.Rollout:
    """What becomes of a harmless candidate whose judge is blind in one way from its first tick on."""
    # A ramp of minutes, so that only what the judge sees can keep it from promoting.
    steps = tuple(replace(step, watched=timedelta(minutes=1), requests=500) for step in RAMP.steps)
    policy = replace(RAMP, steps=steps, max_hold=timedelta(minutes=10))
    with TemporaryDirectory(prefix="bidwright-canary-", dir=memory_folder()) as folder, ledger(Path(folder)) as db:
        world = even(RATE, 1)
        source: StatsSource = Blind(name, world, BLIND[name]) if name in BLIND else world
        return tended(db, source, world, policy, jump=name if name in CLOCKS else "")


def measure(given: argparse.Namespace) -> Mapping[str, Figure]:
    """All of it."""
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        return _measure(given, pool)


def _measure(given: argparse.Namespace, pool: Executor) -> Mapping[str, Figure]:
    found: dict[str, Figure] = {}
    outcomes = list(pool.map(harmless, range(given.canaries), chunksize=10))
    states = Counter(one.state for one in outcomes)
    for one in outcomes:
        if one.state != "promoted":
            sys.stderr.write(f"harmless, and rolled back after {one.seconds:.0f} s: {one.reason}\n")
    found["harmless candidates rolled back"] = Figure(
        states["rolled_back"] / len(outcomes), "share", limit=0.01, runs=(float(len(outcomes)),)
    )
    found["harmless candidate, minutes to champion"] = Figure(median([one.seconds / 60 for one in outcomes]), "min")
    for name, changed in FAULTS.items():
        runs = list(pool.map(partial(detection, changed=changed), range(given.faults), chunksize=10))
        caught = [one.seconds for one in runs if one.state == "rolled_back"]
        found[f"{name}: stopped"] = Figure(len(caught) / len(runs), "share", limit=1.0, runs=(float(len(runs)),))
        if caught:
            limit = 30.0 if name == "five times the errors" else None
            found[f"{name}: median"] = Figure(median(caught), "s")
            found[f"{name}: nine of ten"] = Figure(sorted(caught)[int(0.9 * (len(caught) - 1))], "s")
            found[f"{name}: longest"] = Figure(max(caught), "s", limit=limit)
    ends = {name: blind(name).state for name in (*BLIND, *CLOCKS)}
    sys.stderr.write("".join(f"blind ({name}): {state}\n" for name, state in ends.items()))
    promoted = sum(state == "promoted" for state in ends.values())
    found["blind judges that promote"] = Figure(promoted, "count", limit=0.0, runs=(float(len(ends)),))
    return found


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--canaries", type=int, default=1_000, help="harmless candidates")
    parser.add_argument("--faults", type=int, default=300, help="candidates of each fault")


if __name__ == "__main__":
    sys.exit(run("canary", measure, arguments=_arguments))
