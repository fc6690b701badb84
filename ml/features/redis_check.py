"""The Redis that the settings name, beside Feast: whether it takes a write, which writing of features was the last, and its errors."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ml.core.digests import digest_bytes
from ml.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT_S = 10.0
_KEEP_S = 10
_FULLEST = 0.8
"""Share of its memory beyond which nothing is written: what is left is for whoever shares it, such as the queue of tasks."""
_MARK = "mark."
_BEGINS_BELOW = 1 << 48

_LOGIN = ("refused the login", "check the user and the password in BIDWRIGHT_REDIS")
_REPLICA = ("is a replica that takes no writes", "name the primary in BIDWRIGHT_REDIS, or promote this one")

# By the class of the client's error, or by a piece of what Redis says.
_BY_CLASS: Mapping[str, tuple[str, str]] = {
    "OutOfMemoryError": ("is full: its memory limit is reached", "raise maxmemory, or remove what nobody needs"),
    "ReadOnlyError": _REPLICA,
    "NoPermissionError": (
        "does not let this user write features",
        "give the user rights on the keys of features",
    ),
    "BusyLoadingError": ("is still loading its data", "try again when it is up"),
}
_BY_WORDS: Mapping[str, tuple[str, str]] = {
    "maxmemory": _BY_CLASS["OutOfMemoryError"],
    "read only replica": _REPLICA,
    "MISCONF": ("takes no writes, because it cannot save to its disk", "check its disk and its log"),
    "no permissions": _BY_CLASS["NoPermissionError"],
    "Authentication required": ("wants a password", "add password=... to BIDWRIGHT_REDIS"),
    "password": _LOGIN,
}


def check_redis(connection: str, market: str) -> str:
    """Write a small key that goes away by itself, under a name that a writer of this market's features may use; look for room.

    Args:
        connection: the setting `redis`: host:port,db=0,username=...,password=...,ssl=true.
        market: the market.

    Returns:
        Where it was written, without user and password, and how full it is, where it says so.

    Raises:
        StoreUnavailable: it cannot be reached, refuses the login, takes no writes, or is fuller than `_FULLEST`.
    """
    with redis_client(connection) as (client, where):
        client.set(f"probe.{project_of(market)}", b"1", ex=_KEEP_S)
        used, limit = _memory(client)
    if limit and used > _FULLEST * limit:
        raise StoreUnavailable(
            f"the Redis {where} is {used / limit:.0%} full, and what is left is not for features",
            left="the features that it holds are served on",
            next="raise maxmemory (REDIS_MAXMEMORY in .env), or remove what nobody needs",
        )
    return f"Redis {where} takes writes" + (f", {used / limit:.0%} full" if limit else "")


def _memory(client: Any) -> tuple[int, int]:
    """Bytes that it holds and may hold; (0, 0) where there is no limit, or this user may not ask."""
    from redis import ResponseError

    try:
        said = client.info("memory")
    except ResponseError:
        return 0, 0
    return int(said["used_memory"]), int(said["maxmemory"])


def project_of(market: str) -> str:
    """The market's name in a Redis that several may share: Feast's keys end with it."""
    return f"bidwright_{digest_bytes(market.encode())[:12]}"


def note_written(connection: str, market: str) -> None:
    """Say that features were written: whoever keeps a copy fetches them (`ml.features.online_copy`); errors as `check_redis`."""
    key = _MARK + project_of(market)
    with redis_client(connection) as (client, _):
        # From a drawn number on: one that lost everything and was written as often as before must not look like the one before.
        client.set(key, secrets.randbelow(_BEGINS_BELOW), nx=True)
        client.incr(key)


def last_writing(connection: str, market: str) -> int:
    """The number of the last writing: another after each `note_written`, 0 in a Redis that knows of none; errors as `check_redis`."""
    with redis_client(connection) as (client, _):
        return int(client.get(_MARK + project_of(market)) or 0)


@contextmanager
def redis_client(connection: str) -> Iterator[tuple[Any, str]]:
    """A client of the first node, and where that is; its errors become StoreUnavailable, in one sentence."""
    from redis import Redis, RedisError

    host, options = _parse(connection)
    where = f"{host['host']}:{host['port']}"
    patience = {"socket_connect_timeout": _TIMEOUT_S, "socket_timeout": _TIMEOUT_S}
    client = Redis(**host, **(patience | options))
    try:
        yield client, where
    except RedisError as error:
        what, advice = _meaning(error)
        raise StoreUnavailable(
            f"the Redis {where} {what}", left="the features that it holds are served on", next=advice
        ) from error
    finally:
        client.close()


def _meaning(error: Exception) -> tuple[str, str]:
    if known := _BY_CLASS.get(type(error).__name__):
        return known
    said = str(error)
    return next(
        (meaning for sign, meaning in _BY_WORDS.items() if sign.lower() in said.lower()),
        (f"cannot be used: {said}", "check that it is up and that BIDWRIGHT_REDIS is right"),
    )


def _parse(connection: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first node, and the options, as Feast reads them."""
    parts = connection.split(",")
    node = next((part for part in parts if "=" not in part), "")
    host, _, port = node.rpartition(":")
    options: dict[str, Any] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if equals:
            try:
                options[name] = json.loads(value)
            except ValueError:
                options[name] = value
    for name in ("username", "password"):
        if name in options:
            options[name] = str(options[name])
    return {"host": host, "port": int(port)}, options
