"""Stand-ins for engines, event log, arms and the ledger: each does the least, and fails when it is told to."""

# ruff: noqa: ARG002  (a stand-in takes what the joint gives it, and needs little of it)

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.bidding.day_budget import DayBudget
from ml.core.digests import Digest
from ml.core.errors import CorruptArtefact, StoreUnavailable
from ml.serving.joints import ArmCounters, Decision, LastBids, Split, Wanted, WantedArm
from ml.serving.messages import BidRequest, Layout, Reason, Scored

Matrix = npt.NDArray[np.floating[Any]]


def digest(name: str) -> Digest:
    """A digest that begins with a word."""
    return Digest(name.encode().hex().ljust(64, "0"))


A, B, C = digest("a"), digest("b"), digest("c")
LAYOUT = Layout("<f4", ("x",))


@dataclass
class StubEngine:
    """Bids 1,000 for the first candidate, 2,000 for the second, and so on."""

    digest: Digest = A
    plan: str = ""
    layout: Layout = LAYOUT
    fails: bool = False
    fails_on: str = ""
    missing: int = 0
    nan: bool = False
    slow_s: float = 0.0
    calls: list[int] = field(default_factory=list)

    def look_up(self, requests: Sequence[BidRequest]) -> Matrix:
        return np.zeros((sum(len(request.candidates) for request in requests), 1), dtype="<f4")

    def decide(self, requests: Sequence[BidRequest], features: Matrix, *, at_us: int, pacing: Any) -> list[Scored]:
        self.calls.append(len(requests))
        if self.fails or any(request.key == self.fails_on for request in requests):
            raise RuntimeError("this model is broken")
        if self.slow_s:
            time.sleep(self.slow_s)
        return [self._scored(request) for request in requests]

    def intermediates(
        self, request: BidRequest, features: Matrix, *, at_us: int, pacing: float
    ) -> list[Mapping[str, float]]:
        return [{"bid_micros": 1.0} for _ in request.candidates]

    def _scored(self, request: BidRequest) -> Scored:
        size = len(request.candidates)
        reason = Reason.DEFAULTS if self.missing else Reason.BID
        scores = [float("nan") if self.nan else 0.5 * n for n in range(1, size + 1)]
        return Scored([1000 * n for n in range(1, size + 1)], scores, [int(reason)] * size, self.missing, b"\0" * size)


class StubTable:
    """Seven micros for everything."""

    def bids(self, request: BidRequest) -> Scored:
        size = len(request.candidates)
        return Scored([7] * size, [0.0] * size, [int(Reason.FALLBACK_TABLE)] * size)


class StubLog:
    """Keeps decisions in memory."""

    def __init__(self) -> None:
        self.taken: list[Decision] = []
        self.closed = False

    def append(self, decisions: Sequence[Decision]) -> None:
        self.taken += decisions

    def counts(self) -> Mapping[str, int]:
        return {"taken": len(self.taken), "logged": len(self.taken), "lost": 0}

    def close(self) -> None:
        self.closed = True


class CountingLog:
    """Keeps nothing but a count."""

    def __init__(self) -> None:
        self.taken = 0

    def append(self, decisions: Sequence[Decision]) -> None:
        self.taken += len(decisions)

    def counts(self) -> Mapping[str, int]:
        return {"taken": self.taken, "logged": self.taken, "lost": 0}

    def close(self) -> None:
        return None


class StubSplit:
    """Keys that begin with the number of an arm belong to it."""

    def arm(self, key: str) -> int:
        return int(key[0]) if key[:1].isdigit() else 0


class StubSource:
    """A ledger and a store in memory: what is wanted, and which bundles are refused."""

    def __init__(self, wanted: Wanted | None = None) -> None:
        self.now = wanted or Wanted(generation=1, arms=(WantedArm("stable", digest("a")),), why_not="")
        self.refuses: set[str] = set()
        self.dead = False
        self.made: list[StubEngine] = []
        self.counting: ArmCounters | None = None
        self.tables: LastBids | None = None
        self.paced: Mapping[str, DayBudget] = {}

    def wanted(self) -> Wanted:
        if self.dead:
            raise StoreUnavailable("the platform database cannot be reached")
        return self.now

    def engine(self, digest: Digest, plan: str) -> StubEngine:
        if digest in self.refuses:
            raise CorruptArtefact("the bundle is refused: it is not signed")
        self.made.append(StubEngine(digest, plan))
        return self.made[-1]

    def table(self, plan: str) -> LastBids | None:
        return self.tables

    def budgets(self, plan: str) -> Mapping[str, DayBudget]:
        return self.paced

    def split(self, wanted: Wanted) -> Split | None:
        return StubSplit()

    def counters(self, wanted: Wanted) -> ArmCounters | None:
        return self.counting


class FileSource(StubSource):
    """A ledger in a file, so that a test can move the champion of workers that are other processes.

    The file holds `{"generation": 1, "digest": "..."}`, and `slow_s` or `hang` where a worker is to misbehave.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def wanted(self) -> Wanted:
        try:
            said = json.loads(self._path.read_text())
        except FileNotFoundError:
            return Wanted()
        if said.get("hang") == os.getpid():
            raise StoreUnavailable("hanging")
        return Wanted(said["generation"], (WantedArm("stable", Digest(said["digest"])),), why_not="")

    def engine(self, digest: Digest, plan: str) -> StubEngine:
        made = super().engine(digest, plan)
        made.slow_s = float(os.environ.get("STUB_SLOW_S", "0"))
        return made
