"""What is wrong around a process is said in one sentence, refused where it would do harm, and over once its cause is gone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import Request, urlopen

import boto3
import pytest
from redis import Redis
from sqlalchemy import text

from ml.cli.doctor import examine
from ml.core.clock import FixedClock, SystemClock
from ml.core.errors import NotReady, RetryableError, StoreUnavailable, UsageError
from ml.core.settings import load_settings
from ml.features.redis_check import check_redis
from ml.ledger import schema, upkeep
from ml.ledger.database import Database
from ml.platform import Platform
from ml.preflight import check_clock, check_writable, deploy, refuse_harm
from ml.serving.wiring import LedgerSource
from tests.features.online.feast_repo import redis_server, why_no_redis
from tests.ledger.conftest import PostgresServer
from tests.upkeep.conftest import SECRET, New, with_clock

ROOT = Path(__file__).parents[2]
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.fixture
def servers(new: New) -> Platform:
    """A platform on PostgreSQL and S3, on this machine's clock, with its tables."""
    found = with_clock(new("servers"), SystemClock())
    found.db.migrate()
    return found


def environment(platform: Platform, **more: str) -> dict[str, str]:
    """That of a process of its own on this platform."""
    settings = platform.settings
    return {
        "PATH": os.environ["PATH"],
        "BIDWRIGHT_HOME": str(settings.home),
        "BIDWRIGHT_MARKET": settings.market,
        "BIDWRIGHT_DATABASE_URL": settings.database_url,
        "BIDWRIGHT_LAKE_URL": settings.lake_url,
        "BIDWRIGHT_BLOBS_URL": settings.blobs_url,
        "BIDWRIGHT_S3_ENDPOINT": settings.s3_endpoint,
        "BIDWRIGHT_TRUSTED_KEYS": json.dumps([SECRET.public.text]),
        **{name: value for name, value in os.environ.items() if name.startswith("AWS_")},
        **more,
    }


def command(platform: Platform, *words: str, root: Path = ROOT, **more: str) -> subprocess.CompletedProcess[str]:
    """`bidwright` in a process of its own, from the code in `root`."""
    return subprocess.run(
        [sys.executable, "-m", "ml.cli", *words],
        check=False, cwd=root, env=environment(platform, PYTHONPATH=str(root), **more), capture_output=True, text=True, timeout=900,
    )  # fmt: skip


