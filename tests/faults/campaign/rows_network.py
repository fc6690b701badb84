"""Rows about the network: the proxy's toxics between us and each server, and a link that goes away."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.common import ROOT
from benchmarks.promotion_world import OPERATIONS, invariants, prepare
from ml.core.errors import BidwrightError, RetryableError
from ml.lake.blobs import open_blobs
from tests.faults.campaign.asking import until
from tests.faults.campaign.core import Ask, Row, Tally, Trial
from tests.faults.campaign.rows_ledger import finish
from tests.faults.campaign.rows_platform import airflow_poisoned, no_cluster
from tests.faults.campaign.rows_stores import Online
from tests.faults.campaign.stand import BUCKET, LOOPBACK, Stand, hangs, no_postgres, no_redis
from tests.faults.proxy import Bandwidth, Latency, LimitData, Proxy, ResetPeer, Slicer, SlowClose, Timeout, Toxic

TOXICS: Mapping[str, Toxic | None] = {
    "latency": Latency(ms=20, jitter_ms=15),
    "bandwidth": Bandwidth(kb_per_second=200),
    "slow_close": SlowClose(ms=500),
    "timeout": Timeout(ms=500),
    "reset_peer": ResetPeer(),
    "slicer": Slicer(size=40, delay_ms=0.2),
    "limit_data": LimitData(size=500),
    "down": None,
}
LIMIT_S = 60.0
SILENT_S = 35.0
HARMLESS = frozenset({"latency", "bandwidth", "slow_close", "slicer"})
"""Toxics that slow down and take nothing away: the work succeeds."""


class Postgres:
    """Promotions through the proxy."""

    def __init__(self, stand: Stand, _: Path) -> None:
        self.stand, self.proxy, self.db = stand, stand.postgres_proxy, stand.ledger

    def begin(self) -> Callable[[], object]:
        """What is to be done under the toxic."""
        self.market = self.stand.market()
        prepare(self.db, self.market)
        self.db.close()  # so that connections are opened, and closed, under the toxic

        def work() -> None:
            try:
                OPERATIONS["promote"](self.db, self.market)
            finally:
                self.db.close()

        return work

    def after(self, trial: Trial) -> None:
        """What must hold once the toxic is gone."""
        trial.expect(f"{invariants(self.db, self.market)}", not invariants(self.db, self.market))
        finish(self.db, self.market, "promote", trial)


class RedisStore:
    """A materialisation and a read through the proxy."""

    def __init__(self, stand: Stand, folder: Path) -> None:
        self.redis, self.proxy = stand.redis, stand.redis_proxy
        self.online = Online(stand, folder)
        self.online.write()
        self.whole = self.online.read()

    def begin(self) -> Callable[[], object]:
        """As for PostgreSQL; the server ends the connections, as one does that restarts."""

        def work() -> None:
            self.online.write()
            self.online.read()
            self.redis.client().client_kill_filter(_type="normal", skipme=True)

        return work

    def after(self, trial: Trial) -> None:
        """As for PostgreSQL."""
        self.online.write()
        trial.expect("not every value is served again", self.online.read() == self.whole > 0)


class S3Store:
    """A blob written and read through the proxy."""

    def __init__(self, stand: Stand, folder: Path) -> None:
        self.proxy = stand.s3_proxy
        self.folder, self.number = folder, 0

    def begin(self) -> Callable[[], object]:
        """As for PostgreSQL."""
        self.number += 1
        endpoint = f"http://{LOOPBACK}:{self.proxy.port}"
        self.blobs = open_blobs(f"s3://{BUCKET}/toxic", cache=self.folder / "cache", endpoint=endpoint)
        self.data = f"{self.number} ".encode() * 2_000

        def work() -> None:
            self.blobs.put(f"k{self.number}", self.data)
            if self.blobs.get(f"k{self.number}") != self.data:
                raise AssertionError("other bytes came back than were put")

        return work

    def after(self, trial: Trial) -> None:
        """As for PostgreSQL."""
        self.blobs.put(f"k{self.number}", self.data)
        trial.expect("other bytes came back than were put", self.blobs.get(f"k{self.number}") == self.data)


SERVERS: Mapping[str, type[Postgres] | type[RedisStore] | type[S3Store]] = {
    "PostgreSQL": Postgres,
    "Redis": RedisStore,
    "S3": S3Store,
}


def toxics(ask: Ask, tally: Tally) -> None:
    """R10."""
    for name, make in SERVERS.items():
        if name == "Redis" and (why := no_redis()):
            tally.notes.append(f"Redis was left out: {why}")
            continue
        (folder := ask.folder / name).mkdir()
        server = make(ask.stand, folder)
        for kind, toxic in TOXICS.items():
            for _ in range(ask.repeats):
                with tally.trial(f"{name}: {kind}") as trial:
                    work = server.begin()
                    with _poisoned(server.proxy, kind, toxic, trial):
                        hung, error, took = hangs(work, LIMIT_S)
                    tally.worst("longest, s", took)
                    trial.expect(f"no answer within {LIMIT_S:.0f} s", not hung)
                    trial.expect(f"told as {error!r}", error is None or isinstance(error, BidwrightError))
                    trial.expect(f"slowed down only, and it failed: {error!r}", kind not in HARMLESS or error is None)
                    server.after(trial)
    if ask.full:
        with tally.trial("PostgreSQL: accepts and never answers") as trial:
            _never_answers(ask, trial)
        if why := no_cluster():
            tally.notes.append(f"Airflow's API was left out: {why}")
        else:
            airflow_poisoned(ask, tally)
    else:
        tally.notes.append("Airflow's API is tried in the full campaign only: a market day goes through for each toxic")


def _never_answers(ask: Ask, trial: Trial) -> None:
    server = Postgres(ask.stand, ask.folder)
    work = server.begin()
    before = server.proxy.counts["timeout"]
    server.proxy.toxics = [Timeout()]
    try:
        hung, error, _ = hangs(work, SILENT_S)
    finally:
        server.proxy.down()
        server.proxy.toxics = []
        server.proxy.up()
    trial.proof("the proxy held answers back", server.proxy.counts["timeout"] > before)
    trial.expect(f"no answer within {SILENT_S:.0f} s: a statement has no time limit of its own", not hung)
    del error
    server.after(trial)


@contextmanager
def _poisoned(proxy: Proxy, kind: str, toxic: Toxic | None, trial: Trial) -> Iterator[None]:
    before = proxy.counts[kind]
    if toxic is None:
        proxy.down()
    else:
        proxy.toxics = [toxic]
    try:
        yield
        until(lambda: proxy.counts[kind] > before, 2.0)  # the end of a connection reaches the proxy a little later
    finally:
        if toxic is None:
            proxy.up()
        proxy.toxics = []
    trial.proof(f"the proxy did it: {kind}", proxy.counts[kind] > before)


NAMESPACE, HERE, THERE = "bidwright-faults", "10.231.77.1", "10.231.77.2"


def partition(ask: Ask, tally: Tally) -> None:
    """R11: a process in a network namespace of its own works on PostgreSQL over a link that is taken down in its middle."""
    stand = ask.stand
    with _namespace() as link, Proxy((LOOPBACK, stand.postgres.port), host=HERE) as door:
        for _ in range(ask.repeats):
            for seconds, kind in ((3.0, "link down for 3 s"), (60.0, "link down for a minute")):
                with tally.trial(kind) as trial:
                    _cut_off(stand, door, link, seconds, trial, tally)


def _cut_off(stand: Stand, door: Proxy, link: str, seconds: float, trial: Trial, tally: Tally) -> None:
    db, market = stand.ledger, stand.market()
    prepare(db, market)
    url = stand.postgres.dsn("ledger").replace(f"{LOOPBACK}:{stand.postgres.port}", f"{HERE}:{door.port}")
    command = [
        "ip",
        "netns",
        "exec",
        NAMESPACE,
        sys.executable,
        "-m",
        "tests.faults.campaign.network_child",
        url,
        market,
    ]
    child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        ready = child.stdout.readline()
        trial.expect(f"the child did not begin: {ready}", ready == "in a transaction\n")
        _ip("link", "set", link, "down")
        began = time.monotonic()
        child.stdin.write("go\n")
        child.stdin.flush()
        reachable = subprocess.run(["ip", "-j", "link", "show", link], capture_output=True, text=True, check=True)
        trial.proof("the link was down while the child committed", '"DOWN"' in reachable.stdout)
        try:
            said = child.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            _ip("link", "set", link, "up")
            said = child.communicate(timeout=LIMIT_S)[0]
        took = time.monotonic() - began
        tally.worst(f"{seconds:.0f} s down: the child knew after, s", took)
        trial.expect(f"the child said {said!r}", said.strip() in {"done", "RetryableError"})
        trial.expect(f"the child knew after {took:.0f} s", took < LIMIT_S)
    finally:
        _ip("link", "set", link, "up")
        child.kill()
        child.wait()
    trial.expect(f"{invariants(db, market)}", not invariants(db, market))
    finish(db, market, "promote", trial)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def _namespace() -> Iterator[str]:
    """A namespace at the other end of a pair of devices; the name of our end."""
    ours = f"bwf{os.getpid() % 100_000}"
    _ip("netns", "add", NAMESPACE)
    try:
        _ip("link", "add", ours, "type", "veth", "peer", "name", "there", "netns", NAMESPACE)
        _ip("addr", "add", f"{HERE}/30", "dev", ours)
        _ip("link", "set", ours, "up")
        _ip("-n", NAMESPACE, "addr", "add", f"{THERE}/30", "dev", "there")
        _ip("-n", NAMESPACE, "link", "set", "there", "up")
        _ip("-n", NAMESPACE, "link", "set", "lo", "up")
        yield ours
    finally:
        _ip("netns", "del", NAMESPACE)


def no_namespaces() -> str:
    """Why there can be no network namespace; empty where there can."""
    if why := no_postgres():
        return why
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "no right to make a network namespace"


def promote_in_namespace(url: str, market: str) -> str:
    """What the child does: promote, with a connection that was opened before the link goes down."""
    from ml.ledger.database import Database

    db = Database.open(url)
    db.check()
    sys.stdout.write("in a transaction\n")
    sys.stdout.flush()
    sys.stdin.readline()
    try:
        OPERATIONS["promote"](db, market)
    except RetryableError:
        return "RetryableError"
    return "done"


ROWS = {
    "R10": Row(
        "The network is slow, narrow or cut",
        "the proxy's toxics latency, bandwidth, slow_close, timeout, reset_peer, slicer, limit_data and down",
        "an answer or an error of ours within a minute, and the work is whole when it is done again; where it stands between workers and Airflow's API, every market day is as an undisturbed one",
        "8 x 4 x 20",
        toxics,
        short=1,
        full=20,
        needs=no_postgres,
    ),
    "R11": Row(
        "A partition",
        "the worker is in a network namespace, whose link is taken down while it promotes",
        "who is cut off knows it within a minute, the ledger is whole, the rerun completes once",
        "50",
        partition,
        short=1,
        full=25,
        needs=no_namespaces,
    ),
}
