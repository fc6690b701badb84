"""An empty platform database per test, on SQLite and on a real PostgreSQL server; and racing processes."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
from psycopg import sql

from ml.ledger.database import Database
from ml.ledger.tables import Base

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 60.0
T = TypeVar("T")


def find_postgres() -> Path | None:
    """The folder of PostgreSQL's server programs: from PATH, else where Debian puts them."""
    if shutil.which("initdb") and (found := shutil.which("postgres")):
        return Path(found).resolve().parent
    folders = [
        path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb") if (path.parent / "postgres").exists()
    ]
    return max(folders, key=lambda folder: float(folder.parent.name), default=None)


def ordinary_user() -> str | None:
    """Whom to run the server as: nobody in particular, or, as root (which PostgreSQL refuses), an ordinary user."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), "")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class PostgresServer:
    """A server of our own, on a free loopback port, with its data in a folder that goes away with it."""

    programs: Path
    folder: Path
    user: str | None
    superuser: str = "bidwright"
    password: str = field(default_factory=lambda: secrets.token_hex(8))
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def create(self) -> None:
        password_file = self.folder / "password"
        password_file.write_text(self.password)
        if self.user:
            for path in (self.folder, password_file):
                shutil.chown(path, self.user)
        subprocess.run(
            [self.programs / "initdb", "-D", self.data, "-U", self.superuser, "--auth=scram-sha-256", "--pwfile", password_file,
             "--encoding=UTF8", "--locale=C", "--no-sync"],
            check=True, capture_output=True, cwd=self.folder, user=self.user, group=self.group, extra_groups=[] if self.user else None,
        )  # fmt: skip

    @property
    def group(self) -> int | None:
        return pwd.getpwnam(self.user).pw_gid if self.user else None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        self.port = self.port or free_port()
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "60",
            "shared_buffers": "32MB",
            **self.options,
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.data, "-p", str(self.port), *settings],
                stdout=log, stderr=log, cwd=self.folder, start_new_session=True, user=self.user, group=self.group, extra_groups=[] if self.user else None,
            )  # fmt: skip
        give_up = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self.execute("SELECT 1")
                return
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > give_up:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.05)

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def execute(self, statement: str, *names: str) -> None:
        query = sql.SQL(statement).format(*map(sql.Identifier, names))
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(query)

    def dsn(self, database: str) -> str:
        return f"postgresql://{self.superuser}:{self.password}@127.0.0.1:{self.port}/{database}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    programs, user = find_postgres(), ordinary_user()
    if programs is None:
        pytest.skip("no PostgreSQL server programs (initdb, postgres) on this machine")
    if user == "":
        pytest.skip("PostgreSQL will not run as root, and there is no user 'postgres' or 'nobody' to run it as")
    folder = Path(tempfile.mkdtemp(prefix="bidwright-postgres-"))
    server = PostgresServer(programs, folder, user)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_migrated(postgres: PostgresServer) -> str:
    """The URL of a database with tables, which tests use one after the other."""
    postgres.execute("CREATE DATABASE migrated")
    with closing(Database.open(postgres.dsn("migrated"))) as database:
        database.migrate()
    return postgres.dsn("migrated")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("ledger") / "migrated.db"
    Database.open(f"sqlite:///{file}").migrate()
    return file


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = f"empty_{secrets.token_hex(6)}"
    server.execute("CREATE DATABASE {}", name)
    yield server.dsn(name)
    server.execute("DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def empty(empty_url: str) -> Iterator[Database]:
    """A platform database without tables, on each kind of server in turn."""
    with closing(Database.open(empty_url)) as database:
        yield database


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated database without rows."""
    if request.param == "sqlite":
        file = tmp_path / "ledger.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), file)
        yield f"sqlite:///{file}"
        return
    shared: str = request.getfixturevalue("postgres_migrated")
    tables = sql.SQL(", ").join(map(sql.Identifier, Base.metadata.tables))
    with psycopg.connect(shared) as connection:
        connection.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY").format(tables))
    yield shared


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    """A migrated platform database without rows, on each kind of server in turn."""
    with closing(Database.open(url)) as database:
        yield database


@pytest.fixture
def sqlite_file(sqlite_template: Path, tmp_path: Path) -> Path:
    """A migrated SQLite file without rows, for faults that only a file can have."""
    file = tmp_path / "ledger.db"
    shutil.copyfile(sqlite_template, file)
    return file


@pytest.fixture
def together() -> Callable[[Callable[[int], T], int], list[T]]:
    """Run the same work in several threads that start together, each on connections of its own; what each returned."""

    def run(work: Callable[[int], T], racers: int) -> list[T]:
        barrier = threading.Barrier(racers)

        def start(me: int) -> T:
            barrier.wait(timeout=60)
            return work(me)

        with ThreadPoolExecutor(max_workers=racers) as pool:
            return list(pool.map(start, range(racers)))

    return run


@pytest.fixture
def race() -> Callable[[str, int, str], list[str]]:
    """Run the same code in several processes that start together; what each one printed.

    The code finds the database URL in `url`, its own number in `me`, and must call `start()` once ready.
    """

    def run(code: str, racers: int, url: str) -> list[str]:
        frame = "import sys\nurl, me = sys.argv[1], int(sys.argv[2])\ndef start():\n    print('ready', flush=True); sys.stdin.readline()\n"
        processes = [
            subprocess.Popen(
                [sys.executable, "-W", "error", "-c", frame + code, url, str(number)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            )
            for number in range(racers)
        ]  # fmt: skip
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        ends = [process.communicate(timeout=120) for process in processes]
        failed = [err for process, (_, err) in zip(processes, ends, strict=True) if process.returncode != 0]
        assert not failed, failed[0]
        return [out.strip() for out, _ in ends]

    return run
