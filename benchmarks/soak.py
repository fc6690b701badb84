"""The bid service for hours: a steady load, champions that change, days that are checked for drift, a worker killed every five minutes.

Two workers share the first core, the load has the last; what happens besides is done by another process (`soak_hand`). Every minute the
event log is collected into a lake, as `ingest_market` does it, and counted against the answers that were given. Memory and open files are those
of the worker that is never killed, after two minutes to warm up.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from benchmarks.bid_service_world import MARKET, SERVE, Service, make_world
from benchmarks.common import ROOT, Figure, run
from benchmarks.load import cores, on_core, open_loop, steady

WARM_UP_S: Final = 120.0
ANSWERS_EACH: Final = 1_000
"""Connections are opened anew (at 1,500 requests/s and 32 connections, every 21 s each), or the worker that came back after a kill would never get one."""
TWO_WORKERS: Final = tuple(
    "2" if before == "--workers" else part for before, part in zip(("", *SERVE), SERVE, strict=False)
)


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """Run it, and say what came of it."""
    seconds = 60.0 * given.minutes
    with TemporaryDirectory(prefix="bidwright-soak-") as folder:
        world = make_world(Path(folder), entities=given.entities, trees=given.trees)
        checked = _market(Path(folder) / "checked")
        with world.service("first", command=TWO_WORKERS) as service:
            told_in = Path(folder) / "hand.jsonl"
            digests = [world.digests["first"], world.digests["second"]]
            hand = _hand(service, seconds, given.every, digests, checked, told_in)
            try:
                with on_core(cores()[1]):
                    load = open_loop(
                        service.address,
                        service.requests(),
                        steady((given.rate, seconds)),
                        connections=32,
                        answers_each=ANSWERS_EACH,
                    )
                    late = service.drained()
            finally:
                told = _told(hand, told_in)
        return _figures(given, load, told, late)


def _figures(
    given: argparse.Namespace, load: Any, told: Sequence[Mapping[str, Any]], late: Mapping[str, int]
) -> dict[str, Figure]:
    end = told[-1]
    samples = [one for one in told if one["what"] == "sample" and one["at"] > min(WARM_UP_S, 20.0 * given.minutes)]
    kills = sum(one["what"] == "killed" for one in told)
    answered = load.statuses.get(200, 0)
    unaccounted = answered - end["events"] - end["lost"]
    return {
        "minutes": Figure(given.minutes, "min"),
        "rate": Figure(given.rate, "requests/s"),
        "requests": Figure(len(load.due), "requests"),
        # A kill loses what was being answered: with 32 connections, a few requests.
        "errors": Figure(
            load.errors(), "requests", runs=tuple(float(count) for _, count in sorted(load.statuses.items()))
        ),
        "errors_per_kill": Figure(round(load.errors() / max(1, kills), 2), "requests"),
        "p50": Figure(round(load.percentile_ms(0.5), 3), "ms"),
        "p99": Figure(round(load.percentile_ms(0.99), 3), "ms"),
        "max": Figure(round(load.percentile_ms(1.0), 1), "ms"),
        "kills": Figure(kills, "workers"),
        "died": Figure(sum(one["what"] == "died" for one in told), "workers that nobody killed", limit=0.0),
        "promotions": Figure(sum(one["what"] == "promoted" for one in told), "moves of the champion"),
        "drift_checks": Figure(sum(one["what"] == "checked" and one["code"] == 0 for one in told), "days"),
        "drift_checks_failed": Figure(
            sum(one["what"] == "checked" and one["code"] != 0 for one in told), "days", limit=0.0
        ),
        "events": Figure(end["events"], "decisions in the lake"),
        "events_lost": Figure(end["lost"], "decisions that the log itself counts as lost, by kills"),
        # Decisions whose caller was lost by the kill are in the log without an answer: fewer than none may be unaccounted for.
        "events_unaccounted": Figure(
            max(0, unaccounted), "answers that are neither in the lake nor counted", limit=0.0
        ),
        "memory_slope": Figure(round(_slope(samples, "mb"), 2), "MB an hour", limit=1.0),
        "memory": Figure(round(max((one["mb"] for one in samples), default=0.0), 1), "MB"),
        "parent_memory_slope": Figure(round(_slope(samples, "parent_mb"), 2), "MB an hour", limit=1.0),
        "files_growth": Figure(_growth(samples, "files"), "open files, median of last and first quarter", limit=0.0),
        "parent_files_growth": Figure(
            _growth(samples, "parent_files"), "open files, median of last and first quarter", limit=0.0
        ),
        "files": Figure(max((one["files"] for one in samples), default=0), "open files that are no connections"),
        "connections": Figure(
            max((one["connections"] for one in samples), default=0),
            "connections",
            runs=tuple(np.quantile([one["connections"] for one in samples], (0.0, 0.5)).tolist()) if samples else (),
        ),
        "not_durable_at_end": Figure(max(0, late["taken"] - late["logged"] - late["lost"]), "decisions", limit=0.0),
    }


def _slope(samples: Sequence[Mapping[str, Any]], name: str) -> float:
    """Least squares over the samples; an hour."""
    if len(samples) < 3:
        return 0.0
    at = np.array([one["at"] for one in samples]) / 3600
    return float(np.polyfit(at, np.array([one[name] for one in samples], dtype=np.float64), 1)[0])


def _growth(samples: Sequence[Mapping[str, Any]], name: str) -> float:
    """The median of the last quarter less that of the first: a leak lifts it, what comes and goes does not."""
    quarter = max(1, len(samples) // 4)
    first, last = ([one[name] for one in part] for part in (samples[:quarter], samples[-quarter:]))
    return float(np.median(last) - np.median(first)) if samples else 0.0


def _market(home: Path) -> str:
    """A small market whose last day is checked again and again; its folder and the day."""
    command = [sys.executable, "-m", "benchmarks.soak_hand", "--prepare", str(home)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return f"{home}|{done.stdout.split()[-1]}"


def _hand(
    service: Service, seconds: float, every: float, digests: Sequence[str], checked: str, told_in: Path
) -> subprocess.Popen[str]:
    arguments = [str(service.world.home), MARKET, str(service.process.pid), str(seconds), str(every), *digests, checked]
    command = [sys.executable, "-m", "benchmarks.soak_hand", *arguments]
    # A file, not a pipe: nobody reads before the end, and hours of samples are more than a pipe holds.
    with told_in.open("w") as told:
        return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=told, text=True)


def _told(hand: subprocess.Popen[str], told_in: Path) -> list[dict[str, Any]]:
    """What the hand did; it collects what is left of the event log once it is told that the load is over."""
    with suppress(BrokenPipeError):
        hand.communicate("over\n", timeout=600)
    if hand.returncode != 0:
        raise RuntimeError("the process that promotes and kills ended before its time")
    return [json.loads(line) for line in told_in.read_text().splitlines()]


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--rate", type=float, default=1_500.0, help="requests a second")
    parser.add_argument("--every", type=float, default=300.0, help="seconds between two kills, and between two checks")
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--trees", type=int, default=300)


if __name__ == "__main__":
    sys.exit(run("soak", measure, arguments=_arguments))
