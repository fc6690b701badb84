"""Rows about the bid service: workers that die or hang, restarts under load, and going back while a store is away."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.bid_service_world import Service, World, crown
from benchmarks.load import open_loop, steady
from benchmarks.load_wire import Address
from local.cluster import stores
from local.cluster.places import USUAL
from local.supervisor import Supervisor
from ml.core.digests import Digest
from ml.core.errors import StoreUnavailable
from tests.faults.campaign.asking import Callers, until
from tests.faults.campaign.core import Ask, Row, Tally, Trial
from tests.faults.campaign.rows_platform import no_cluster
from tests.faults.campaign.stand import Stand, no_postgres, wait_for
from tests.ledger.conftest import free_port

TWO_WORKERS = (sys.executable, "-m", "ml.cli", "serve", "--port", "0", "--workers", "2", "--wait", "--json")
WATCHDOG_S = 5.0
_START_S = 60.0
_RATE, _LASTS_S = 1_000.0, 30.0
_DIRECT = "kill -9, asked without the proxy"
_REPLACED = "every worker was replaced while requests came"


def rolled_back_without_stores(ask: Ask, tally: Tally) -> None:
    """R23."""
    stand, world = ask.stand, ask.stand.world
    first, second = world.digests["first"], world.digests["second"]
    with world.service("first", environment=stand.world_settings) as service, Callers(service, count=2) as callers:
        for _ in range(ask.repeats):
            _move(world, callers, second)
            with tally.trial("PostgreSQL is down") as trial:
                _database_down(stand, service, callers, first, second, trial)
            _move(world, callers, second)
            with tally.trial("the previous bundle is gone from the blob store") as trial:
                _bundle_gone(world, service, callers, first, trial, tally)
        broken = callers.errors()
    # A worker is killed in each repetition, and takes what it was just answering with it.
    tally.totals["requests lost with killed workers"] = broken


def _database_down(
    stand: Stand, service: Service, callers: Callers, first: Digest, second: Digest, trial: Trial
) -> None:
    world = stand.world
    trial.proof(stand.postgres.crash("kill -9"), True)
    try:
        _refused(world, first, trial)
        _restarted(service, callers, second, trial)
    finally:
        stand.postgres.again()
    trial.expect("after the database came back the rollback does not answer", _move(world, callers, first))


def _refused(world: World, digest: Digest, trial: Trial) -> None:
    try:
        crown(world.platform, digest, datetime.now(UTC))
    except StoreUnavailable:
        return
    trial.expect("a rollback without a database was not refused", False)


def _bundle_gone(world: World, service: Service, callers: Callers, first: Digest, trial: Trial, tally: Tally) -> None:
    blobs = world.platform.blobs
    kept = {key: blobs.get(key) for key in blobs.list(f"bundles/{first}/")}
    for key in kept:
        blobs.delete(key)
    trial.proof("the blob store has no file of the bundle", kept and not blobs.list(f"bundles/{first}/"))
    try:
        began = time.monotonic()
        trial.expect("the rollback does not answer", _move(world, callers, first))
        tally.worst("rollback from the decision to the first answer, s", time.monotonic() - began)
        _restarted(service, callers, first, trial)
    finally:
        for key, data in kept.items():
            blobs.put(key, data)


def _move(world: World, callers: Callers, digest: Digest) -> bool:
    """Make a bundle the champion; whether the service answers with it within a minute."""
    crown(world.platform, digest, datetime.now(UTC))
    return bool(until(lambda: callers.answers[-1].said.get("version") == digest[:12]))


def _restarted(service: Service, callers: Callers, digest: Digest, trial: Trial) -> None:
    """Kill the worker: the one that takes its place serves this bundle from its own copy."""
    [before] = service.workers()
    os.kill(before, signal.SIGKILL)
    came = until(lambda: before not in service.workers() and len(service.workers()) == 1, _START_S)
    since = time.monotonic()
    trial.expect("no worker took the killed one's place", came)
    said = until(
        lambda: [one for one in callers.answers if one.at > since and one.said.get("step") == "model"], _START_S
    )
    trial.expect("a new worker does not serve the last bundle", said and said[-1].said["version"] == digest[:12])


def worker_ends(ask: Ask, tally: Tally) -> None:
    """R24: asked as a partner does, through the proxy of the stack, and, what a kill costs without one, asked itself."""
    stand = ask.stand
    kinds = {"kill -9": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGSTOP": signal.SIGSTOP, _DIRECT: signal.SIGKILL}
    for number, (kind, ends) in enumerate(kinds.items()):
        with (
            stand.world.service("first", command=TWO_WORKERS, environment=stand.world_settings) as service,
            _behind_proxy(service, ask.folder / str(number)) as proxy,
            Callers(service, count=2, per_second=25, address=None if kind == _DIRECT else proxy) as callers,
        ):
            for _ in range(ask.repeats):
                with tally.trial(kind) as trial:
                    _end_one(service, callers, kind, ends, trial, tally)


@contextmanager
def _behind_proxy(service: Service, folder: Path) -> Iterator[Address]:
    """The proxy of `make cluster` in front of a service, which it takes for both of its own."""
    folder.mkdir()
    host, port = service.address
    ports = replace(USUAL, proxy=free_port(), bid_1=port, bid_2=port)
    started = Supervisor(folder)
    started.start(stores.proxy(stores.find_programs()["haproxy"], ports, folder / "log"))
    try:
        wait_for(ports.proxy)
        yield (host, ports.proxy)
    finally:
        started.stop()


def _end_one(service: Service, callers: Callers, kind: str, number: signal.Signals, trial: Trial, tally: Tally) -> None:
    workers = service.workers()
    trial.expect(f"{len(workers)} workers before", len(workers) == 2)
    [one, _] = workers
    began = time.monotonic()
    os.kill(one, number)
    gone = until(lambda: one not in service.workers(), _START_S)
    took = time.monotonic() - began
    trial.proof(f"the worker ended after {number.name}", gone)
    trial.expect("the other two do not serve again", until(lambda: len(service.workers()) == 2, _START_S))
    # The next repetition finds two that answer.
    until(lambda: _ready(service), _START_S)
    callers.more(10)
    since = [one for one in callers.answers if one.at >= began]
    lost = [one for one in since if one.status != 200]
    late = [one for one in lost if one.begun > began + took]
    tally.worst(f"{kind}: requests lost at most", len(lost))
    tally.worst(f"{kind}: worker gone after, s", took)
    tally.totals[f"{kind}: answers"] += len(since)
    tally.totals[f"{kind}: of them no-bids, for want of time"] += sum(one.said.get("step") == "no_bid" for one in since)
    trial.expect(f"{len(late)} requests failed that were sent after it had ended", not late)
    trial.expect(f"{len(lost)} requests lost that it was to answer first", number != signal.SIGTERM or not lost)
    # The kernel closes a killed process's connections only once it has cleared its memory: who sends meanwhile loses a request.
    most = callers.count if kind == _DIRECT else 1
    trial.expect(f"{len(lost)} requests lost by one kill", number != signal.SIGKILL or len(lost) <= most)
    if number == signal.SIGSTOP:
        # The watchdog looks ten times a second; the process it kills has to be scheduled to end.
        trial.expect(f"a worker that hung lived for {took:.1f} s", took <= WATCHDOG_S + 2.0)


def _ready(service: Service) -> bool:
    text = service.get("/metrics")
    return sum('what="ready"' in line and line.endswith(" 1") for line in text.splitlines()) >= 2


def rolling_restart(ask: Ask, tally: Tally) -> None:
    """R25."""
    stand = ask.stand
    with stand.world.service("first", command=TWO_WORKERS, environment=stand.world_settings) as service:
        for _ in range(ask.repeats):
            before = set(service.workers())
            if not ask.full:
                with tally.trial("SIGHUP at 200 requests/s") as trial, Callers(service, count=4) as callers:
                    trial.proof(_REPLACED, _hang_up(service, before, _START_S))
                    callers.more(100)
                    trial.expect(f"{callers.errors()} errors: {callers.statuses}", not callers.errors())
                    tally.worst("requests", len(callers.answers))
                continue
            with tally.trial(f"SIGHUP at {_RATE:.0f} requests/s") as trial:
                with _beside(partial(_hang_up, service, before, _LASTS_S - 2.0)) as replaced:
                    load = open_loop(service.address, service.requests(), steady((_RATE, _LASTS_S)))
                trial.proof(_REPLACED, replaced())
                trial.expect(f"{load.errors()} errors: {load.statuses}", not load.errors())
                tally.worst("p99, ms", load.percentile_ms(0.99))


def _hang_up(service: Service, before: set[int], seconds: float) -> bool:
    service.process.send_signal(signal.SIGHUP)
    return bool(until(lambda: not before & set(service.workers()) and len(service.workers()) == 2, seconds))


@contextmanager
def _beside(work: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
    """Do something in a thread while the block runs; what it gave, once both are over."""
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()

    def result() -> bool:
        thread.join(60)
        return bool(found and found[0])

    yield result


ROWS = {
    "R23": Row(
        "Rollback while the database is down, or while the previous bundle is gone from the blob store",
        "kill -9 of PostgreSQL; the bundle's files deleted; in both cases the worker is killed too",
        "without a database a rollback is refused and what serves goes on, in a new worker too; without the bundle the machine's copy serves",
        "50",
        rolled_back_without_stores,
        short=1,
        full=25,
        needs=no_postgres,
    ),
    "R24": Row(
        "A worker of the bid service is killed, told to end, or hangs",
        "kill -9, SIGTERM, SIGSTOP of one of two workers that are asked, through the proxy of the stack; kill -9 without it too",
        "a kill loses one request at most, without the proxy one of each connection, and none that was sent after it; SIGTERM loses none; "
        "who hangs is replaced after 5 s",
        "200; at most one request lost by a kill",
        worker_ends,
        short=1,
        full=50,
        needs=no_cluster,
    ),
    "R25": Row(
        "Rolling restart under load",
        "SIGHUP to the service while requests come",
        "every worker is replaced and no request fails",
        "20 at 1,000/s, 0 errors",
        rolling_restart,
        short=1,
        full=20,
        needs=no_postgres,
    ),
}
