"""Rows about the stores around the ledger: Redis, S3, a full disk."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks import bid_service_world
from benchmarks.common import ROOT, memory_folder
from benchmarks.promotion_world import SECOND, prepare
from ml.core.digests import Digest
from ml.core.errors import BidwrightError, CorruptArtefact, NoData, StoreUnavailable
from ml.core.settings import load_settings
from ml.core.units import days_between
from ml.features.online_copy import last_copy
from ml.features.redis_check import last_writing
from ml.lake import s3
from ml.lake.blobs import BlobStore, open_blobs
from ml.lake.lake import Lake
from ml.ledger import champion
from ml.ledger.database import Database
from ml.promotion.bundle import read_bundle, write_bundle
from ml.promotion.keyring import Keyring
from ml.promotion.signature import Kind, SecretKey
from tests.faults.campaign.asking import Callers, until
from tests.faults.campaign.core import Ask, Row, Tally, Trial
from tests.faults.campaign.stand import BUCKET, LOOPBACK, Redis, Stand, hangs, no_postgres, no_redis
from tests.faults.proxy import Timeout
from tests.faults.proxy_http import HttpFault
from tests.features.conftest import MARKET, awkward_market, write

FIRST, LAST = date(2024, 2, 8), date(2024, 2, 12)
VIEW = "hotel_traffic"
REDIS_LIMIT_S = 60.0
"""No answer of the online store may take longer: a few of its commands, each given up after 5 s."""

COPIED = "online features copied from Redis"
"""What the bid service's log says of each copy."""

Fault = Callable[[Redis, Stand], Any]


class Online:
    """A small market's features in Redis by the proxy.

    Args:
        stand: whose Redis.
        folder: for its lake.
        market: whose features they are said to be.
    """

    def __init__(self, stand: Stand, folder: Path, market: str = MARKET) -> None:
        from ml.features.build import build_days, market_views
        from ml.features.store import FeatureStore

        lake = Lake(open_blobs(str(folder / "lake"), cache=folder / "cache"), market)
        write(lake, awkward_market())
        build_days(lake, market_views(lake).values(), days_between(FIRST, LAST))
        self.market, self.redis = market, f"{LOOPBACK}:{stand.redis_proxy.port}"
        settings = load_settings(home=folder / "home", market=market, redis=self.redis)
        self.store, self.offline = FeatureStore.open(settings, lake), lake.read(self._table(), LAST)
        self.store.apply()

    @staticmethod
    def _table() -> str:
        from ml.features.definitions import FEATURE_VIEWS

        return FEATURE_VIEWS[VIEW].table

    def write(self) -> None:
        """Put the last day online."""
        self.store.materialize(LAST, LAST)

    def read(self) -> int:
        """How many of the last day's values are served."""
        keys = [*self.store.views[VIEW].entity]
        return int(self.store.read_online(VIEW, self.offline[keys])["traffic_clicks_7d"].notna().sum())


def redis_faults(ask: Ask, tally: Tally) -> None:
    """R6: the writer of features and the platform's reads; a bid service that copies from the same Redis is asked all the while."""
    stand = ask.stand
    online = Online(stand, ask.folder, bid_service_world.MARKET)
    online.write()
    whole = online.read()
    follows = {**stand.world_settings, "BIDWRIGHT_REDIS": online.redis}
    with (
        stand.world.service("first", environment=follows) as service,
        Callers(service, count=2, per_second=20) as callers,
    ):
        for kind, fault in REDIS_FAULTS.items():
            for _ in range(ask.repeats):
                with tally.trial(kind) as trial:
                    _befallen(online, fault, stand, trial, tally, kind)
                    began = time.monotonic()
                    online.write()
                    tally.worst("values served again after, s", time.monotonic() - began)
                    trial.expect("not every value is served again", online.read() == whole > 0)
        written, home = last_writing(online.redis, online.market), stand.world.home
        copied = until(lambda: (last := last_copy(home, online.market)) is not None and last.written == written)
        answers, late = len(callers.answers), callers.late()
    copies = (stand.world.home / "serve.log").read_text().count(COPIED)
    with tally.trial("bids meanwhile", over=True) as trial:
        trial.proof("the bid service copied from this Redis and was asked all the while", copies > 1 and answers)
        trial.expect(f"{callers.errors()} of {answers} requests failed: {callers.statuses}", not callers.errors())
        trial.expect("the bid service has no copy of what was written last", copied)
    tally.totals["bids answered meanwhile"] += answers
    tally.totals["bids answered after more than 100 ms"] += late
    tally.totals["copies that the bid service made"] += copies


