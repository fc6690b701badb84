"""A rollout from end to end: ledger, bundles, the service in processes of its own, callers, and the judge's ticks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from ml.bidding.day_budget import DayBudget
from ml.bidding.serving_plan import ANY, RETENTION_KEYS, make_plan, write_plan
from ml.core.clock import SystemClock
from ml.core.digests import Digest, digest_bytes
from ml.core.settings import load_settings
from ml.core.verdict import Verdict
from ml.ledger import bars, champion, decisions, publications, rollouts, versions
from ml.ledger.publications import Publication
from ml.platform import Platform
from ml.promotion.bundle import write_bundle
from ml.promotion.canary import FolderStats
from ml.promotion.keyring import signing_keyring
from ml.promotion.ramp import FastLimits, RampPolicy, Step
from ml.promotion.rollout import Ticked, enqueue, tick
from ml.serving.arm_stats import arms_folders
from ml.serving.arms import Arm, Shares, Split
from tests.models.conftest import AS_OF, clicks_known, make_offers
from tests.serving.engine_stand_ins import itinerary_bundle
from tests.serving.service.conftest import PATIENCE_S, TOKEN, until
from tests.serving.service.failing_worker import FAILING

ROOT = Path(__file__).parents[3]
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
MARKET = "m"
CALLERS = 3
_EASY = FastLimits()
# A short ramp: what is shown by some hundred requests has to do, and how quick this machine is decides nothing.
LIMITS = replace(
    _EASY,
    beta=0.2,
    requests=50,
    rates=tuple(replace(rate, margin=0.25) for rate in _EASY.rates),
    quantile=0.5,
    latency_ratio=1000.0,
)
SHARES = Shares(0.3, 0.3)
SHADOW = Step("shadow", answers=False, shares=SHARES, requests=120, watched=timedelta(0))
CANARY = Step("canary", answers=True, shares=SHARES, requests=120, watched=timedelta(0))
RAMP = RampPolicy(steps=(SHADOW, CANARY), fast=LIMITS, cooldown=timedelta(0))
PARENT = """
import json, sys
from pathlib import Path
from ml.serving.workers import Workers, listen
listener = listen("127.0.0.1", 0)
url = f"http://127.0.0.1:{listener.getsockname()[1]}"
def changed(state):
    if state.ready:
        print(json.dumps({"url": url}), flush=True)
