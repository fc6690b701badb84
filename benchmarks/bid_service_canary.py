"""A canary that fails five times as often as the champion, live: how long until it answers no more; and one that is the champion.

The champion's model fails for 2 requests in 1,000, the candidate's for 10; both are answered in the end by the ladder. The ramp is
the platform's own from its first step with traffic on, 5 % for the candidate and 5 % for the champion loaded afresh; the judge
looks as often as the policy means.

The harmless canary is the champion's model in another bundle, failing as often (A/A). It climbs every step with traffic on, with the
step's own shares and requests; only the time under watch is left out, so that the requests alone decide when a step ends.

Run as a module, this is the service whose engines fail (`serve`), one worker of it, or the judge (`judge`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.bid_service_world import MARKET, Asked, crown, open_platform, record
from benchmarks.common import ROOT, Figure, figure
from benchmarks.load import cores, on_core, open_loop, steady
from ml.core.digests import Digest
from ml.ledger import champion

if TYPE_CHECKING:
    from benchmarks.bid_service_world import Service, World
    from ml.bidding.serving_plan import ServingPlan
    from ml.core.clock import Clock
    from ml.core.settings import Settings
    from ml.platform import Platform
    from ml.promotion.bundle import Bundle
    from ml.serving.engine_protocol import Engine, Matrix, Pacing
    from ml.serving.joints import Parts
    from ml.serving.messages import BidRequest, Scored

RATE: Final = 1_500.0
SECONDS: Final = 90.0
SHARES: Final = {"second": 0.002, "first": 0.01}
"""Share of requests that each bundle's model fails for: the champion's and the candidate's."""
_HARMLESS_RATE: Final = 5_000.0
_HARMLESS_PATIENCE: Final = 600.0
"""Seconds after which a harmless canary counts as not promoted."""
_SLICE: Final = 10.0
"""Seconds of load between two looks at whether the judge has ended."""
_FAILING: Final = "BIDWRIGHT_BENCHMARK_FAILING"
_USERS: Final = "user-"
"""How the keys of the load begin: what the service itself asks while it warms an engine up does not fail."""
_PARTS: Final = 1 << 32
_ROLLED_BACK: Final = 3
"""The exit code of a judge that rolled back; 1 is one that failed."""
_SERVE: Final = (sys.executable, "-m", "benchmarks.bid_service_canary", "serve")


def canary(asked: Asked) -> dict[str, Figure]:
    """Seconds from the candidate's first answer to its last, and what the callers noticed."""
    stopped, errors = [], []
    for _ in range(asked.repeats):
        seconds, wrong = _once(asked)
        stopped.append(seconds)
        errors.append(wrong)
    return {
        "canary_stopped": figure(stopped, "s from the first answer to the last", limit=30.0, digits=1),
        "canary_errors": figure(errors, "requests without an answer", limit=0.0),
    }


def _once(asked: Asked) -> tuple[float, int]:
    world = asked.world
    failing = {world.digests[name]: share for name, share in SHARES.items()}
    candidate = world.digests["first"]
    crown(world.platform, world.digests["main"], world.platform.clock.now())  # a new generation, so a new decision
    answers: list[float] = []

    def note(at: float, _status: int, answer: bytes) -> None:
        if candidate[:12].encode() in answer[:400]:
            answers.append(at)

    with (
        world.service("second", command=_SERVE, environment={_FAILING: json.dumps(failing)}) as service,
        _judged(world, candidate, "watched") as judge,
    ):
        with on_core(cores()[1]):
            requests = service.requests(keys=5_000)
            load = open_loop(service.address, requests, steady((RATE, asked.lasts(SECONDS))), seen=note)
        out = judge.poll() is not None
    if not answers:
        raise RuntimeError("the candidate was never asked: see the service's log")
    if not out:
        sys.stderr.write("the candidate was not stopped while the load lasted\n")
        return load.seconds, load.errors()
    return max(answers) - min(answers), load.errors()


