"""What the bid service is measured on: a model of listings, their features online, a ledger with a champion, and the service.

300 trees of 63 leaves over 40 features of 100,000 entities in the embedded online store; a request names 20 of them and what a
click on each is worth. Everything is on: the token, the lookup, the split, the event log, the counters, the pacing.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import psutil

from benchmarks.bid_service_peers import Work, stop
from benchmarks.common import ROOT
from benchmarks.load import cores, on_core
from benchmarks.load_wire import Address, post
from ml.bidding.day_budget import QUARTERS, day_budget
from ml.bidding.serving_plan import ANY, RETENTION_KEYS, make_plan, write_plan
from ml.core.clock import SystemClock
from ml.core.digests import Digest
from ml.core.settings import load_settings
from ml.core.verdict import Verdict
from ml.features.online.keys import words_of
from ml.features.online.schema import Column, Dense, Rows, Schema
from ml.features.online.writer import upsert
from ml.features.online_place import PROJECT, view_folder
from ml.ledger import champion, decisions, publications, versions
from ml.ledger.decisions import Decision
from ml.ledger.publications import Publication
from ml.ledger.versions import Version
from ml.platform import Platform
from ml.promotion.bundle import write_bundle
from ml.promotion.keyring import signing_keyring
from ml.promotion.manifest import GOLDEN

MARKET: Final = "bench"
PATH: Final = "/v1/bids"
VIEW: Final = "listings"
WIDTH: Final = 40
SERVE: Final = (sys.executable, "-m", "ml.cli", "serve", "--port", "0", "--workers", "1", "--wait", "--json")
CANDIDATES: Final = 20
REQUESTS: Final = 256
TOKEN: Final = "benchmark-of-the-bid-service"  # noqa: S105  # of a server on loopback, for as long as it is measured
FEATURES: Final = tuple(f"f{number:02}" for number in range(WIDTH))
_FITTED_ROWS: Final = 20_000
_AS_OF: Final = datetime(2026, 3, 1, tzinfo=UTC)
_NO_POLICY: Final = Digest("0" * 64)


@dataclass(frozen=True)
class Service:
    """The bid service, up.

    Attributes:
        address: where it listens.
        process: the parent of its workers.
        world: that it serves.
    """

    address: Address
    process: subprocess.Popen[bytes]
    world: World

    @property
    def headers(self) -> dict[str, str]:
        """What a caller has to send."""
        return {"Authorization": f"Bearer {TOKEN}"}

    def requests(self, *, keys: int = REQUESTS) -> list[bytes]:
        """Requests for bids, whole, of so many users."""
        bodies = self.world.bodies
        named = (
            bodies[number % REQUESTS].replace(b'"user-%d"' % (number % REQUESTS), b'"user-%d"' % number, 1)
            for number in range(keys)
        )
        return [post(self.address, PATH, body, self.headers) for body in named]

    def nothing(self) -> bytes:
        """A request for the handler that does nothing."""
        return f"GET /livez HTTP/1.1\r\nHost: {self.address[0]}\r\n\r\n".encode()

    def get(self, path: str) -> str:
        """What the service says at a path."""
        request = urllib.request.Request(f"http://{self.address[0]}:{self.address[1]}{path}", headers=self.headers)
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # of loopback
            return str(answer.read().decode())

    def events(self) -> dict[str, int]:
        """How many events were taken, made durable and lost, as its metrics say."""
        found = {"taken": 0, "logged": 0, "lost": 0}
        for line in self.get("/metrics").splitlines():
            if line.startswith("bidwright_events_total{"):
                state = line.split('state="')[1].split('"')[0]
                found[state] = found.get(state, 0) + int(float(line.rsplit(" ", 1)[1]))
        return found

    def drained(self, patience: float = 20.0) -> dict[str, int]:
        """The events once all that were taken are durable or lost, or patience ended."""
        until = time.monotonic() + patience
        while True:
            found = self.events()
            if found["logged"] + found["lost"] >= found["taken"] or time.monotonic() > until:
                return found
            time.sleep(0.1)

    def workers(self) -> dict[int, float]:
        """The processes beside the parent, and the MB of memory that each holds."""
        found: dict[int, float] = {}
        for child in self._children():
            with suppress(psutil.NoSuchProcess):  # it has just ended
                found[child.pid] = child.memory_info().rss / 2**20
        return found

    def busy_seconds(self) -> float:
        """Seconds of processor that the workers have used."""
        return sum(sum(child.cpu_times()[:2]) for child in self._children())

    def _children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@dataclass(frozen=True)
class World:
    """Model, features and ledger.

    Attributes:
        home: the platform's folder.
        platform: on it.
        digests: the bundles: `main`, the small ones `first` and `second`, and `twin`, the model of `second` again; by name.
        model: LightGBM's text of `main`.
        table: features of the entities, shape (entities, WIDTH), float32.
        ids: of each request, shape (REQUESTS, CANDIDATES).
    """

    home: Path
    platform: Platform
    digests: dict[str, Digest]
    model: str
    table: npt.NDArray[np.float32]
    ids: npt.NDArray[np.int64]

    @cached_property
    def bodies(self) -> list[bytes]:
        """The body of each request."""
        rng = np.random.default_rng(5)
        worth = rng.integers(100_000, 5_000_000, self.ids.shape)
        return [
            json.dumps(
                {
                    "key": f"user-{number}",
                    "user": {"partner": "own", "market": "DE", "device": "mobile", "country": "DE"},
                    "candidates": [
                        {"id": str(one), "value_micros": value} for one, value in zip(ids, values, strict=True)
                    ],
                },
                separators=(",", ":"),
            ).encode()
            for number, (ids, values) in enumerate(zip(self.ids.tolist(), worth.tolist(), strict=True))
        ]

    def work(self, scratch: Path) -> Work:
        """The same model and entities for the peers, as files."""
        import lightgbm

        folder = scratch / "work"
        folder.mkdir(exist_ok=True)
        (folder / "model.txt").write_text(self.model)
        np.save(folder / "table.npy", self.table)
        booster = lightgbm.Booster(model_str=self.model)
        scores = np.array([booster.predict(self.table[ids], num_threads=1) for ids in self.ids])
        return Work(folder, self.ids, scores)

    @contextmanager
    def service(
        self,
        bundle: str = "main",
        *,
        command: Sequence[str] = SERVE,
        environment: Mapping[str, str] | None = None,
        patience: float = 60.0,
    ) -> Iterator[Service]:
        """The service with this bundle for its champion, on its core, able to bid; stopped at the end."""
        live = champion.current(self.platform.db, MARKET)
        if live is None or live.digest != self.digests[bundle]:
            crown(self.platform, self.digests[bundle], self.platform.clock.now())
        whole = {
            **os.environ,
            **(environment or {}),
            "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
            "BIDWRIGHT_HOME": str(self.home),
            "BIDWRIGHT_MARKET": MARKET,
            "BIDWRIGHT_SERVE_TOKEN": TOKEN,
            "OMP_NUM_THREADS": "1",
        }
        log = self.home / "serve.log"
        with log.open("a") as told, on_core(cores()[0]):
            process = subprocess.Popen(command, env=whole, stdout=subprocess.PIPE, stderr=told)
        with process:
            try:
                yield Service(_address(process, log, patience), process, self)
            finally:
                stop(process)


@dataclass(frozen=True)
class Asked:
    """What the command line asks of a part.

    Attributes:
        world: model, features and ledger of the service.
        seconds: of each run; None for what the part takes by itself.
        repeats: runs behind each figure.
        quick: everything as small as it can be, to see that it works.
        scratch: where the environments of the peers are kept.
        peers: which peers are measured.
        bodies: hostile bodies.
    """

    world: World
    seconds: float | None
    repeats: int
    quick: bool
    scratch: Path
    peers: Sequence[str]
    bodies: int

    @property
    def deadline_ms(self) -> float:
        """After which an answer is of no use to the caller."""
        return self.world.platform.settings.serve_deadline_ms

    def lasts(self, seconds: float, *, quick: float = 1.0) -> float:
        """Seconds of a run that by itself takes this long."""
        return self.seconds or (quick if self.quick else seconds)


def make_world(folder: Path, *, entities: int, trees: int) -> World:
    """Fit the models, put the features online and register the bundles; the same each time."""
    rng = np.random.default_rng(20)
    table = rng.standard_normal((entities, WIDTH)).astype(np.float32)
    home = folder / "home"
    home.mkdir(parents=True)
    platform = open_platform(home, MARKET)
    platform.db.migrate()
    _put_online(platform, table)
    _publish(platform)
    models = {"main": fit(trees, seed=1), "first": fit(3, seed=2), "second": fit(3, seed=3)}
    digests = {name: _register(platform, artefacts) for name, artefacts in models.items()}
    digests["twin"] = _register(platform, models["second"], {"is": "the model of `second` in a bundle of its own"})
    ids = rng.integers(0, entities, (REQUESTS, CANDIDATES))
    return World(home, platform, digests, models["main"]["listing/model.txt"].decode(), table, ids)


def fit(trees: int, *, seed: int) -> Mapping[str, bytes]:
    """The files of a listing model of so many trees over WIDTH columns, with its golden predictions."""
    from ml.models.golden import golden
    from ml.models.listing import RECIPE, ListingModel

    rng = np.random.default_rng(seed)
    x = rng.standard_normal((_FITTED_ROWS, WIDTH)).astype(np.float32)
    margin = x[:, :10] @ rng.standard_normal(10) + x[:, 10] * x[:, 11] + np.sin(3 * x[:, 12]) + np.abs(x[:, 13])
    clicked = rng.random(_FITTED_ROWS) < 1 / (1 + np.exp(1 - margin))
    shown = pd.date_range(_AS_OF - timedelta(days=20), periods=_FITTED_ROWS, freq="1min")
    rows = pd.DataFrame(x, columns=list(FEATURES)).assign(
        id=[str(number) for number in range(_FITTED_ROWS)],
        ts=shown,
        known_at=shown,
        clicked_known_at=shown.where(clicked),
    )
    model = ListingModel.fit(
        rows, as_of=_AS_OF, seed=seed, view=VIEW, recipe=replace(RECIPE, rounds=trees, min_rows_in_leaf=20)
    )
    return {**model.artefacts(), GOLDEN: golden({model.name: model}, {model.name: rows})}


def open_platform(home: str | Path, market: str) -> Platform:
    """The platform of the benchmark."""
    return Platform(load_settings(home=Path(home), market=market), SystemClock())


def crown(platform: Platform, digest: Digest, at: datetime) -> None:
    """Make a registered bundle the champion by a decision that says PASS."""
    live = champion.current(platform.db, MARKET)
    champion.move(
        platform.db,
        MARKET,
        digest=digest,
        expected_generation=live.generation if live else 0,
        decision_id=record(platform, digest, at),
        day=at.date(),
        at=at,
    )


def record(platform: Platform, digest: Digest, at: datetime) -> int:
    """A decision that says PASS of a registered bundle against the present champion; its id."""
    live = champion.current(platform.db, MARKET)
    decided = Decision(
        market=MARKET,
        day=at.date(),
        candidate=digest,
        champion=live.digest if live else None,
        generation=live.generation if live else 0,
        verdict=Verdict.PASS,
        gates=[],
        policy_digest=_NO_POLICY,
        approval=None,
    )
    return decisions.record(platform.db, decided, at)


def _put_online(platform: Platform, table: npt.NDArray[np.float32]) -> None:
    """The features of the entities, by the text of their number."""
    now_us = int(platform.clock.now().timestamp() * 1e6)
    size = len(table)
    schema = Schema((("id", "text"),), tuple(Column(name, "f4", "float32") for name in FEATURES))
    rows = Rows(
        words=words_of(schema.key_types, [[str(number) for number in range(size)]], names=["id"]),
        event_us=np.full(size, now_us),
        created_us=np.full(size, now_us),
        columns={name: Dense(table[:, number]) for number, name in enumerate(FEATURES)},
    )
    upsert(view_folder(platform.settings.home / "feast" / f"{MARKET}-online", PROJECT, VIEW), schema, rows)


def _publish(platform: Platform) -> None:
    """A plan with one cell, for listings follow no more of it than its highest bid."""
    day = platform.clock.now().date()
    cell = {
        "partner": "own", "market": "DE", "hotel_id": "-", "device": "mobile", "lead_bucket": "000-001",
        "los_bucket": "01", "clicks_seen": 1, "p_book": 0.03, "net_value_micros": 200_000_000, "bid_micros": 400_000,
    }  # fmt: skip
    data = make_plan(
        [pd.DataFrame([cell])],
        held=[np.zeros(1, dtype=np.bool_)],
        held_scopes=(),
        retention=pd.DataFrame([dict.fromkeys(RETENTION_KEYS, ANY) | {"retained": 0.8}]),
        market=MARKET,
        day=day,
        generation=1, take_share=platform.settings.take_share, max_bid_micros=platform.settings.max_bid_micros,
        budgets={"own": day_budget(10**15, [0] * QUARTERS)},
    )  # fmt: skip
    digest, uri = write_plan(platform.blobs, MARKET, data)
    plan = Publication(MARKET, publications.SERVING, day, _NO_POLICY, 1, 1, digest, uri)
    publications.record(platform.db, plan, platform.clock.now())


def _register(platform: Platform, artefacts: Mapping[str, bytes], meta: Mapping[str, str] | None = None) -> Digest:
    """A signed bundle, in the ledger."""
    day, at = platform.clock.now().date(), platform.clock.now()
    keys = signing_keyring(platform.settings)
    digest = write_bundle(platform.blobs, artefacts=artefacts, meta=meta or {}, keys=keys)
    version = Version(
        digest=digest,
        market=MARKET,
        day=day,
        uri=f"bundles/{digest}/",
        data_digest=_NO_POLICY,
        trained_through=day,
        metrics={},
        mlflow_run_id="",
    )
    versions.register(platform.db, version, at)
    return digest


def _address(process: subprocess.Popen[bytes], log: Path, patience: float) -> Address:
    """Where it listens, once it says that it can bid."""
    if process.stdout is None:
        raise AssertionError("it was started with a pipe")
    until, said = time.monotonic() + patience, b""
    while b"\n" not in said:
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"the bid service did not come up: {log.read_text()[-2000:]}")
        if select.select([process.stdout], [], [], 0.1)[0]:
            said += os.read(process.stdout.fileno(), 65536)
    told: dict[str, Any] = json.loads(said)
    host, port = str(told["url"]).rsplit("/", 1)[1].rsplit(":", 1)
    return host, int(port)
