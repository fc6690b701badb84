"""Airflow's own database and broker, looked at before anything is started on them: what is wrong with them, in one sentence."""

from __future__ import annotations

import re
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psycopg
from redis import AuthenticationError, Redis, RedisError

from ml.core.errors import StoreUnavailable
from ml.ledger.database import Database

_PROBE: Final = "_kombu.probe"
"""A key that the broker's user may write (docker/redis/users.acl.template); it goes away by itself."""
_PROBE_S: Final = 10
_TIMEOUT_S: Final = 10.0
_NAMED: Final = re.compile(r'^revision(?:: str)? = "(\w+)"', re.MULTILINE)


def check_airflow_database(url: str) -> str:
    """Show that Airflow's database can be logged into, and is not newer than the Airflow that is installed.

    Args:
        url: as Airflow has it, AIRFLOW__DATABASE__SQL_ALCHEMY_CONN.

    Returns:
        Its revision, for a person; an older one is migrated by `airflow db migrate`.

    Raises:
        StoreUnavailable: it refuses the login, does not answer, or is newer.
    """
    scheme, _, rest = url.partition("://")
    address = f"{scheme.partition('+')[0]}://{rest}"
    with closing(Database.open(address)) as database:
        try:
            database.server_time()  # whatever is wrong with it has a sentence there
        except StoreUnavailable as error:
            raise StoreUnavailable(
                error.what.replace("the platform database", "Airflow's database"),
                left="nothing was changed",
                next=error.next.replace("BIDWRIGHT_DATABASE_URL", "AIRFLOW_DB_PASSWORD in .env"),
            ) from error
    at = _revision(address)
    if at and at not in _known():
        raise StoreUnavailable(
            f"Airflow's database is at revision {at}, which the installed Airflow does not know: it is newer than this code",
            left="nothing was changed",
            next="run the newer version, or restore an older backup",
        )
    return f"revision {at}" if at else "no tables yet"


def check_broker(url: str) -> str:
    """Show that the queue of tasks takes a write, as whoever puts tasks there.

    Args:
        url: redis://user:password@host:port/number, AIRFLOW__CELERY__BROKER_URL.

    Returns:
        Where it is, without the password.

    Raises:
        StoreUnavailable: it refuses the login, does not answer, or takes no writes.
    """
    parts = urlsplit(url)
    where = f"{parts.hostname}:{parts.port}"
    client = Redis.from_url(url, socket_connect_timeout=_TIMEOUT_S, socket_timeout=_TIMEOUT_S)
    try:
        client.set(_PROBE, b"1", ex=_PROBE_S)
    except AuthenticationError as error:
        raise StoreUnavailable(
            f"the queue of tasks, Redis {where}, refused the login",
            left="nothing was started",
            next="check REDIS_PASSWORD in .env, and whether Redis was started with it",
        ) from error
    except RedisError as error:
        raise StoreUnavailable(
            f"the queue of tasks, Redis {where}, takes no writes ({error})",
            left="nothing was started",
            next="start it, make room, or name the primary; then start again",
        ) from error
    finally:
        client.close()
    return where


def _revision(address: str) -> str:
    """What Airflow's migrations say that the database is at; empty where there are no tables yet."""
    with psycopg.connect(address, connect_timeout=round(_TIMEOUT_S)) as connection:
        there = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
        if there is None or there[0] is None:
            return ""
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else ""


def _known() -> set[str]:
    """The names of the installed Airflow's migrations, as their files have them: importing Airflow would take seconds."""
    package = find_spec("airflow")
    folders = package.submodule_search_locations if package else None
    files = (file for folder in folders or () for file in (Path(folder) / "migrations" / "versions").glob("*.py"))
    return {found[1] for file in files if (found := _NAMED.search(file.read_text()))}