Workers(listener, count=1, home=Path(sys.argv[1]), changed=changed, command=[sys.executable, sys.argv[2]]).run()
"""


class World:
    """A platform with a plan, a champion and candidates: the same models under other digests."""

    def __init__(
        self, home: Path, artefacts: Mapping[str, bytes], *, budgets: Mapping[str, DayBudget] | None = None
    ) -> None:
        self.home, self._artefacts, self._budgets = home, artefacts, budgets
        self.platform = Platform(
            load_settings(home=home, market=MARKET, serve_memory=str(home / "memory")), SystemClock()
        )
        self.db = self.platform.db
        self.db.migrate()
        self.day = self.platform.clock.now().date()
        self._publish()
        self.champion = self.bundle("champion")
        number = self._decide(self.champion)
        at = self.platform.clock.now()
        champion.move(
            self.db, MARKET, digest=self.champion, expected_generation=0, decision_id=number, day=self.day, at=at
        )

    def bundle(self, name: str) -> Digest:
        """A signed bundle of the models, in the store and in the ledger."""
        at, keys = self.platform.clock.now(), signing_keyring(self.platform.settings)
        digest = write_bundle(self.platform.blobs, artefacts=self._artefacts, meta={"name": name}, keys=keys)
        nothing = digest_bytes(b"")
        versions.register(
            self.db, versions.Version(digest, MARKET, self.day, f"bundles/{digest}/", nothing, self.day, {}, ""), at
        )
        return digest

    def offer(self, candidate: Digest, policy: RampPolicy) -> rollouts.Rollout:
        """Let a candidate wait for its turn."""
        return enqueue(self.db, decision_id=self._decide(candidate), policy=policy, at=self.platform.clock.now())

    def tick(self, policy: RampPolicy) -> Ticked:
        stats = FolderStats(*arms_folders(self.platform.settings))
        return tick(self.db, market=MARKET, stats=stats, clock=self.platform.clock, policy=policy)

    def _decide(self, digest: Digest) -> int:
        live = champion.current(self.db, MARKET)
        decided = decisions.Decision(
            MARKET, self.day, digest, live.digest if live else None, live.generation if live else 0, Verdict.PASS, [],
            digest_bytes(b"policy"), None,
        )  # fmt: skip
        return decisions.record(self.db, decided, self.platform.clock.now())

    def _publish(self) -> None:
        cell = {
            "partner": "google", "market": "DE", "hotel_id": "h1", "device": "mobile", "lead_bucket": "008-014",
            "los_bucket": "02", "clicks_seen": 10, "p_book": 0.03, "net_value_micros": 200_000_000,
            "bid_micros": 400_000,
        }  # fmt: skip
        settings = self.platform.settings
        data = make_plan(
            [pd.DataFrame([cell])], held=[np.zeros(1, dtype=np.bool_)], held_scopes=(),
            retention=pd.DataFrame([dict.fromkeys(RETENTION_KEYS, ANY) | {"retained": 0.8}]), market=MARKET,
            day=self.day, generation=1, take_share=settings.take_share, max_bid_micros=settings.max_bid_micros,
            budgets=self._budgets,
        )  # fmt: skip
        digest, uri = write_plan(self.platform.blobs, MARKET, data)
        entry = Publication(MARKET, publications.SERVING, self.day, digest_bytes(b""), 1, 1, digest, uri)
        publications.record(self.db, entry, at=self.platform.clock.now())


class Load:
    """Callers who ask one request after the other, each with a key that nobody had before.

    Attributes:
        answers: of each caller, in order.
        wrong: what was no answer.
    """

    def __init__(self, url: str, check_in: str) -> None:
        self._url, self._check_in = url, check_in
        self._over = threading.Event()
        self.answers: list[list[dict[str, Any]]] = [[] for _ in range(CALLERS)]
        self.wrong: list[object] = []
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    @property
    def count(self) -> int:
        return sum(map(len, self.answers))

    def all(self) -> list[dict[str, Any]]:
        return [answer for own in self.answers for answer in own]

    def by(self, digest: Digest) -> list[dict[str, Any]]:
        return [answer for answer in self.all() if answer["version"] == digest[:12]]

    def more(self, number: int) -> None:
        """Wait until so many more were answered."""
        then = self.count + number
        until(lambda: self.count >= then or self.wrong)
        assert self.wrong == []

    def close(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _call(self, caller: int) -> None:
        user = {"partner": "google", "market": "DE", "device": "mobile", "country": "DE"}
        number = 0
        with httpx.Client(base_url=self._url, headers=HEADERS, timeout=PATIENCE_S) as client:
            while not self._over.is_set() and not self.wrong:
                number += 1
                key = f"{caller}-{number}"
                one = {"id": "a", "hotel_id": "h1", "check_in": self._check_in, "los_nights": 2}
                asked = {"key": key, "user": user, "candidates": [one | {"price_micros": 90_000_000 + 7_919 * number}]}
                try:
                    found = client.post("/v1/bids", json=asked)
                    told = found.json()
                    if found.status_code != 200 or told["bids"][0]["bid_micros"] <= 0:
                        self.wrong.append(found.text)
                    else:
                        self.answers[caller].append(told | {"key": key})
                except Exception as error:  # noqa: BLE001  (whatever a caller meets, the test tells it)
                    self.wrong.append(error)


class Service:
    """The service, up, with callers."""

    def __init__(self, url: str, load: Load) -> None:
        self.url, self.load = url, load

    def arms(self) -> list[tuple[str, str]]:
        """The arms that answer now, and the bundles."""
        return [
            (arm["arm"], arm["digest"]) for arm in httpx.get(f"{self.url}/v1/models", headers=HEADERS).json()["arms"]
        ]

    def answers_only(self, digest: Digest) -> list[dict[str, Any]]:
        """Answers from the moment on at which one bundle serves all; a caller's answer on its way is none of them."""
        until(lambda: self.arms() == [("stable", digest)])
        marks = [len(own) + 1 for own in self.load.answers]
        self.load.more(20 * CALLERS)
        return [answer for own, mark in zip(self.load.answers, marks, strict=True) for answer in own[mark:]]


@contextmanager
def serving(world: World, command: list[str], **environment: str) -> Iterator[Service]:
    """A service in processes of its own."""
    whole = {name: value for name, value in os.environ.items() if not name.startswith("BIDWRIGHT_")}
    whole |= {
        "PYTHONPATH": str(ROOT), "BIDWRIGHT_HOME": str(world.home), "BIDWRIGHT_MARKET": MARKET,
        "BIDWRIGHT_SERVE_MEMORY": str(world.home / "memory"), "BIDWRIGHT_SERVE_TOKEN": TOKEN, "BIDWRIGHT_SERVE_POLL_SECONDS": "0.1", "BIDWRIGHT_SERVE_DEADLINE_MS": "30000",
        "OMP_NUM_THREADS": "1", **environment,
    }  # fmt: skip
    log = world.home / "serve.log"
    with ExitStack() as stack:
        told = stack.enter_context(log.open("w"))
        process = subprocess.Popen(command, env=whole, stdout=subprocess.PIPE, stderr=told, text=True)
        stack.callback(process.wait, PATIENCE_S)
        stack.callback(process.terminate)
        assert process.stdout
        stack.enter_context(process.stdout)
        line = process.stdout.readline()
        assert line, log.read_text()
        url = json.loads(line)["url"]
        load = Load(url, (world.day + timedelta(days=10)).isoformat())
        stack.callback(load.close)
        load.more(20)
        yield Service(url, load)


