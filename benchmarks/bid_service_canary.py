"""A canary that fails five times as often as the champion, live: how long until it answers no more.

The champion's model fails for 2 requests in 1,000, the candidate's for 10; both are answered in the end by the ladder. The ramp is
the platform's own from its first step with traffic on, 5 % for the candidate and 5 % for the champion loaded afresh; the judge
looks as often as the policy means.

Run as a module, this is the service whose engines fail (`serve`), one worker of it, or the judge (`judge`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.bid_service_world import MARKET, Asked, crown, open_platform, record
from benchmarks.common import ROOT, Figure, figure
from benchmarks.load import cores, on_core, open_loop, steady
from ml.core.digests import Digest

if TYPE_CHECKING:
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
_FAILING: Final = "BIDWRIGHT_BENCHMARK_FAILING"
_USERS: Final = "user-"
"""How the keys of the load begin: what the service itself asks while it warms an engine up does not fail."""
_PARTS: Final = 1 << 32


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

    command = [sys.executable, "-m", "benchmarks.bid_service_canary", "serve"]
    with world.service("second", command=command, environment={_FAILING: json.dumps(failing)}) as service:
        with on_core(cores()[1]):
            judge = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.bid_service_canary", "judge", str(world.home), candidate], cwd=ROOT
            )
        try:
            with on_core(cores()[1]):
                requests = service.requests(keys=5_000)
                load = open_loop(service.address, requests, steady((RATE, asked.lasts(SECONDS))), seen=note)
            out = judge.poll() is not None
        finally:
            judge.kill()
            judge.wait()
    if not answers:
        raise RuntimeError("the candidate was never asked: see the service's log")
    if not out:
        sys.stderr.write("the candidate was not stopped while the load lasted\n")
        return load.seconds, load.errors()
    return max(answers) - min(answers), load.errors()


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

        command = (sys.executable, "-m", "benchmarks.bid_service_canary")
        Workers(listener, count=1, home=Path(home), changed=tell, command=command).run()


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


def judge(home: str, candidate: Digest) -> None:
    """Let the candidate begin, and judge it as often as the policy means until it is out."""
    from ml.ledger import bars
    from ml.promotion.canary import FolderStats
    from ml.promotion.ramp import RAMP
    from ml.promotion.rollout import enqueue, tick
    from ml.serving.arm_stats import arms_folders

    platform = open_platform(home, MARKET)
    # One run after another on the same ledger: what the last one left barred may try again.
    policy = replace(RAMP, steps=RAMP.steps[1:], cooldown=RAMP.every * 0, max_automatic=1_000)
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
            return
        time.sleep(policy.every.total_seconds())


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(os.environ["BIDWRIGHT_HOME"])
    elif sys.argv[1] == "judge":
        judge(sys.argv[2], Digest(sys.argv[3]))
    else:
        from ml.serving.worker import main

        main(failing_parts)
