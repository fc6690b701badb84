"""Real servers: PostgreSQL and an S3 server (moto) on loopback; platforms on them, or on a file and folders."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest

from ml.core.clock import Clock, FixedClock
from ml.core.settings import load_settings
from ml.platform import Platform
from ml.promotion.signature import Kind, SecretKey
from tests.ledger.conftest import PostgresServer, postgres, together  # noqa: F401  (fixtures)

NOW = datetime(2026, 3, 9, 4, tzinfo=UTC)
SECRET = SecretKey.generate(Kind.RELEASE)

New = Callable[..., Platform]


@pytest.fixture
def bucket(s3: str) -> str:
    """The name of a new bucket."""
    name = f"b-{secrets.token_hex(6)}"
    boto3.client("s3", endpoint_url=s3).create_bucket(Bucket=name)
    return name


@pytest.fixture
def new_database(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Makes databases without tables on the PostgreSQL server; each goes away with the test."""
    server: PostgresServer = request.getfixturevalue("postgres")
    names: list[str] = []

    def make() -> str:
        names.append(f"upkeep_{secrets.token_hex(6)}")
        server.execute("CREATE DATABASE {}", names[-1])
        return server.dsn(names[-1])

    yield make
    for name in names:
        server.execute("DROP DATABASE {} WITH (FORCE)", name)


def with_clock(platform: Platform, clock: Clock) -> Platform:
    """The same platform, on the same stores, by another clock."""
    found = Platform(platform.settings, clock)
    for name in ("db", "lake", "blobs"):
        found.__dict__[name] = getattr(platform, name)
    return found


@pytest.fixture
def new(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[New]:
    """Makes empty platforms that trust one release key: `new("files")` or `new("servers")`."""
    made: list[Platform] = []

    def make(kind: str, **more: object) -> Platform:
        home = tmp_path / f"home{len(made)}"
        home.mkdir()
        given: dict[str, object] = {
            "home": home,
            "market": "m0",
            "trusted_keys": [SECRET.public.text],
            "signing_key": SECRET.reveal(),
        }
        if kind == "servers":
            name = request.getfixturevalue("bucket")
            where = f"s3://{name}/{home.name}"
            given |= {
                "database_url": request.getfixturevalue("new_database")(),
                "s3_endpoint": request.getfixturevalue("s3"),
                "lake_url": f"{where}/lake",
                "blobs_url": f"{where}/blobs",
            }
        made.append(Platform(load_settings(**(given | more)), FixedClock(NOW)))
        return made[-1]

    yield make
    for platform in made:
        platform.db.close()