def tend(world: World, load: Load, policy: RampPolicy, ends: str) -> list[Ticked]:
    """Judge as requests come, until a tick does `ends`; what the ticks did."""
    done: list[Ticked] = []

    def over() -> bool:
        load.more(20)
        done.append(world.tick(policy))
        assert done[-1].action in {"started", "held", "watched", "stepped", ends}, done[-1]
        return done[-1].action == ends

    until(over)
    return done


@pytest.fixture(scope="module")
def artefacts() -> Mapping[str, bytes]:
    return itinerary_bundle({"conversion": clicks_known(make_offers(), AS_OF)}, click=False).artefacts


@pytest.fixture
def world(tmp_path: Path, artefacts: Mapping[str, bytes]) -> World:
    return World(tmp_path, artefacts)


@pytest.mark.ml_test_score("infra6")
def test_a_candidate_comes_to_power_by_shadow_and_canary_under_load_and_no_request_is_lost(world: World) -> None:
    candidate = world.bundle("candidate")
    serve = [sys.executable, "-m", "ml.cli", "serve", "--port", "0", "--workers", "1", "--wait", "--json"]
    with serving(world, serve) as service:
        load = service.load
        rollout = world.offer(candidate, RAMP)
        shadow = tend(world, load, RAMP, "stepped")[-1].judgement
        assert shadow is not None
        assert shadow.requests >= SHADOW.requests, "candidate and baseline were counted in the shadow"
        canary = tend(world, load, RAMP, "promoted")[-1].judgement
        assert canary is not None
        after = service.answers_only(candidate)
        load.close()
    assert load.wrong == []
    assert {answer["step"] for answer in load.all()} == {"model"}
    for judged in (shadow, canary):
        [spend] = [one for one in judged.findings if one.gate == "spend"]
        assert spend.number is not None
        assert spend.number > 0, "what is expected to be spent was counted"
    assert {(answer["version"], answer["generation"]) for answer in after} == {(candidate[:12], 2)}
    split = Split(rollout.salt, SHARES)
    canaries = [answer for answer in load.by(candidate) if answer["generation"] == 1]
    assert canaries, "it answered its share before it came to power"
    assert {(answer["arm"], split.arm(answer["key"])) for answer in canaries} == {("canary", Arm.CANARY)}
    live = champion.current(world.db, MARKET)
    assert live is not None
    assert (live.digest, live.generation) == (candidate, 2)


def test_a_candidate_that_cannot_be_loaded_is_rolled_back_without_waiting_and_answers_nobody(world: World) -> None:
    candidate = world.bundle("broken")
    for file in (world.home / "blobs").rglob("model.txt"):
        if candidate in str(file):
            file.chmod(0o600)
            file.write_bytes(b"no model")
    serve = [sys.executable, "-m", "ml.cli", "serve", "--port", "0", "--workers", "1", "--wait", "--json"]
    with serving(world, serve) as service:
        world.offer(candidate, RAMP)
        done = tend(world, service.load, RAMP, "rolled_back")
        service.load.close()
    assert done[-1].rollout is not None
    assert "1 of 1 workers cannot load it" in done[-1].rollout.reason
    assert bars.barred(world.db, MARKET, candidate) is not None
    assert service.load.by(candidate) == []
    assert {answer["step"] for answer in service.load.all()} == {"model"}


@pytest.mark.ml_test_score("infra7")
@pytest.mark.parametrize("step", [SHADOW, CANARY], ids=lambda step: step.name)
def test_a_candidate_that_fails_five_times_as_often_is_rolled_back_and_barred_and_never_answers_stable_traffic(
    world: World, step: Step
) -> None:
    candidate, policy = world.bundle("harmful"), replace(RAMP, steps=(replace(step, requests=100_000),))
    failing = {world.champion: 0.06, candidate: 0.3}
    worker = str(Path(__file__).with_name("failing_worker.py"))
    command = [sys.executable, "-c", PARENT, str(world.home), worker]
    with serving(world, command, **{FAILING: json.dumps(failing)}) as service:
        load = service.load
        assert load.by(candidate) == []
        world.offer(candidate, policy)
        done = tend(world, load, policy, "rolled_back")
        assert done[-1].judgement is not None
        failed = {one.gate for one in done[-1].judgement.findings if one.verdict is Verdict.FAIL}
        after = service.answers_only(world.champion)
        assert world.tick(policy).action == "nothing"
        load.close()
    assert load.wrong == [], "whom the models failed for was answered with the last published bids"
    assert failed & {"errors", "fallback"}
    assert {answer["arm"] for answer in load.by(candidate)} == ({"canary"} if step.answers else set())
    assert after
    assert candidate[:12] not in {answer["version"] for answer in after}
    bar, live = bars.barred(world.db, MARKET, candidate), champion.current(world.db, MARKET)
    assert bar is not None
    assert live is not None
    assert (live.digest, live.generation) == (world.champion, 1)
    assert world.offer(candidate, policy).state == "rolled_back", "the same decision starts nothing again"
    assert world.tick(policy).action == "nothing"
