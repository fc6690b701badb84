"""The bid service when things go wrong: champions that change under load, hostile callers, kills."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.bid_service_world import MARKET, PATH, Asked, Service
from benchmarks.common import ROOT, Figure, figure
from benchmarks.load import cores, on_core, open_loop, steady
from benchmarks.load_bodies import cases, hypothesis_bodies
from benchmarks.load_hostile import DIED, SILENT, percentile, send

RATE = 1_000.0
PROMOTIONS = 100
PAUSE_SECONDS = 2.5
BASE_BODIES = 1_000
_SHOWN = 10


@dataclass(frozen=True)
class Moves:
    """Champions in the order in which they were made: the first characters of their digests, and when each was committed."""

    versions: Sequence[str]
    at: npt.NDArray[np.float64]


def promotions(asked: Asked) -> dict[str, Figure]:
    """Champions that change back and forth under load: errors, and how long the one before still answers.

    Both bundles are small and both are warm after the first round, as the champion before one always is.
    """
    count = 6 if asked.quick else PROMOTIONS
    seen: list[tuple[float, str]] = []

    def note(at: float, status: int, answer: bytes) -> None:
        if status == 200:
            begin = answer.find(b'"version":"') + 11
            seen.append((at, answer[begin : answer.find(b'"', begin)].decode()))

    with asked.world.service("second") as service, _promoter(asked, count) as moved:
        due = steady((RATE, (count + 1) * PAUSE_SECONDS))
        with on_core(cores()[1]):
            load = open_loop(service.address, service.requests(), due, seen=note)
        service.drained()
        moves = moved()
    lasts = last_answers(moves, seen)
    return {
        "promotions": figure([len(moves.versions)], "moves of the champion"),
        "promotions_errors": figure([load.errors()], "requests", limit=0.0),
        "promotions_last_answer": figure(lasts, "s from the decision to the old version's last answer"),
        "promotions_last_answer_max": figure([max(lasts)], "s", limit=2.0),
        "promotions_p99": figure([load.percentile_ms(0.99)], "ms"),
    }


def last_answers(moves: Moves, seen: Sequence[tuple[float, str]]) -> list[float]:
    """Seconds from each move until the last answer of the other version, before the next move; 0 for none.

    An answer without a version, a no-bid, is nobody's.
    """
    at = np.array([when for when, _ in seen])
    versions = np.array([version for _, version in seen])
    ends = [*moves.at[1:].tolist(), np.inf]
    lasts = []
    for version, begin, end in zip(moves.versions, moves.at.tolist(), ends, strict=True):
        old = at[(at > begin) & (at < end) & (versions != version) & (versions != "")]
        lasts.append(float(old.max() - begin) if len(old) else 0.0)
    return lasts


@contextmanager
def _promoter(asked: Asked, count: int) -> Iterator[_Moved]:
    """A process on the load's core that changes the champion; it begins when the block does."""
    digests = [asked.world.digests["first"], asked.world.digests["second"]]
    command = [sys.executable, "-m", "benchmarks.bid_service_promoter"]
    arguments = [str(asked.world.home), MARKET, str(count), str(PAUSE_SECONDS), *digests]
    with on_core(cores()[1]):
        process = subprocess.Popen(
            [*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
    try:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("it was started with pipes")
        process.stdout.readline()
        process.stdin.write("\n")
        process.stdin.flush()
        yield _Moved(process)
    finally:
        process.kill()
        process.wait()


class _Moved:
    """Calling it gives the moves that were made, once all were."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self) -> Moves:
        lines, _ = self._process.communicate(timeout=60)
        found = [json.loads(line) for line in lines.splitlines()]
        return Moves([one["digest"][:12] for one in found], np.array([one["at"] for one in found]))


def hostile(asked: Asked) -> dict[str, Figure]:
    """Hostile bodies and requests: what is neither 200 nor 4xx, what is late, what the worker's memory does, and whether it lives."""
    memory: list[float] = []
    bodies = [*hypothesis_bodies(BASE_BODIES // 10 if asked.quick else BASE_BODIES), *asked.world.bodies[:20]]
    with asked.world.service() as service:
        made = cases(service.address, PATH, bodies, number=asked.bodies, headers=service.headers)
        with on_core(cores()[1]):
            send(service.address, cases(service.address, PATH, bodies, number=2_000, seed=2, headers=service.headers))
            before = service.workers()
            outcome = send(service.address, made, each=lambda _ended: memory.append(sum(service.workers().values())))
        after = service.workers()
        alive = _still_bids(service)
    for kind, status, sent in outcome.bad[:_SHOWN]:
        sys.stderr.write(f"{kind}: {status} for {sent[:200]!r}\n")
    counts: dict[int, int] = {}
    for (_, status), count in outcome.counts.items():
        counts[status] = counts.get(status, 0) + count
    sys.stderr.write(f"hostile: {dict(sorted(counts.items()))}\n")
    late = Counter(kind for kind, latency in outcome.latencies if latency > asked.deadline_ms)
    sys.stderr.write(f"late: {dict(late.most_common(_SHOWN))}\n")
    grown = max(memory, default=sum(after.values())) - sum(before.values())
    return {
        "hostile": figure([sum(counts.values())], "answers and closes"),
        "hostile_wrong": figure([outcome.wrong()], "neither 200 nor 4xx", limit=0.0),
        "hostile_server_errors": figure([sum(n for s, n in counts.items() if s >= 500)], "5xx", limit=0.0),
        "hostile_without_answer": figure([counts.get(SILENT, 0) + counts.get(DIED, 0)], "requests", limit=0.0),
        "hostile_late": figure([outcome.late(asked.deadline_ms)], "answers after the deadline", limit=0.0),
        "hostile_p99": figure([percentile(outcome.latency_ms, 0.99)], "ms"),
        "hostile_max": figure([max(outcome.latency_ms, default=0.0)], "ms"),
        "hostile_memory": figure([grown], "MB more than after the first 2,000", limit=64.0, digits=1),
        "hostile_workers_lost": figure([len(before.keys() - after.keys()) + (not alive)], "workers", limit=0.0),
    }


def faults(_asked: Asked) -> dict[str, Figure]:
    """What `benchmarks.promotion_faults` finds, where it is there."""
    if importlib.util.find_spec("benchmarks.promotion_faults") is None:
        sys.stderr.write("not measured: faults: there is no benchmarks.promotion_faults\n")
        return {}
    command = [sys.executable, "-m", "benchmarks.promotion_faults", "--json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: Mapping[str, Mapping[str, object]] = json.loads(done.stdout.splitlines()[-1])["figures"]
    return {f"faults_{name}": Figure(**{**one, "runs": tuple(one["runs"])}) for name, one in found.items()}  # type: ignore[arg-type]


def _still_bids(service: Service) -> bool:
    load = open_loop(service.address, service.requests()[:1], steady((10, 0.5)), connections=1)
    return load.statuses.keys() == {200}