def _befallen(online: Online, fault: Fault, stand: Stand, trial: Trial, tally: Tally, kind: str) -> None:
    with fault(stand.redis, stand) as proof:
        for work in (online.write, online.read):
            hung, error, took = hangs(work, REDIS_LIMIT_S)
            tally.worst(f"{kind}: longest answer, s", took)
            trial.expect(f"no answer within {REDIS_LIMIT_S:.0f} s", not hung)
            trial.expect(f"told as {error!r}", error is None or isinstance(error, StoreUnavailable))
        trial.proof(proof(), proof())


@contextmanager
def _killed(redis: Redis, _: Stand) -> Iterator[Callable[[], str]]:
    said = redis.kill()
    try:
        yield lambda: said
    finally:
        redis.start()


@contextmanager
def _flushed(redis: Redis, _: Stand) -> Iterator[Callable[[], str]]:
    client = redis.client()
    before = client.dbsize()
    client.flushall()
    empty = client.dbsize() == 0 < before
    yield lambda: "FLUSHALL emptied a Redis with keys" if empty else ""


@contextmanager
def _paused(redis: Redis, stand: Stand) -> Iterator[Callable[[], str]]:
    redis.client().client_pause(1_000, all=True)
    began = time.monotonic()
    yield lambda: "CLIENT PAUSE for a second" if time.monotonic() - began > 0.9 else ""


@contextmanager
def _silent(_: Redis, stand: Stand) -> Iterator[Callable[[], str]]:
    proxy = stand.redis_proxy
    before = proxy.counts["timeout"]
    proxy.toxics = [Timeout()]
    try:
        yield lambda: "the proxy held answers back" if proxy.counts["timeout"] > before else ""
    finally:
        proxy.toxics = []


@contextmanager
def _configured(redis: Redis, what: str, name: str, value: str, usual: str) -> Iterator[Callable[[], str]]:
    import redis as package

    client = redis.client()
    client.config_set(name, value)
    try:
        try:
            client.set("probe", "x" * 10_000)
            refused = ""
        except package.RedisError as error:
            refused = f"Redis refused a write: {str(error)[:40]}"
        yield lambda: refused
    finally:
        client.config_set(name, usual)


REDIS_FAULTS: Mapping[str, Fault] = {
    "kill -9": _killed,
    "flushed": _flushed,
    "stalls for a second": _paused,
    "never answers": _silent,
    "read-only": lambda redis, _: _configured(redis, "read-only", "min-replicas-to-write", "1", "0"),
    "out of memory": lambda redis, _: _configured(redis, "out of memory", "maxmemory", "1", "0"),
}

S3_FAULTS: Mapping[str, HttpFault] = {
    "500": HttpFault("status", 500),
    "503 SlowDown": HttpFault("status", 503),
    "403": HttpFault("status", 403),
    "expired token": HttpFault("status", 400),
    "reset in the body": HttpFault("reset_body", method="GET"),
    "truncated body": HttpFault("truncated", method="GET"),
    "wrong bytes": HttpFault("wrong_bytes", method="GET"),
    "stalls": HttpFault("stall", seconds=35.0),
    "list lags": HttpFault("stale", method="GET"),
    "answer lost": HttpFault("lost"),
}
PATIENT_STALLS = 3
MOST_REQUESTS = 4
"""Of one call: the first, and three retries."""


def s3_faults(ask: Ask, tally: Tally) -> None:
    """R7: a bundle is published and read by a store that fails in one way."""
    proxy = ask.stand.s3_http
    usual = s3._CONFIG
    hasty = usual.merge(type(usual)(read_timeout=1, connect_timeout=1))
    tally.notes.append(
        "in the short campaign the client waits 1 s for S3 instead of 30 s"
        if not ask.full
        else f"where S3 stalls the client waits 1 s; {PATIENT_STALLS} more times it waits its own 30 s"
    )
    secret = SecretKey.generate(Kind.RELEASE)
    keys = Keyring((secret.public,), secret)
    with closing(Database.open(f"sqlite:///{ask.folder / 'ledger.db'}")) as db:
        db.migrate()
        prepare(db, "trial")
        try:
            for kind, fault, patient, repeats in _s3_trials(ask):
                s3._CONFIG = usual if patient else hasty
                for number in range(repeats):
                    with tally.trial(kind) as trial:
                        proxy.forget()
                        _publish_and_read(ask, kind, fault, number, keys, trial)
                        live = champion.current(db, "trial")
                        trial.expect("the alias moved", live is not None and live.digest == SECOND)
        finally:
            s3._CONFIG, proxy.fault = usual, None


