"""The real servers that the rows share, each behind the proxy: PostgreSQL, Redis, an S3 server, and the bid service on them.

Nothing is started before a row asks for it; all of it ends with the campaign.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.bid_service_world import World, make_world
from ml.ledger.database import Database
from ml.promotion.signature import Kind, SecretKey
from tests.faults.proxy import Proxy
from tests.faults.proxy_http import HttpProxy
from tests.features.online.feast_repo import why_no_redis
from tests.ledger.conftest import PostgresServer, find_postgres, free_port, ordinary_user

PATIENCE_S = 60.0
LOOPBACK = "127.0.0.1"
BUCKET = "bidwright-faults"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "faults", "AWS_SECRET_ACCESS_KEY": "faults", "AWS_DEFAULT_REGION": "us-east-1"}


def no_postgres() -> str:
    """What is missing for PostgreSQL; empty if nothing is."""
    if find_postgres() is None:
        return "no PostgreSQL server programs here (make debian)"
    return "" if ordinary_user() != "" else "PostgreSQL will not run as root, and there is no user to run it as"


def no_redis() -> str:
    """What is missing for Redis; empty if nothing is."""
    return why_no_redis() or ""


class Crashable(PostgresServer):
    """A PostgreSQL that syncs its commits, and can be killed."""

    def crash(self, how: str) -> str:
        """End the server (`kill -9`, `immediate`: no checkpoint, `fast`: as for a restart); what its end looks like."""
        assert self.process is not None
        number = {"kill -9": signal.SIGKILL, "immediate": signal.SIGQUIT, "fast": signal.SIGINT}[how]
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.process = None
        return f"PostgreSQL ended by {how} ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"

    def again(self) -> None:
        """Start it after a crash, once what the killed one left behind has ended."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.start()
                return
            except RuntimeError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)


class Redis:
    """A redis-server of our own that keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ["--port", str(self.port), "--bind", LOOPBACK, "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            ["redis-server", *options, "--enable-debug-command", "local"], cwd=self.folder, stdout=subprocess.DEVNULL
        )
        wait_for(self.port)

    def client(self) -> Any:
        """A client that does not go through the proxy."""
        import redis

        return redis.Redis(port=self.port, socket_timeout=10)

    def kill(self) -> str:
        """`kill -9`; how it ended."""
        assert self.process is not None
        self.process.kill()
        return f"redis-server ended by {signal.Signals(-self.process.wait(10)).name}"

    def stop(self) -> None:
        """End it."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


def wait_for(port: int) -> None:
    """Until something listens on a port of loopback."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing answers on port {port}")


class Stand:
    """The servers, each started when it is first asked for; a context manager.

    Args:
        folder: for everything that they write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ends = ExitStack()
        self._numbers = iter(range(1_000_000))

    def __enter__(self) -> Stand:
        return self

    def __exit__(self, *error: object) -> None:
        self._ends.close()

    def market(self) -> str:
        """The name of a market that nobody had before."""
        return f"m{next(self._numbers)}"

    @cached_property
    def postgres(self) -> Crashable:
        """PostgreSQL."""
        programs, user = find_postgres(), ordinary_user()
        assert programs is not None
        # Beside the others' folder, which is ours alone: the server runs as another user.
        folder = Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="bidwright-postgres-")))
        server = Crashable(programs, folder, user, options={"fsync": "on", "max_connections": "100"})
        server.create()
        server.start()
        self._ends.callback(server.stop)
        return server

    @cached_property
    def postgres_proxy(self) -> Proxy:
        """In front of PostgreSQL."""
        return self._ends.enter_context(Proxy((LOOPBACK, self.postgres.port)))

    @cached_property
    def ledger(self) -> Database:
        """A migrated platform database, by the proxy."""
        self.postgres.execute("CREATE DATABASE ledger")
        with closing(Database.open(self.postgres.dsn("ledger"))) as direct:
            direct.migrate()
        return self._ends.enter_context(closing(Database.open(self.ledger_url)))

    @property
    def ledger_url(self) -> str:
        """Of the ledger by the proxy."""
        return self.by_proxy("ledger")

    def by_proxy(self, name: str) -> str:
        """The URL of a database by the proxy."""
        return self.postgres.dsn(name).replace(f":{self.postgres.port}/", f":{self.postgres_proxy.port}/")

    def backends(self, name: str) -> int:
        """How many connections a database has."""
        with psycopg.connect(self.postgres.dsn("postgres")) as connection:
            row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", (name,)).fetchone()
        return int(row[0]) if row else 0

    @cached_property
    def redis(self) -> Redis:
        """Redis."""
        folder = self.folder / "redis"
        folder.mkdir()
        server = Redis(folder)
        server.start()
        self._ends.callback(server.stop)
        return server

    @cached_property
    def redis_proxy(self) -> Proxy:
        """In front of Redis."""
        return self._ends.enter_context(Proxy((LOOPBACK, self.redis.port)))

    @cached_property
    def s3_port(self) -> int:
        """Of moto's S3 server, a process of its own; the bucket is there."""
        import boto3

        port = free_port()
        log = (self.folder / "s3.log").open("ab")
        command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log)
        self._ends.callback(log.close)
        self._ends.callback(server.wait)
        self._ends.callback(server.kill)
        wait_for(port)
        os.environ.update(CREDENTIALS)
        session = boto3.session.Session()
        session.client("s3", endpoint_url=f"http://{LOOPBACK}:{port}").create_bucket(Bucket=BUCKET)
        return port

    @cached_property
    def s3_http(self) -> HttpProxy:
        """In front of the S3 server: status codes and damaged bodies."""
        return self._ends.enter_context(HttpProxy((LOOPBACK, self.s3_port)))

    @cached_property
    def s3_proxy(self) -> Proxy:
        """In front of the S3 server: toxics."""
        return self._ends.enter_context(Proxy((LOOPBACK, self.s3_port)))

    @cached_property
    def world(self) -> World:
        """What the bid service is measured on, small, with its ledger in PostgreSQL behind the proxy and signed for release."""
        self.postgres.execute("CREATE DATABASE serving")
        key = SecretKey.generate(Kind.RELEASE)
        with environment(
            BIDWRIGHT_DATABASE_URL=self.by_proxy("serving"),
            BIDWRIGHT_SIGNING_KEY=key.reveal(),
            BIDWRIGHT_TRUSTED_KEYS=f'["{key.public.text}"]',
        ):
            return make_world(self.folder / "world", entities=1_000, trees=10)

    @property
    def world_settings(self) -> Mapping[str, str]:
        """What the bid service has to be told of the world."""
        settings = self.world.platform.settings
        return {
            "BIDWRIGHT_DATABASE_URL": settings.database_url,
            "BIDWRIGHT_TRUSTED_KEYS": f'["{settings.trusted_keys[0]}"]',
        }


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def hangs(work: Any, seconds: float) -> tuple[bool, BaseException | None, float]:
    """Do something in a thread: whether it still goes on after so long, the error that it ended with, and how long it took."""
    ended: list[BaseException | None] = []
    begin = time.monotonic()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  (handed to the caller)
            ended.append(error)
        else:
            ended.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    took = time.monotonic() - begin
    return not ended, ended[0] if ended else None, took


def scratch(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
