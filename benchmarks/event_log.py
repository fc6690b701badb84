"""What the event log costs the bid service: taking a decision, making it durable, and bringing it into the lake."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.common import Figure, median, run
from ml.lake.lake import Lake
from ml.lake.local import LocalBlobs
from ml.serving.event_log import EventLog
from ml.serving.event_log_lake import TABLE, collect
from ml.serving.messages import Scored

CANDIDATES, FEATURES = 20, 40
RATE, SECONDS, RUNS = 1500, 4.0, 5
APPEND_LIMIT_US = 5.0


@dataclass(frozen=True)
class Decision:
    """A decision about 20 candidates with 40 features each."""

    trace_id: str
    at_us: int
    body: bytes
    scored: Scored
    digest: str = "d" * 64
    plan: str = "e" * 64
    generation: int = 1
    arm: int = 0
    arm_name: str = "stable"
    share: float = 0.9
    step: int = 0
    pacing: float = 1.0
    shadow: bool = False


def decisions(count: int) -> list[Decision]:
    """Decisions that differ in every number, as those of a service do."""
    rng, numbers = random.Random(7), np.random.default_rng(7)  # noqa: S311
    made = []
    for number in range(count):
        candidates = [
            {
                "id": f"c{place}",
                "hotel_id": f"h{rng.randrange(240):03d}",
                "check_in": f"2026-03-{rng.randrange(1, 29):02d}",
                "los_nights": rng.randrange(1, 9),
                "price_micros": rng.randrange(40_000_000, 400_000_000),
            }
            for place in range(CANDIDATES)
        ]
        user = {"partner": "google", "market": "DE", "device": "mobile"}
        body = json.dumps({"key": f"{rng.getrandbits(64):016x}", "user": user, "candidates": candidates}).encode()
        scored = Scored(
            [rng.randrange(10_000, 900_000) for _ in range(CANDIDATES)],
            [rng.random() for _ in range(CANDIDATES)],
            [0] * CANDIDATES,
            0,
            numbers.random((CANDIDATES, FEATURES), dtype=np.float32).tobytes(),
        )
        made.append(Decision(f"{number:032x}", 1_772_798_400_000_000 + number, body, scored))
    return made


def measure(given: argparse.Namespace) -> Mapping[str, Figure]:  # noqa: ARG001  (there is nothing to choose)
    """Append at a steady rate as one worker would, then collect what came of it."""
    made = decisions(2000)
    medians, highs, lost, rates, sizes = [], [], [], [], []
    for _ in range(RUNS):
        with TemporaryDirectory(prefix="bidwright-events-") as name:
            folder = Path(name) / "events"
            log = EventLog(folder, market="m", worker="0")
            took = _steady(log, made)
            log.close()
            counts = log.counts()
            medians.append(median(took))
            highs.append(float(np.percentile(took, 99)))
            lost.append(float(counts["taken"] - counts["logged"]))
            lake = Lake(LocalBlobs(Path(name) / "lake"), "m")
            begin = time.perf_counter()
            found = collect(folder, lake, keep_days=0, at=datetime(2026, 3, 7, tzinfo=UTC))
            events = found.events if found is not None else 0
            rates.append(events / (time.perf_counter() - begin))
            size = sum(path.stat().st_size for path in (Path(name) / "lake" / "m" / TABLE).rglob("*.parquet"))
            sizes.append(size / max(events, 1))
    return {
        "append": Figure(median(medians), "us", limit=APPEND_LIMIT_US, runs=tuple(medians)),
        "append p99": Figure(median(highs), "us", runs=tuple(highs)),
        "lost": Figure(max(lost), "decisions", limit=0.0, runs=tuple(lost)),
        "collected": Figure(median(rates), "events/s", runs=tuple(rates)),
        "in the lake": Figure(median(sizes), "bytes/event", runs=tuple(sizes)),
    }


def _steady(log: EventLog, made: list[Decision]) -> list[float]:
    """Microseconds of each append, at `RATE` a second; the worker is never idle between two, as one under load is not."""
    took = []
    begin = time.perf_counter()
    for number in range(int(RATE * SECONDS)):
        while time.perf_counter() < begin + number / RATE:
            pass
        one = [made[number % len(made)]]
        before = time.perf_counter()
        log.append(one)
        took.append((time.perf_counter() - before) * 1e6)
    return took


if __name__ == "__main__":
    sys.exit(run("event_log", measure))