def doctor(platform: Platform, name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[bool, str]:
    """What `bidwright doctor` says under a name."""
    monkeypatch.setattr(Platform, "from_environment", classmethod(lambda _: platform))
    [found] = [check for check in examine() if check.name == name]
    return found.ok, f"{found.finding}; {found.remedy}"


# Database


def test_a_wrong_database_password_is_said_and_is_over_once_it_is_right(
    servers: Platform, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = servers.settings.database_url.rpartition("/")[2]
    postgres.execute("CREATE ROLE {} LOGIN PASSWORD 'right' IN ROLE bidwright", f"of_{name}")
    url = f"postgresql://of_{name}:wrong@127.0.0.1:{postgres.port}/{name}"
    mine = Platform(servers.settings.model_copy(update={"database_url": url}), SystemClock())
    try:
        for ask in (lambda: refuse_harm(mine), lambda: LedgerSource(mine, _no_engine).wanted()):
            with pytest.raises(StoreUnavailable, match=r"refused the login.* check the user and the password"):
                ask()
        ok, said = doctor(mine, "platform database", monkeypatch)
        assert (ok, "wrong@" in said) == (False, False), "no password in a sentence"
        assert "refused the login" in said
        postgres.execute("ALTER ROLE {} PASSWORD 'wrong'", f"of_{name}")
        refuse_harm(mine)
        assert doctor(mine, "platform database", monkeypatch)[0]
    finally:
        mine.db.close()
        postgres.execute("DROP ROLE {}", f"of_{name}")


def _no_engine(*_: object) -> object:
    raise AssertionError("nothing is to be loaded")


def test_a_database_one_migration_behind_is_left_alone_until_somebody_migrates_it(
    servers: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = schema.REVISIONS[-2]
    with servers.db.session() as session:
        schema.downgrade(session.connection(), behind)
    source = LedgerSource(servers, _no_engine)
    for ask in (lambda: refuse_harm(servers), source.wanted):
        with pytest.raises(StoreUnavailable, match=rf"revision {behind}, older than this code .* bidwright migrate"):
            ask()
    assert not doctor(servers, "platform database", monkeypatch)[0]
    refused = command(servers, "status")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "older than this code" in refused.stderr
    with servers.db.reading() as session:
        assert schema.revision(session.connection()) == behind, "a command that was asked for something else"
    migrated = command(servers, "migrate")
    assert (migrated.returncode, migrated.stderr) == (0, "")
    assert ":***@" in migrated.stdout, "no password on the screen"
    refuse_harm(servers)
    assert source.wanted().why_not == "m0 has no champion yet: promote a candidate first"


def test_a_database_one_migration_ahead_is_refused_and_never_migrated_back(
    servers: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at(revision: str) -> None:
        with servers.db.session() as session:
            session.execute(text("UPDATE alembic_version SET version_num = :at"), {"at": revision})

    at("9999")
    for ask in (lambda: refuse_harm(servers), lambda: deploy(servers), LedgerSource(servers, _no_engine).wanted):
        with pytest.raises(StoreUnavailable, match="revision 9999: the database is newer than this code"):
            ask()
    assert not doctor(servers, "platform database", monkeypatch)[0]
    at(schema.HEAD)
    refuse_harm(servers)


# S3


def test_a_bucket_that_does_not_exist_is_said_and_is_over_once_it_does(
    servers: Platform, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"lake_url": "s3://not-there-yet/lake", "blobs_url": "s3://not-there-yet/blobs"}
    mine = Platform(servers.settings.model_copy(update=where), SystemClock())
    mine.__dict__["db"] = servers.db  # which the fixture closes
    with pytest.raises(
        StoreUnavailable, match="the bucket not-there-yet does not exist; nothing was written; create it"
    ):
        check_writable(mine)
    ok, said = doctor(mine, "lake and blob store", monkeypatch)
    assert (ok, said.startswith("the bucket not-there-yet does not exist")) == (False, True)
    boto3.client("s3", endpoint_url=s3).create_bucket(Bucket="not-there-yet")
    assert doctor(mine, "lake and blob store", monkeypatch)[0]


@pytest.fixture
def policy(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[str]], None]]:
    """Sets what the credentials of this process may do in S3; the server then enforces it."""
    iam = boto3.client("iam", endpoint_url=s3)

    def enforce(after: str) -> None:
        urlopen(
            Request(
                f"{s3}/moto-api/reset-auth", data=after.encode(), headers={"Content-Type": "text/plain"}, method="POST"
            ),
            timeout=60,
        ).close()

    def allow(actions: list[str]) -> None:
        enforce("inf")
        statement = [{"Effect": "Allow", "Action": actions, "Resource": "*"}]
        document = json.dumps({"Version": "2012-10-17", "Statement": statement})
        iam.put_user_policy(UserName="reader", PolicyName="own", PolicyDocument=document)
        enforce("0")

    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    yield allow
    enforce("inf")


def test_a_bucket_that_may_only_be_read_is_said_and_nothing_is_half_written(
    servers: Platform, policy: Callable[[list[str]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Platform(servers.settings, SystemClock())
    mine.__dict__["db"] = servers.db  # which the fixture closes
    policy(["s3:GetObject", "s3:ListBucket"])
    assert mine.blobs.list("") == [], "it may be read"
    with pytest.raises(
        StoreUnavailable, match=r"may not be used for a/b .AccessDenied.; nothing was written; check the cred"
    ):
        mine.blobs.put("a/b", b"x")
    ok, said = doctor(mine, "lake and blob store", monkeypatch)
    assert (ok, "policy lets them read and write" in said) == (False, True)
    assert mine.blobs.list("") == []
    policy(["s3:*"])
    assert doctor(mine, "lake and blob store", monkeypatch)[0]
    mine.blobs.put("a/b", b"x")


# Redis


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if why_no_redis():
        pytest.skip(str(why_no_redis()))
    with redis_server(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.mark.parametrize(
    ("cause", "cure", "said"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "is a replica that takes no writes"),
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "is full: its memory limit"),
        (("CONFIG", "SET", "requirepass", "right"), ("CONFIG", "SET", "requirepass", ""), "wants a password"),
        (("ACL", "SETUSER", "default", "-set"), ("ACL", "SETUSER", "default", "+set"), "does not let this user write"),
    ],
    ids=["read-only", "full", "password", "rights"],
)
def test_a_redis_that_refuses_writes_is_said_before_anything_is_computed_and_is_over_once_it_takes_them(
    cause: tuple[str, ...], cure: tuple[str, ...], said: str, redis_port: int, new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml.features.store import FeatureStore

    platform = new("files", redis=f"127.0.0.1:{redis_port}", trusted_keys=[])
    store = FeatureStore.open(platform.settings, platform.lake)
    with Redis(port=redis_port) as person:
        person.execute_command(*cause)
        try:
            day = datetime(2026, 3, 2, tzinfo=UTC).date()
            for ask in (
                lambda: check_redis(platform.settings.redis, "m"),
                lambda: store.materialize(day, day, views=[]),
            ):
                with pytest.raises(StoreUnavailable, match=rf"the Redis 127\.0\.0\.1:{redis_port} {said}"):
                    ask()
            ok, told = doctor(platform, "online store", monkeypatch)
            assert (ok, said in told) == (False, True)
        finally:
            person.execute_command(*cure)
    assert "takes writes" in check_redis(platform.settings.redis, "m")
    assert doctor(platform, "online store", monkeypatch)[0]


def test_a_redis_that_is_nearly_full_is_left_to_its_queue(redis_port: int, new: New) -> None:
    from ml.features.store import FeatureStore

    platform = new("files", redis=f"127.0.0.1:{redis_port}", trusted_keys=[])
    store, day = FeatureStore.open(platform.settings, platform.lake), datetime(2026, 3, 2, tzinfo=UTC).date()
    with Redis(port=redis_port) as person:
        person.set("task", b"x" * 5_000_000)
        used = person.info("memory")["used_memory"]
        try:
            person.config_set("maxmemory", int(used / 0.85))
            assert person.rpush("queue", "a task") == 1
            with pytest.raises(
                StoreUnavailable, match=r"is 8\d% full, .* not for features; the features that it holds"
            ):
                store.materialize(day, day, views=[])
            person.config_set("maxmemory", int(used / 0.7))
            assert check_redis(platform.settings.redis, "m").endswith(("69% full", "70% full", "71% full"))
            person.execute_command("ACL", "SETUSER", "default", "-info")
            assert check_redis(platform.settings.redis, "m").endswith("takes writes")
        finally:
            person.execute_command("ACL", "SETUSER", "default", "+info")
            person.config_set("maxmemory", 0)


def test_a_wrong_redis_password_is_said_without_it(redis_port: int) -> None:
    with Redis(port=redis_port) as person:
        person.execute_command("ACL", "SETUSER", "writer", "on", ">right", "~*", "+@all")
    where = f"127.0.0.1:{redis_port},username=writer,password="
    with pytest.raises(StoreUnavailable, match=r"refused the login; .* check the user and the password") as told:
        check_redis(where + "secret", "m")
    assert "secret" not in str(told.value)
    check_redis(where + "right", "m")


def test_a_process_that_may_only_read_is_examined_without_writing_anything(
    new: New, redis_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Redis(port=redis_port) as person:
        person.execute_command("ACL", "SETUSER", "looker", "on", ">right", "%R~*", "+@read", "+@connection")
        platform = new("servers", redis=f"127.0.0.1:{redis_port},username=looker,password=right")
        platform.db.migrate()
        monkeypatch.setattr(Platform, "from_environment", classmethod(lambda _: platform))
        keys = person.dbsize()
        found = {check.name: check for check in examine(reader=True)}
        assert person.dbsize() == keys
    assert found["online store"].ok, found["online store"]
    assert found["lake and blob store"].finding.endswith("can be read")
    assert platform.blobs.list("") == [] == platform.lake.blobs.list("")
    assert "mail server" not in found
    assert found["free disk"].ok
    assert not doctor(platform, "online store", monkeypatch)[0], "who has to write is told that he may not"


# Clock


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_an_hour_off_is_refused_and_taken_again_once_it_is_right(
    hours: int, servers: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = with_clock(servers, FixedClock(datetime.now(UTC) + timedelta(hours=hours)))
    said = rf"this machine's clock is [01]:\d\d:\d\d {'ahead of' if hours > 0 else 'behind'} that of the database"
    source = LedgerSource(off, _no_engine)
    for ask in (lambda: refuse_harm(off), source.wanted):
        with pytest.raises(NotReady, match=said):
            ask()
    assert not doctor(off, "clock", monkeypatch)[0]
    off.clock.at = datetime.now(UTC)  # type: ignore[attr-defined]
    refuse_harm(off)
    assert source.wanted().why_not


def test_the_date_header_of_s3_tells_of_a_clock_that_is_off_where_the_database_is_a_file(servers: Platform) -> None:
    only_s3 = servers.settings.model_copy(update={"database_url": ""})
    with pytest.raises(NotReady, match="ahead of that of the S3 server"):
        check_clock(Platform(only_s3, FixedClock(datetime.now(UTC) + timedelta(hours=1))))
    assert "from the S3 server" in check_clock(Platform(only_s3, SystemClock()))


def test_a_server_that_cannot_be_asked_for_its_time_stops_nobody_but_the_doctor(servers: Platform) -> None:
    away = servers.settings.model_copy(update={"database_url": "", "s3_endpoint": "http://127.0.0.1:1"})
    platform = Platform(away, SystemClock())
    assert check_clock(platform, of_all=False) == "no server to compare it with"
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        check_clock(platform)


@pytest.mark.skipif(FAKETIME is None, reason="no libfaketime (Debian: apt-get install libfaketime)")
def test_a_whole_process_whose_clock_is_an_hour_ahead_writes_nothing(servers: Platform) -> None:
    words = ("incidents", "tend", "--json")
    refused = command(servers, *words, LD_PRELOAD=str(FAKETIME), FAKETIME="+1h")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
    assert "ahead of that of the database; nothing was written" in refused.stderr
    assert command(servers, *words).returncode == 0


# Code


def test_a_worker_with_another_code_than_was_deployed_refuses_until_one_of_them_changes(
    servers: Platform, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    for room in ("ml", "monitoring", "feature_repo"):
        shutil.copytree(ROOT / room, other / room, ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "ml" / "status.py").open("a") as file:
        file.write("# another code\n")
    assert command(servers, "migrate").returncode == 0
    refused = command(servers, "status", "--json", root=other)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
    assert "this process runs the code" in refused.stderr
    assert command(servers, "status", "--json").returncode == 0
    assert command(servers, "migrate", root=other).returncode == 0, "the other code is deployed"
    assert command(servers, "status", "--json", root=other).returncode == 0
    with pytest.raises(NotReady, match=r"start it anew from the deployed code; or, .* run: bidwright migrate"):
        refuse_harm(servers)
    with pytest.raises(NotReady, match="was deployed"):
        LedgerSource(servers, _no_engine).wanted()
    deploy(servers)
    refuse_harm(servers)


def test_on_a_platform_for_development_another_code_is_told_and_not_refused(
    new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = new("files", trusted_keys=[], signing_key="")
    deploy(platform)
    upkeep.record(platform.db, upkeep.Upkeep("deployed", "", datetime.now(UTC), {"code": "0" * 64}))
    refuse_harm(platform)
    ok, said = doctor(platform, "code", monkeypatch)
    assert (ok, "that is well on a platform for development" in said) == (True, True)


def test_deploying_the_same_code_again_notes_nothing(new: New) -> None:
    platform = new("files")
    deploy(platform)
    first = upkeep.last(platform.db, "deployed")
    deploy(platform)
    assert upkeep.last(platform.db, "deployed") == first


def test_what_is_refused_here_is_tried_again_by_airflow() -> None:
    assert issubclass(NotReady, RetryableError)


def test_a_tolerance_of_hours_is_no_tolerance() -> None:
    with pytest.raises(UsageError, match="clock_tolerance_seconds"):
        load_settings(clock_tolerance_seconds=7200)


def test_a_database_that_lacks_a_column_says_to_migrate(new: New) -> None:
    platform = new("servers")
    db: Database = platform.db
    db.migrate()
    with db.session() as session:
        session.execute(text("ALTER TABLE incidents DROP COLUMN owner"))
    from ml.ledger import incidents

    with pytest.raises(StoreUnavailable, match="has other columns than this code"):
        incidents.open_incidents(db, "m0")
