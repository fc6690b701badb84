"""`bidwright serve` keeps a day to its budget: two worker processes, their pacemaker, callers, a restart, and the explanation."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from ml.bidding.day_budget import QUARTERS, day_budget
from ml.serving.event_log import events_folder
from ml.serving.explain import built_in_engine, explain_decision
from ml.serving.spending import DAY_US, RESERVE
from tests.models.conftest import AS_OF, clicks_known, make_offers
from tests.serving.engine_stand_ins import itinerary_bundle
from tests.serving.service.conftest import TOKEN
from tests.serving.service.test_rollout_through_service import MARKET, ROOT, World

BUDGET = 60_000_000
SLOW_S = 300.0
"""No guarantee: on a machine that has much else to do an answer may take a second."""
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


class Paced:
    """A service that is up, and what a caller heard of it."""

    def __init__(self, url: str, check_in: str, process: subprocess.Popen[str]) -> None:
        self.url, self._check_in, self.process = url, check_in, process
        self.spent = 0.0
        self.largest = 0
        self.last: dict[str, Any] = {}

    def ask(self, partner: str = "google") -> int:
        """The bid on one candidate, by a connection of its own, so that each worker is asked."""
        user = {"partner": partner, "market": "DE", "device": "mobile", "country": "DE"}
        one = {"id": "a", "hotel_id": "h1", "check_in": self._check_in, "los_nights": 2, "price_micros": 90_000_000}
        asked = {"key": "k", "user": user, "candidates": [one]}
        self.last = httpx.post(f"{self.url}/v1/bids", json=asked, headers=HEADERS, timeout=SLOW_S).json()
        bid = self.last["bids"][0]
        if partner == "google":
            self.spent += int(bid["score"])
            self.largest = max(self.largest, bid["bid_micros"])
        return int(bid["bid_micros"])

    def stopped(self) -> bool:
        """Whether the budget leaves nothing of a bid; a worker that has just started makes none for another reason."""
        return self.ask() == 0 and self.last["bids"][0]["reason"] == "paced"

    def told(self) -> int:
        """What the service says that today is expected to cost; 0 from a worker that has not heard yet."""
        found = httpx.get(f"{self.url}/v1/models", headers=HEADERS, timeout=SLOW_S).json()
        return int(found["pacing"]["partners"].get("google", {"spend_expected_micros": 0})["spend_expected_micros"])


def until(holds: Callable[[], Any]) -> None:
    """Wait for what has to happen."""
    give_up = time.monotonic() + SLOW_S
    while not holds():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.005)


@contextmanager
def serving(world: World) -> Iterator[Paced]:
    whole = {name: value for name, value in os.environ.items() if not name.startswith("BIDWRIGHT_")}
    whole |= {
        "PYTHONPATH": str(ROOT), "BIDWRIGHT_HOME": str(world.home), "BIDWRIGHT_MARKET": MARKET,
        "BIDWRIGHT_SERVE_MEMORY": str(world.home / "memory"), "BIDWRIGHT_SERVE_TOKEN": TOKEN,
        "BIDWRIGHT_SERVE_DEADLINE_MS": "30000", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "ml.cli", "serve", "--port", "0", "--workers", "2", "--wait", "--json"]
    with (world.home / "serve.log").open("a") as log:
        process = subprocess.Popen(command, env=whole, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line, (world.home / "serve.log").read_text()
        yield Paced(json.loads(line)["url"], (world.day + timedelta(days=10)).isoformat(), process)
    finally:
        process.terminate()
        process.wait(SLOW_S)
        if process.stdout:
            process.stdout.close()


@pytest.fixture
def world(tmp_path: Path) -> World:
    artefacts = itinerary_bundle({"conversion": clicks_known(make_offers(), AS_OF)}, click=False).artefacts
    made = World(tmp_path, artefacts, budgets={"google": day_budget(BUDGET, [0] * QUARTERS)})
    now_us = int(made.platform.clock.now().timestamp() * 1e6)
    if DAY_US - now_us % DAY_US < 900_000_000:
        pytest.skip("the day is about to end, and with it its budget")
    # The day so far is known: nothing was spent.
    serving_home = made.platform.settings.serving
    serving_home.mkdir(parents=True, exist_ok=True)
    kept = {"day": now_us // DAY_US, "partners": {"google": [0, 0, 1.0]}}
    (serving_home / f"spend-{MARKET}.json").write_text(json.dumps(kept))
    return made


def test_a_service_of_two_workers_stops_at_the_budget_and_a_killed_worker_or_a_restart_gives_nothing_back(
    world: World,
) -> None:
    most = BUDGET * (1 - RESERVE)
    with serving(world) as service:
        until(lambda: service.ask() > 0)
        workers = psutil.Process(service.process.pid).children()
        for _ in range(5):
            service.ask()
        workers[0].send_signal(signal.SIGKILL)
        until(lambda: not workers[0].is_running() or workers[0].status() == psutil.STATUS_ZOMBIE)

        def bids() -> bool:
            try:
                return service.ask() > 0
            except httpx.TransportError:
                return False  # it was on the connection of the worker that died

        until(bids)
        first = dict(service.last)  # whose event was not in the memory of the worker that died
        until(lambda: service.stopped() and service.told() >= most)
        until(lambda: all(service.stopped() for _ in range(5)))
        stopped = dict(service.last)
        assert most - 3 * service.largest <= service.spent <= most + 6 * service.largest, "a few were under way"
        until(lambda: service.told() >= service.spent)
        total = service.told()
        assert service.ask("trivago") > 0, "a partner without a budget is bid to as ever"
    with serving(world) as again:
        until(lambda: again.told() >= total)
        assert sum(again.ask() > 0 for _ in range(12)) <= 2, "at most the first allowance of each worker"
    for answer, pacing in ((first, 1.0), (stopped, 0.0)):
        found = explain_decision(
            world.platform.lake, events_folder(world.home, MARKET), answer["trace_id"], built_in_engine(world.platform)
        )
        assert (found.same, found.facts["pacing"]) == (True, pacing)