def harmless(asked: Asked) -> dict[str, Figure]:
    """Canaries that are the champion in another bundle, one after another under load: how they end, and how long it takes."""
    world = asked.world
    failing = {world.digests[name]: SHARES["second"] for name in ("second", "twin")}
    ends: list[_End] = []
    with world.service("second", command=_SERVE, environment={_FAILING: json.dumps(failing)}) as service:
        for number in range(asked.repeats):
            live = champion.current(world.platform.db, MARKET)
            if live is None:
                raise AssertionError("the service came up on a champion")
            if ends and ends[-1].said != "promoted":
                # A new generation, so a new decision; what still climbs is superseded.
                crown(world.platform, world.digests["main"], world.platform.clock.now())
                crown(world.platform, live.digest, world.platform.clock.now())
            # The one that was promoted is the champion now, so the other one is the next candidate.
            candidate = "twin" if live.digest == world.digests["second"] else "second"
            ends.append(_climbs(asked, service, world.digests[candidate]))
            sys.stderr.write(f"harmless canary {number + 1} of {asked.repeats}: {ends[-1].said}\n")
    unit = f"of {asked.repeats} live A/A canaries"
    return {
        "harmless_rolled_back": figure([float(sum(one.said == "rolled_back" for one in ends))], unit, limit=0.0),
        "harmless_promoted": figure([float(sum(one.said == "promoted" for one in ends))], unit, limit=asked.repeats),
        "harmless_answers": figure([float(one.answers) for one in ends], "answers of the candidate's bundle", digits=0),
        "harmless_seconds": figure([one.seconds for one in ends], "s from its turn to its end", digits=0),
        "harmless_errors": figure([float(one.errors) for one in ends], "requests, neither 200 nor 429", limit=0.0),
        "harmless_refused": figure([float(one.refused) for one in ends], "requests refused with 429", digits=0),
    }


@dataclass(frozen=True)
class _End:
    """How a canary ended: what the judge said, what it answered, how long it took, who got no answer, who was told to wait (429)."""

    said: str
    answers: int
    seconds: float
    errors: int
    refused: int


def _climbs(asked: Asked, service: Service, candidate: Digest) -> _End:
    answers = errors = refused = 0

    def note(_at: float, _status: int, answer: bytes) -> None:
        nonlocal answers
        answers += candidate[:12].encode() in answer[:400]

    began = time.monotonic()
    with _judged(asked.world, candidate, "hurried") as judge:
        requests = service.requests(keys=5_000)
        while judge.poll() is None and time.monotonic() < began + asked.lasts(_HARMLESS_PATIENCE, quick=120.0):
            with on_core(cores()[1]):
                load = open_loop(service.address, requests, steady((_HARMLESS_RATE, _SLICE)), seen=note)
            errors += load.errors(429)
            refused += int((load.status == 429).sum())
        said = {0: "promoted", _ROLLED_BACK: "rolled_back", None: "not ended"}.get(judge.poll(), "the judge failed")
    return _End(said, answers, time.monotonic() - began, errors, refused)


@contextmanager
def _judged(world: World, candidate: Digest, ramp: str) -> Iterator[subprocess.Popen[bytes]]:
    """The judge of a candidate in a process of its own, beside the load; it is stopped at the end."""
    with on_core(cores()[1]):
        judge = subprocess.Popen([*_SERVE[:3], "judge", str(world.home), candidate, ramp], cwd=ROOT)
    try:
        yield judge
    finally:
        judge.kill()
        judge.wait()


def serve(home: str) -> None:
    """The service, its workers with engines that fail."""
    from ml.serving.workers import Workers, listen

    with listen("127.0.0.1", 0) as listener:
        host, port = listener.getsockname()[:2]
        told = False

        def tell(state: Workers) -> None:
            nonlocal told
            if state.ready and not told:
                told = True
                print(json.dumps({"url": f"http://{host}:{port}"}), flush=True)

        Workers(listener, count=1, home=Path(home), changed=tell, command=_SERVE[:3]).run()


