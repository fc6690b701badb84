"""Real servers with the roles that docker/ ships: PostgreSQL by roles.sql, Redis by the ACL, S3 by the policies."""

from __future__ import annotations

import json
import os
import shutil
import socket
import string
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ml.ledger.database import Database
from tests.ledger.conftest import PostgresServer, find_postgres, ordinary_user

ROOT = Path(__file__).parents[2]
POSTGRES_ROLES = ("airflow", "bidwright", "bidwright_reader", "feast")
PASSWORDS = {
    "AIRFLOW_DB_PASSWORD": "airflow-password-'of-a-test",  # a quote, which must not end anything
    "BIDWRIGHT_DB_PASSWORD": "bidwright-password-of-a-test",
    "BIDWRIGHT_READER_PASSWORD": "reader-password-of-a-test",
    "FEAST_DB_PASSWORD": "feast-password-of-a-test",
}
REDIS_PASSWORDS = {"REDIS_PASSWORD": "redis-password-of-a-test", "REDIS_READER_PASSWORD": "redis-reader-of-a-test"}
_OF_ROLE = dict(zip(("airflow", "bidwright", "bidwright_reader", "feast"), PASSWORDS.values(), strict=True))


@dataclass(frozen=True)
class Roles:
    """A PostgreSQL server that docker/postgres/roles.sql was run on."""

    server: PostgresServer

    def dsn(self, role: str, database: str) -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "port": self.server.port,
            "user": role,
            "password": _OF_ROLE[role],
            "dbname": database,
        }

    def url(self, role: str, database: str) -> str:
        return f"postgresql://{role}:{_OF_ROLE[role]}@127.0.0.1:{self.server.port}/{database}"

    def connect(self, role: str, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(**self.dsn(role, database), autocommit=True)

    def run_roles(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """psql, as an installation runs it."""
        return subprocess.run(
            ["psql", "--no-psqlrc", "--dbname", "postgres", "--file", ROOT / "docker/postgres/roles.sql"],
            env={"PATH": os.environ["PATH"], "PGHOST": "127.0.0.1", "PGPORT": str(self.server.port), "PGUSER": "postgres",
                 "PGPASSWORD": self.server.password, **environment},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip


@pytest.fixture(scope="session")
def roles() -> Iterator[Roles]:
    programs, user = find_postgres(), ordinary_user()
    if programs is None or shutil.which("psql") is None:
        pytest.skip("no PostgreSQL server programs, or no psql, on this machine")
    if user == "":
        pytest.skip("PostgreSQL will not run as root, and there is no user 'postgres' or 'nobody' to run it as")
    folder = Path(tempfile.mkdtemp(prefix="bidwright-roles-"))
    server = PostgresServer(programs, folder, user, superuser="postgres")  # `bidwright` is a role that roles.sql makes
    try:
        server.create()
        server.start()
        found = Roles(server)
        done = found.run_roles(**PASSWORDS)
        assert done.returncode == 0, done.stderr
        with closing(Database.open(found.url("bidwright", "bidwright"))) as database:
            database.migrate()
        yield found
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class RedisUsers:
    """A Redis that reads docker/redis/users.acl.template."""

    port: int

    def connect(self, user: str) -> Any:
        from redis import Redis

        password = REDIS_PASSWORDS["REDIS_READER_PASSWORD" if user.endswith("reader") else "REDIS_PASSWORD"]
        return Redis(host="127.0.0.1", port=self.port, username=user, password=password)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def redis_users() -> Iterator[RedisUsers]:
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server on this machine")
    folder = Path(tempfile.mkdtemp(prefix="bidwright-redis-"))
    template = string.Template((ROOT / "docker/redis/users.acl.template").read_text())
    (folder / "users.acl").write_text(template.substitute(REDIS_PASSWORDS))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--aclfile", str(folder / "users.acl")],
        cwd=folder, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + 20
        while not _answers(port):
            assert server.poll() is None, "redis-server refused its ACL file"
            assert time.monotonic() < end, "redis-server does not answer"
            time.sleep(0.02)
        yield RedisUsers(port)
    finally:
        server.terminate()
        server.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Buckets:
    """moto's S3 server with IAM switched on, a bucket, and a user for each policy in docker/s3/policies."""

    endpoint: str
    keys: dict[str, tuple[str, str]]

    def client(self, user: str) -> Any:
        import boto3

        key, secret = self.keys[user]
        return boto3.client(
            "s3", endpoint_url=self.endpoint, aws_access_key_id=key, aws_secret_access_key=secret, region_name="us-east-1"
        )  # fmt: skip


POLICIES = {path.stem: path for path in sorted((ROOT / "docker/s3/policies").glob("*.json"))}
PLACES = {
    "lake": "lake/simulator/clicks/day=2026-03-02/part-0.parquet",
    "bundle": f"blobs/bundles/{'0' * 64}/manifest.json",
    "plan": f"blobs/bids/simulator/serving/{'0' * 64}.json",
    "bids": "blobs/bids/simulator/google/2026-03-02/manifest.json",
    "replaced": "blobs/replaced/simulator/google/2026-03-02/manifest.json",
    "report": "blobs/reports/simulator/2026-03-02.html",
    "elsewhere": "mlflow/1/meta.json",
}
"""An object of each kind in the bucket."""


@pytest.fixture(scope="session")
def _server() -> Iterator[Buckets]:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    root = {
        "endpoint_url": endpoint,
        "aws_access_key_id": "r",
        "aws_secret_access_key": "r",
        "region_name": "us-east-1",
    }
    iam, s3 = boto3.client("iam", **root), boto3.client("s3", **root)
    s3.create_bucket(Bucket="bidwright")
    keys = {}
    for user, path in POLICIES.items():
        iam.create_user(UserName=user)
        iam.put_user_policy(UserName=user, PolicyName=user, PolicyDocument=json.dumps(json.loads(path.read_text())))
        made = iam.create_access_key(UserName=user)["AccessKey"]
        keys[user] = made["AccessKeyId"], made["SecretAccessKey"]
    for key in PLACES.values():
        s3.put_object(Bucket="bidwright", Key=key, Body=b"there")
    yield Buckets(endpoint, keys)
    server.stop()


@pytest.fixture
def buckets(_server: Buckets) -> Iterator[Buckets]:
    """The bucket, where from now on every request needs the right of its user."""
    from moto.core.authorization import enable_iam_authentication

    with enable_iam_authentication():
        yield _server
