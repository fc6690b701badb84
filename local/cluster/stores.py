"""PostgreSQL, Redis and what else keeps a cluster's data: how each is prepared and started as a plain process."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template
from typing import Final

from local.airflow import REPOSITORY, write_private
from local.cluster.places import BUCKET, Ports
from local.ports import LOOPBACK
from local.supervisor import Service, Started, is_running
from ml.core.errors import StoreUnavailable, UsageError

ROLES_SQL: Final = REPOSITORY / "docker" / "postgres" / "roles.sql"
REDIS_USERS: Final = REPOSITORY / "docker" / "redis" / "users.acl.template"
SUPERUSER: Final = "postgres"

_ORDINARY: Final = ("postgres", "nobody")
_POLL_S: Final = 0.1
_DEBIAN: Final = Path("/usr/lib/postgresql")

_SERVER_OPTIONS: Final = {
    "listen_addresses": LOOPBACK,
    # A socket's path may have 107 characters; a working folder's may have more.
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "log_timezone": "UTC",
}

_MLFLOW: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # Processes for jobs that nobody gives it here; without them it takes a fifth of the memory.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}

_REDIS_CONF: Final = """\
bind {host}
port {port}
dir {folder}
aclfile {acl}
# What was queued and is not yet run outlives a restart.
appendonly yes
save ""
maxmemory 256mb
maxmemory-policy noeviction
"""


def find_programs() -> dict[str, Path]:
    """The servers that a cluster needs of this machine, by name.

    Raises:
        UsageError: some are not installed.
    """
    found = {name: _which(name) for name in ("redis-server", "haproxy", "psql", "git", "setpriv")}
    found |= {name: _postgres_program(name) for name in ("initdb", "postgres")}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise UsageError(
            f"not installed on this machine: {', '.join(missing)}",
            left="nothing was started",
            next="on Debian: make debian (as root); it installs redis-server, postgresql-15 and haproxy",
        )
    return {name: path for name, path in found.items() if path is not None}


def ordinary_user() -> str | None:
    """Whom PostgreSQL is run as: whoever we are, or, as root, which it refuses, somebody without rights."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _ORDINARY if name in known)


def prepare_postgres(initdb: Path, folder: Path, password: str) -> None:
    """Make the database cluster in `folder` if it is not there.

    Raises:
        UsageError: the ordinary user cannot reach the folder.
        StoreUnavailable: initdb failed.
    """
    if (folder / "data" / "PG_VERSION").is_file():
        return
    user = ordinary_user()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "data", ignore_errors=True)  # one that was interrupted
    secret = folder / "password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    if user:
        for path in (folder, secret):
            shutil.chown(path, user, pwd.getpwnam(user).pw_gid)
    argv = [str(initdb), "--pgdata", str(folder / "data"), "--username", SUPERUSER, "--auth=scram-sha-256"]
    argv += ["--pwfile", str(secret), "--encoding=UTF8", "--locale=C"]
    try:
        if subprocess.run(_as(user, ["test", "-w", str(folder)]), check=False).returncode:  # noqa: S603
            raise UsageError(
                f"PostgreSQL does not run as root, and the user {user} cannot reach {folder}",
                left="nothing was started",
                next="use a working folder that everybody may pass: BIDWRIGHT_HOME=/var/tmp/bidwright make cluster",
            )
        done = subprocess.run(_as(user, argv), capture_output=True, text=True, check=False, cwd="/")  # noqa: S603
    finally:
        secret.unlink()
    if done.returncode:
        raise StoreUnavailable(f"initdb failed: {done.stderr.strip()[-300:]}", next=f"look at {folder}")


def postgres(program: Path, folder: Path, ports: Ports, log: Path) -> Service:
    """PostgreSQL on loopback, as an ordinary user."""
    argv = [str(program), "-D", str(folder / "data"), "-p", str(ports.postgres)]
    argv += [part for name, value in _SERVER_OPTIONS.items() for part in ("-c", f"{name}={value}")]
    return Service("postgres", _as(ordinary_user(), argv), {"PATH": os.environ["PATH"], "TZ": "UTC"}, log)


