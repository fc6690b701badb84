"""Airflow on one laptop: its settings, its secrets, its services."""

from __future__ import annotations

import json
import os
import secrets
import sys
from base64 import urlsafe_b64encode
from dataclasses import asdict, dataclass
from pathlib import Path

from local.ports import LOOPBACK
from local.supervisor import Service

REPOSITORY = Path(__file__).resolve().parent.parent
USER = "admin"

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")


@dataclass(frozen=True)
class Secrets:
    """What signs and encrypts inside one Airflow installation, and the password of its only user."""

    jwt: str
    fernet: str
    session: str
    password: str


def keep_secrets(folder: Path) -> Secrets:
    """The secrets of a working folder: made on first use, readable by their owner only, the same ever after."""
    file = folder / "secrets.json"
    try:
        return Secrets(**json.loads(file.read_text()))
    except FileNotFoundError:
        made = Secrets(
            jwt=secrets.token_urlsafe(72),
            fernet=urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            session=secrets.token_urlsafe(48),
            password=secrets.token_urlsafe(12),
        )
        write_private(file, json.dumps(asdict(made)))
        return made


def environment(home: Path, *, port: int) -> dict[str, str]:
    """The environment of every Airflow process of a working folder.

    Args:
        home: the platform's working folder; Airflow's own lies in `airflow` below it.
        port: where the api-server listens, on loopback.
    """
    folder = home / "airflow"
    kept = keep_secrets(folder)
    passwords = folder / "passwords.json"
    write_private(passwords, json.dumps({USER: kept.password}))
    return surroundings() | {
        "AIRFLOW_HOME": str(folder),
        "BIDWRIGHT_HOME": str(home),
        **{f"AIRFLOW__{name}": value for name, value in _options(home, kept, passwords, port).items()},
    }


def surroundings(*, without: tuple[str, ...] = ()) -> dict[str, str]:
    """What a process of a stack has from this one: its environment, without Airflow's settings and those named.

    Args:
        without: how names begin that are left out too.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW_", *without)) and k not in _UNWANTED}
    bypass = ",".join(filter(None, (kept.get("no_proxy"), LOOPBACK, "localhost")))
    return kept | {
        "PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "local" / "airflow_config"))),
        # Tasks talk to the api-server over loopback; a proxy of the machine must not stand between.
        "no_proxy": bypass,
        "NO_PROXY": bypass,
    }


_UNWANTED = frozenset({"PYTHONDONTWRITEBYTECODE", "PYTHONSTARTUP", "VIRTUAL_ENV"})
"""Without bytecode files every Airflow process would compile everything again: three seconds each."""


def _options(home: Path, kept: Secrets, passwords: Path, port: int) -> dict[str, str]:
    url = f"http://{LOOPBACK}:{port}"
    return {
        "CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        # Two steps of a day can run side by side; more would only wait for two cores.
        "CORE__PARALLELISM": "2",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__FERNET_KEY": kept.fernet,
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow' / 'airflow.db'}",
        "API__HOST": LOOPBACK,
        "API__PORT": str(port),
        "API__BASE_URL": url,
        "API__WORKERS": "1",
        "API__SECRET_KEY": kept.session,
        "API__EXPOSE_CONFIG": "False",
        "API__EXPOSE_STACKTRACE": "False",
        "API_AUTH__JWT_SECRET": kept.jwt,
        # The main share of a small task's latency: 1.5 s a task at the default of one second.
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        # After a kill: how soon a new scheduler takes over the tasks of the old one, and how soon a task
        # whose process died is tried again. The defaults (5 minutes) suit a cluster, not a laptop.
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
        "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        # The DAG files do not change while this stack runs.
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
        "DAG_PROCESSOR__PARSING_PROCESSES": "2",
        "LOGGING__COLORED_CONSOLE_LOG": "False",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def migration(env: dict[str, str], logs: Path) -> Service:
    """The service that brings Airflow's database to this version, and ends."""
    return Service("airflow-migrate", airflow_argv("db", "migrate"), env, logs / "airflow-migrate.log")


def components(env: dict[str, str], logs: Path) -> list[Service]:
    """The four services of Airflow. Logs are read from disk, so none of them opens a log server."""
    own = {"scheduler": ("--skip-serve-logs",), "triggerer": ("--skip-serve-logs",)}
    return [Service(name, airflow_argv(name, *own.get(name, ())), env, logs / f"{name}.log") for name in COMPONENTS]


def airflow_argv(*arguments: str) -> list[str]:
    """The Airflow command of this interpreter's own environment."""
    return [sys.executable, "-m", "airflow", *arguments]


def write_private(file: Path, text: str) -> None:
    """Write a file that its owner alone may read, in place of one that is there: whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(file.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
    temporary.replace(file)