def _s3_trials(ask: Ask) -> Iterator[tuple[str, HttpFault, bool, int]]:
    """Each kind with its fault, whether the client waits as long as it does by itself, and how often.

    A stall that is waited for to the end takes five minutes, since every call is tried three times.
    """
    for kind, fault in S3_FAULTS.items():
        if fault.kind != "stall":
            yield kind, fault, ask.full, ask.repeats
            continue
        yield kind, replace(fault, seconds=1.5), False, ask.repeats
        if ask.full:
            yield f"{kind} for 35 s", fault, True, min(ask.repeats, PATIENT_STALLS)


def _publish_and_read(ask: Ask, kind: str, fault: HttpFault, number: int, keys: Keyring, trial: Any) -> None:
    proxy = ask.stand.s3_http
    before = sum(proxy.counts[name] for name in proxy.counts if name != "connections")
    prefix = f"{kind.replace(' ', '-')}-{number}"

    def store() -> BlobStore:
        return open_blobs(
            f"s3://{BUCKET}/{prefix}", cache=ask.folder / "cache" / prefix, endpoint=f"http://{LOOPBACK}:{proxy.port}"
        )

    files = {"m/model.txt": f"{kind} {number}\n".encode() * 2_000, "golden.json": b"{}"}

    def publish() -> Digest:
        return write_bundle(store(), artefacts=files, meta={"of": prefix}, keys=keys)

    store().list("")
    proxy.fault = fault
    _typed(trial, "publishing", publish)
    proxy.fault = None
    proxy.forget() if fault.kind != "stale" else None
    digest = publish()
    trial.expect("what was published is not what was meant", read_bundle(store(), digest, keys).artefacts == files)
    proxy.fault = fault
    asked = proxy.counts["connections"]
    with_fault = _typed(trial, "one read", lambda: store().get(f"bundles/{digest}/m/model.txt"))
    trial.expect(
        f"{proxy.counts['connections'] - asked} requests for one read",
        proxy.counts["connections"] - asked <= MOST_REQUESTS,
    )
    found = _typed(trial, "reading", lambda: read_bundle(store(), digest, keys))
    trial.expect("other bytes than were published count as the bundle", found is None or found.artefacts == files)
    proxy.fault = None
    del with_fault
    trial.expect("it is not read again", read_bundle(store(), digest, keys).artefacts == files)
    after = sum(proxy.counts[name] for name in proxy.counts if name != "connections")
    trial.proof(f"the proxy did it to an answer: {fault.kind}", after > before)


def _typed(trial: Any, what: str, work: Callable[[], Any]) -> Any:
    """What came of it; None after an error, which has to be one of ours."""
    try:
        return work()
    except BidwrightError as error:
        trial.expect(f"{what} told as {error!r}", isinstance(error, StoreUnavailable | CorruptArtefact | NoData))
    return None


def full_disk(ask: Ask, tally: Tally) -> None:
    """R8: every writer of the platform on a file system of 8 MB that is full."""
    command = ["unshare", "--mount", sys.executable, "-m", "tests.faults.campaign.disk_child", str(ask.folder / "disk")]
    for _ in range(ask.repeats):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        for found in map(json.loads, done.stdout.splitlines()):
            with tally.trial(found["writer"]) as trial:
                trial.proof("the tmpfs of 8 MB said ENOSPC", found["full"])
                trial.expect(f"told as {found['error']}", found["typed"])
                trial.expect(f"visible: {found['partial']}", not found["partial"])
                trial.expect(f"with room again: {found['again']}", found["again"] == "ok")


def no_mounts() -> str:
    """Why there can be no file system of our own; empty where there can."""
    done = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(memory_folder() or "/mnt")],
        capture_output=True,
        check=False,
    )
    return "" if done.returncode == 0 else "no right to mount a tmpfs in a namespace of our own"


ROWS = {
    "R6": Row(
        "Redis is killed, flushed, stalls, is read-only or out of memory",
        "kill -9, FLUSHALL, CLIENT PAUSE, CONFIG SET, a proxy that holds answers back",
        "each write and read ends with an answer or StoreUnavailable in bounded time; afterwards all values are served again; no request "
        "for a bid fails meanwhile",
        "0 replies over 100 ms",
        redis_faults,
        short=1,
        full=20,
        needs=lambda: no_redis() or no_postgres(),
    ),
    "R7": Row(
        "S3 fails: statuses, resets, truncated and wrong bodies, stalls, lists that lag",
        "the proxy's HTTP mode in front of moto's S3 server",
        "at most 4 requests for one read; an error of ours or the right bytes, never others; the alias stands; it works again afterwards",
        "9 kinds x 50",
        s3_faults,
        short=1,
        full=50,
    ),
    "R8": Row(
        "The disk is full",
        "a tmpfs of 8 MB in a mount namespace, filled up",
        "StoreUnavailable, no partial file visible, and with room again the same write succeeds",
        "every writer",
        full_disk,
        short=1,
        full=20,
        needs=no_mounts,
    ),
}