def make_roles(psql: Path, ports: Ports, secrets: Mapping[str, str]) -> None:
    """Roles, databases and grants, as docker/postgres/roles.sql says; passwords go by the environment."""
    argv = [str(psql), "--no-psqlrc", "--quiet", "--host", LOOPBACK, "--port", str(ports.postgres)]
    argv += ["--username", SUPERUSER, "--dbname", "postgres", "--file", str(ROLES_SQL)]
    env = {name: value for name, value in secrets.items() if name.endswith("_PASSWORD")}
    env |= {"PATH": os.environ["PATH"], "PGPASSWORD": secrets["POSTGRES_PASSWORD"]}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)  # noqa: S603  (fixed command)
    if done.returncode:
        raise StoreUnavailable(f"the roles could not be made: {done.stderr.strip()[-300:]}", next=f"read {ROLES_SQL}")


def prepare_redis(folder: Path, ports: Ports, secrets: Mapping[str, str]) -> None:
    """Write Redis' settings and the users of docker/redis/users.acl.template, for its owner's eyes only."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    acl = folder / "users.acl"
    write_private(acl, Template(REDIS_USERS.read_text()).substitute(secrets))
    write_private(folder / "redis.conf", _REDIS_CONF.format(host=LOOPBACK, port=ports.redis, folder=folder, acl=acl))


def redis(program: Path, folder: Path, log: Path) -> Service:
    """Redis, which finds its passwords in a file: none is on a command line."""
    return Service("redis", [str(program), str(folder / "redis.conf")], {"PATH": os.environ["PATH"]}, log)


def s3(folder: Path, ports: Ports, env: Mapping[str, str], secrets: Mapping[str, str], log: Path) -> Service:
    """moto's S3 server, which keeps what it was given."""
    argv = [sys.executable, "-m", "local.cluster.s3_server", "--folder", str(folder), "--port", str(ports.s3)]
    keys = {name: secrets[name] for name in ("S3_ACCESS_KEY", "S3_READER_ACCESS_KEY")}
    return Service("s3", [*argv, "--bucket", BUCKET], {**env, **keys}, log)


def mlflow(folder: Path, ports: Ports, env: Mapping[str, str], log: Path) -> Service:
    """MLflow's server; losing what it holds changes nothing that is live, so a SQLite file is enough."""
    folder.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(ports.mlflow), "--workers", "1"]
    argv += [
        "--backend-store-uri",
        f"sqlite:///{folder / 'server.db'}",
        "--artifacts-destination",
        str(folder / "kept"),
    ]
    return Service("mlflow", argv, {**env, **_MLFLOW}, log)


def proxy(program: Path, ports: Ports, log: Path) -> Service:
    """haproxy in front of the bid services."""
    env = {"PATH": os.environ["PATH"], "PROXY_PORT": str(ports.proxy)}
    env |= {"BID_1_PORT": str(ports.bid_1), "BID_2_PORT": str(ports.bid_2)}
    return Service("proxy", [str(program), "-db", "-f", str(Path(__file__).with_name("haproxy.cfg"))], env, log)


def wait_for(check: Callable[[], bool], service: Started, *, within_s: float = 300.0) -> None:
    """Wait until a service that was started answers.

    Raises:
        StoreUnavailable: it ended, or did not answer in time; with the log to read.
    """
    deadline = time.monotonic() + within_s
    while not check():
        if not is_running(service):
            raise StoreUnavailable(f"{service.name} ended while it was starting", next=f"read {service.log}")
        if time.monotonic() > deadline:
            raise StoreUnavailable(f"{service.name} does not answer after {within_s:.0f} s", next=f"read {service.log}")
        time.sleep(_POLL_S)


def _as(user: str | None, argv: list[str]) -> list[str]:
    if user is None:
        return argv
    group = str(pwd.getpwnam(user).pw_gid)
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--", *argv]


def _which(name: str) -> Path | None:
    # A package's servers are in sbin, which an ordinary user's PATH lacks.
    found = shutil.which(name, path=os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin")))
    return Path(found) if found else None


def _postgres_program(name: str) -> Path | None:
    """From Debian's folder of the newest version, else from PATH."""
    newest = max(_DEBIAN.glob(f"*/bin/{name}"), key=lambda path: float(path.parent.parent.name), default=None)
    return newest or _which(name)