class FailingEngine:
    """An engine that raises for a share of requests, chosen by key and instant, so that asking again does not help."""

    def __init__(self, inner: Engine, share: float) -> None:
        self._inner, self._below = inner, round(share * _PARTS)
        self.digest, self.plan, self.layout = inner.digest, inner.plan, inner.layout

    def look_up(self, requests: Sequence[BidRequest]) -> Matrix:
        """As the engine within."""
        return self._inner.look_up(requests)

    def decide(self, requests: Sequence[BidRequest], features: Matrix, *, at_us: int, pacing: Pacing) -> list[Scored]:
        """As the engine within, unless one of the requests is among those that it fails for."""
        for request in requests:
            if request.key.startswith(_USERS) and zlib.crc32(f"{request.key} {at_us}".encode()) < self._below:
                raise RuntimeError("a failure that was planted")
        return self._inner.decide(requests, features, at_us=at_us, pacing=pacing)

    def intermediates(
        self, request: BidRequest, features: Matrix, *, at_us: int, pacing: float
    ) -> list[Mapping[str, float]]:
        """As the engine within."""
        return self._inner.intermediates(request, features, at_us=at_us, pacing=pacing)


def failing_parts(settings: Settings, worker: str) -> tuple[Clock, Parts]:
    """The parts of a worker, its engines failing as the environment says."""
    from ml.serving import wiring

    shares: dict[str, float] = json.loads(os.environ[_FAILING])

    def load(platform: Platform, bundle: Bundle, plan: ServingPlan) -> Engine:
        engine = wiring.load_engine(platform, bundle, plan)
        return FailingEngine(engine, shares[bundle.digest]) if bundle.digest in shares else engine

    return wiring.parts(settings, worker, load=load)


def judge(home: str, candidate: Digest, ramp: str) -> int:
    """Let the candidate begin, and judge it as often as the policy means until it is out, or is the champion.

    Args:
        home: of the platform.
        candidate: its bundle.
        ramp: of the steps with traffic on: `watched`, as slowly as the policy has it, or `hurried`, without its waits.

    Returns:
        The exit code: 0 where it was promoted, 3 where it was rolled back.
    """
    from ml.ledger import bars
    from ml.promotion.canary import FolderStats
    from ml.promotion.ramp import RAMP
    from ml.promotion.rollout import enqueue, tick
    from ml.serving.arm_stats import arms_folders

    platform = open_platform(home, MARKET)
    steps = {
        "watched": RAMP.steps[1:],
        "hurried": tuple(replace(step, watched=timedelta(0)) for step in RAMP.steps[1:]),
    }
    # One run after another on the same ledger: what the last one left barred may try again.
    policy = replace(RAMP, steps=steps[ramp], cooldown=RAMP.every * 0, max_automatic=1_000)
    for one in bars.standing(platform.db, MARKET):
        bars.lift(platform.db, MARKET, one.digest, why="the next run", by="the benchmark", at=platform.clock.now())
    decided = record(platform, candidate, platform.clock.now())
    enqueue(platform.db, decision_id=decided, policy=policy, at=platform.clock.now())
    stats = FolderStats(*arms_folders(platform.settings))
    while True:
        done = tick(platform.db, market=MARKET, stats=stats, clock=platform.clock, policy=policy)
        if done.action == "rolled_back":
            reason: Any = done.rollout.reason if done.rollout else ""
            sys.stderr.write(f"rolled back: {reason}\n")
            return _ROLLED_BACK
        if done.action == "promoted":
            return 0
        if done.action in {"started", "stepped", "restarted"} and done.rollout:
            sys.stderr.write(f"{done.action}: {done.rollout.state}\n")
        time.sleep(policy.every.total_seconds())


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(os.environ["BIDWRIGHT_HOME"])
    elif sys.argv[1] == "judge":
        sys.exit(judge(sys.argv[2], Digest(sys.argv[3]), sys.argv[4]))
    else:
        from ml.serving.worker import main

        main(failing_parts)
