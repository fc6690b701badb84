"""S5, Redis 7: what docker/redis/users.acl.template lets each user do, tried by each of them."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ResponseError

from tests.security.conftest import RedisUsers

KEY = b"\x02\x00\x00\x00hotel_id\x07bidwright_0123456789ab"
"""A key as Feast writes it: the entity, then the project (ml.features.feast_objects)."""

WRITES: dict[str, tuple[Any, ...]] = {
    "HSET": (KEY, "f", "1"),
    "HDEL": (KEY, "f"),
    "SET": (KEY, "x"),
    "DEL": (KEY,),
    "UNLINK": (KEY,),
    "EXPIRE": (KEY, 1),
    "RENAME": (KEY, KEY + b"2"),
    "RESTORE": (KEY, 0, b"x"),
    "COPY": (KEY, b"copy"),
}
RULES: dict[str, tuple[Any, ...]] = {
    "FLUSHALL": (),
    "FLUSHDB": (),
    "SWAPDB": (0, 1),
    "CONFIG": ("SET", "maxmemory", "1"),
    "CONFIG GET": ("requirepass",),
    "ACL LIST": (),
    "ACL SETUSER": ("mine", "on", "nopass", "+@all", "~*"),
    "SHUTDOWN": (),
    "REPLICAOF": ("127.0.0.1", 1),
    "MIGRATE": ("127.0.0.1", 1, KEY, 0, 1),
    "SAVE": (),
    "MODULE": ("LIST",),
    "MONITOR": (),
    "CLIENT KILL": ("ID", "1"),
    "FUNCTION LIST": (),
}
OF_THE_BROKER = b"default"


def refused(client: Any, command: str, *arguments: Any) -> bool:
    """Whether the server said that this user has no right to."""
    from redis.exceptions import NoPermissionError

    try:
        client.execute_command(command, *arguments)
    except NoPermissionError:
        return True
    return False


def test_the_online_writer_writes_features_and_the_reader_reads_them(redis_users: RedisUsers) -> None:
    redis_users.connect("bidwright").hset(KEY, mapping={"f": "1"})
    with redis_users.connect("bidwright_reader").pipeline(transaction=False) as pipe:  # as Feast reads
        pipe.hmget(KEY, ["f"])
        assert pipe.execute() == [[b"1"]]


@pytest.mark.parametrize("command", WRITES)
def test_the_reader_writes_no_feature(redis_users: RedisUsers, command: str) -> None:
    assert refused(redis_users.connect("bidwright_reader"), command, *WRITES[command])


@pytest.mark.parametrize("user", ["bidwright_reader", "bidwright"])
def test_the_features_users_do_not_reach_the_queues_of_airflow(redis_users: RedisUsers, user: str) -> None:
    redis_users.connect("airflow").lpush(OF_THE_BROKER, "task")
    client = redis_users.connect(user)
    for command, arguments in {"LRANGE": (0, -1), "LPUSH": ("x",), "BRPOP": (1,), "DEL": (), "TYPE": ()}.items():
        assert refused(client, command, OF_THE_BROKER, *arguments), command
    assert refused(client, "PUBLISH", "/0.celeryev/x", "x")
    assert refused(client, "SUBSCRIBE", "/0.celeryev/x")


def test_the_broker_user_reaches_no_feature(redis_users: RedisUsers) -> None:
    client = redis_users.connect("airflow")
    assert refused(client, "HGETALL", KEY)
    for command, arguments in WRITES.items():
        assert refused(client, command, *arguments), command


@pytest.mark.parametrize("command", RULES)
@pytest.mark.parametrize("user", ["airflow", "bidwright", "bidwright_reader", "health"])
def test_no_user_rules_the_server(redis_users: RedisUsers, user: str, command: str) -> None:
    assert refused(redis_users.connect(user), command, *RULES[command])


@pytest.mark.parametrize("user", ["bidwright", "bidwright_reader", "health"])
def test_no_user_but_the_brokers_runs_a_script(redis_users: RedisUsers, user: str) -> None:
    assert refused(redis_users.connect(user), "EVAL", "return 1", 0)


def test_a_script_of_the_broker_reaches_no_more_than_its_user(redis_users: RedisUsers) -> None:
    """Celery gives its lock back by one."""
    broker = redis_users.connect("airflow")
    for call in ("redis.call('HGETALL', KEYS[1])", "redis.call('CONFIG', 'GET', 'dir')", "redis.call('FLUSHALL')"):
        with pytest.raises(ResponseError, match=r"can't run this command|no permissions|not allowed"):
            broker.eval(f"return {call}", 1, KEY)


def test_who_does_not_say_who_he_is_may_do_nothing_and_a_health_check_may_ping(redis_users: RedisUsers) -> None:
    from redis import Redis
    from redis.exceptions import AuthenticationError

    for password in (None, "", "redis-password-of-a-test"):
        stranger = Redis(host="127.0.0.1", port=redis_users.port, password=password)
        with pytest.raises(AuthenticationError):
            stranger.ping()
    assert redis_users.connect("health").ping()
    assert refused(redis_users.connect("health"), "GET", KEY)


def test_a_celery_worker_takes_its_tasks_as_the_broker_user(redis_users: RedisUsers) -> None:
    """The commands and keys are kombu's own: publish, consume, acknowledge, give back, remote control."""
    kombu = pytest.importorskip("kombu", reason="kombu is not installed: Celery is a part of the production stack")
    url = f"redis://airflow:redis-password-of-a-test@127.0.0.1:{redis_users.port}/0"
    with kombu.Connection(url) as connection:
        for name in ("default", "heavy", "online"):
            queue = kombu.Queue(name, kombu.Exchange(name), routing_key=name)
            bound = queue(connection.default_channel)
            bound.declare()
            bound.purge()
            connection.Producer().publish({"task": name}, exchange=queue.exchange, routing_key=name, declare=[queue])
            first = bound.get()
            assert first is not None
            first.requeue()
            again = bound.get()
            assert again is not None
            assert again.payload == {"task": name}
            again.ack()
        fanout = kombu.Exchange("celery.pidbox", type="fanout")
        box = kombu.Queue("worker@host.celery.pidbox", fanout, auto_delete=True, durable=False)
        got: list[Any] = []
        with connection.Consumer([box], callbacks=[lambda body, _: got.append(body)]):
            with contextlib.suppress(TimeoutError):
                connection.drain_events(timeout=0.5)  # subscribes, and there is nothing yet
            connection.Producer().publish({"method": "ping"}, exchange=fanout, declare=[fanout])
            end = time.monotonic() + 10
            while not got and time.monotonic() < end:
                with contextlib.suppress(TimeoutError):
                    connection.drain_events(timeout=1)
        assert got == [{"method": "ping"}]
    with pytest.raises(Exception, match=r"permission|No permissions|NOPERM"), kombu.Connection(url) as connection:
        connection.default_channel.client.lpush("another", "x")


def test_the_template_holds_no_password_and_a_user_less_is_not_forgotten() -> None:
    template = (Path(__file__).parents[2] / "docker/redis/users.acl.template").read_text().splitlines()
    assert [line.split()[1] for line in template] == ["default", "health", "airflow", "bidwright", "bidwright_reader"]
    secrets = [word for line in template for word in line.split() if word.startswith((">", "#"))]
    assert set(secrets) == {">${REDIS_PASSWORD}", ">${REDIS_READER_PASSWORD}"}
    assert shutil.which("redis-server"), "this file's other tests were skipped"
