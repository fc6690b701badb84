"""The services of a cluster: which there are, what each is told, in which order they come and go."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Final

import httpx
import psycopg

from local import airflow, env_file
from local.client import AirflowClient
from local.cluster import stores
from local.cluster.places import BRANCH, LISTENER, USUAL, Ports, airflow_url, fillers
from local.ports import LOOPBACK, choose_port
from local.prepare import ADMIN
from local.settings_files import filled
from local.stack import Stack
from local.supervisor import Service, Started, is_running, processes_of
from ml.core.errors import StoreUnavailable, UsageError

STORES: Final = ("postgres", "redis", "s3", "mlflow", "mailbox")
SCHEDULERS: Final = ("scheduler-1", "scheduler-2")
WORKERS: Final = {"worker-default": ("default", 2), "worker-heavy": ("heavy", 1), "worker-online": ("online", 1)}
"""Each Celery worker with its queue and how many tasks it runs at once."""
BIDS: Final = ("bid-1", "bid-2")

CODE_VERSION: Final = "BIDWRIGHT_CODE_VERSION"

_PING_S: Final = 2.0
_OURS: Final = ("BIDWRIGHT_", "AWS_")


class Cluster(Stack):
    """Everything that runs for one cluster.

    Args:
        home: its working folder.
        env: the file with its secrets.
    """

    command = "make cluster"
    start_limit_s = 900.0
    lasting = (*STORES, "api-server", *SCHEDULERS, "dag-processor", "triggerer", *WORKERS, *BIDS, "proxy")

    def __init__(self, home: Path, env: Path = env_file.ENV_FILE) -> None:
        super().__init__(home)
        self._env = env

    @cached_property
    def secrets(self) -> dict[str, str]:
        """Of `.env`, checked. UsageError where it is not there or not what it should be."""
        return env_file.read(self._env)

    @cached_property
    def programs(self) -> dict[str, Path]:
        """The servers of this machine. UsageError where one is not installed."""
        return stores.find_programs()

    def ports(self) -> Ports:
        """The ports that were settled on last, or the usual ones."""
        try:
            return Ports(**json.loads(self._ports_file.read_text()))
        except FileNotFoundError:
            return USUAL

    def platform_environment(self, *overlays: str) -> dict[str, str]:
        """What the platform's own processes are told, and nothing of Airflow's secrets.

        Args:
            overlays: further settings files, such as serve, of which the last counts.
        """
        found = airflow.surroundings(without=_OURS)
        if version := os.environ.get(CODE_VERSION):
            found[CODE_VERSION] = version  # whoever starts it knows better than git
        values = fillers(self.home, self.ports(), self.secrets)
        for name in ("bidwright", *overlays):
            found |= filled(name, values)
        return found

    def environment(self) -> dict[str, str]:
        """What Airflow's processes and workers are told."""
        return self.platform_environment("airflow")

    def services(self) -> dict[str, Service]:
        """What is to last, by name, in the order in which it is started."""
        every = (*self._stores(), *self._airflow(), *self._workers(), *self._bids())
        return {service.name: service for service in every}

    def start_stores(self) -> None:
        """Prepare and start what keeps data, and wait until it answers; the newest commit's DAG files are handed over."""
        ports, held = self.ports(), self.supervisor.running()
        if "postgres" not in held:
            password = self.secrets["POSTGRES_PASSWORD"]
            stores.prepare_postgres(self.programs["initdb"], self.home / "postgres", password)
        if "redis" not in held:
            stores.prepare_redis(self.home / "redis", ports, self.secrets)
        started = {service.name: self.supervisor.start(service) for service in self._stores()}
        for name in ("postgres", "redis", "s3"):
            stores.wait_for(lambda name=name: self.answers(name), started[name])  # type: ignore[misc]
        stores.make_roles(self.programs["psql"], ports, self.secrets)
        self.deploy()

    def start_migration(self) -> bool:
        """Start `local.prepare`, unless Airflow runs already; it may run at every start."""
        if "api-server" in self.supervisor.running():
            return False
        self.supervisor.start(self._migration())
        return True

    def deploy(self) -> str:
        """Hand the newest commit's DAG files to the cluster's own repository; returns the commit.

        Raises:
            UsageError: the platform does not lie in a git repository.
        """
        target = self.home / "dags.git"
        if not target.is_dir():
            _git("init", "--quiet", "--bare", f"--initial-branch={BRANCH}", str(target))
            # A clone of the last commits alone may be handed on too.
            _git("-C", str(target), "config", "receive.shallowUpdate", "true")
        here = ("-C", str(airflow.REPOSITORY))
        _git(*here, "push", "--quiet", "--force", str(target), f"HEAD:refs/heads/{BRANCH}")
        return _git(*here, "rev-parse", "HEAD").strip()

    def changed_dags(self) -> list[str]:
        """DAG files that differ from the newest commit's: the cluster does not see these changes."""
        said = _git("-C", str(airflow.REPOSITORY), "status", "--porcelain", "--", "dags")
        return [line[3:] for line in said.splitlines()]

    def answers(self, name: str) -> bool:
        """Whether a service answers now; for those that listen nowhere, whether it runs."""
        ports = self.ports()
        if name == "postgres":
            with contextlib.suppress(psycopg.Error), psycopg.connect(
                host=LOOPBACK, port=ports.postgres, dbname="postgres", user=stores.SUPERUSER,
                password=self.secrets["POSTGRES_PASSWORD"], connect_timeout=round(_PING_S),
            ):  # fmt: skip
                return True
            return False
        if name == "redis":
            return _redis_answers(ports.redis, self.secrets["REDIS_PASSWORD"])
        url = {
            "s3": f"http://{LOOPBACK}:{ports.s3}/health",
            "mlflow": f"http://{LOOPBACK}:{ports.mlflow}/health",
            "mailbox": f"http://{LOOPBACK}:{ports.mailbox}/",
            "api-server": f"{airflow_url(ports)}/api/v2/version",
            "bid-1": f"http://{LOOPBACK}:{ports.bid_1}/livez",
            "bid-2": f"http://{LOOPBACK}:{ports.bid_2}/livez",
            "proxy": f"http://{LOOPBACK}:{ports.proxy}/livez",
        }.get(name)
        if url is None:
            return name in self.supervisor.running()
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(url, timeout=_PING_S, trust_env=False).is_success
        return False

    def wait(self, names: Sequence[str], *, within_s: float = 600.0) -> None:
        """Wait until these services, which were started, answer. StoreUnavailable, with the log to read, if one does not."""
        started = self.supervisor.started()
        for name in names:
            stores.wait_for(lambda name=name: self.answers(name), started[name], within_s=within_s)  # type: ignore[misc]

    def start(self, name: str) -> Started:
        """Start one service, unless it runs."""
        return self.supervisor.start(self.services()[name])

    def kill(self, name: str) -> list[int]:
        """Kill a service and all that it started, as a machine that goes away does; returns the pids that were killed."""
        service = self.supervisor.started()[name]
        killed = []
        # The first process last: it must not see its children die and start others.
        for process in sorted(processes_of(service), key=lambda found: found.pid == service.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)
        deadline = time.monotonic() + 10
        while is_running(service) and time.monotonic() < deadline:
            time.sleep(0.02)
        return killed

    def stop(self) -> list[str]:
        """End everything: first what uses the stores, then these."""
        known = self.supervisor.started()
        users = self.supervisor.stop([name for name in known if name not in STORES], grace_s=20.0)
        return users + self.supervisor.stop(STORES, grace_s=20.0)

    def client(self) -> AirflowClient:
        """A client of this cluster's api-server, as its administrator; a context manager."""
        return AirflowClient(airflow_url(self.ports()), user=ADMIN, password=self.secrets["AIRFLOW_ADMIN_PASSWORD"])

    def _migration(self) -> Service:
        env = self.environment() | {"AIRFLOW_ADMIN_PASSWORD": self.secrets["AIRFLOW_ADMIN_PASSWORD"]}
        return Service("airflow-migrate", _python("local.prepare"), env, self._log("airflow-migrate"))

    def _begun(self) -> bool:
        return (self.home / "s3").exists()

    def _free_ports(self) -> Ports:
        last, held = asdict(self.ports()), self.supervisor.running()
        taken: list[int] = []
        for name, port in last.items():
            taken.append(port if LISTENER[name] in held else choose_port(port, taken=taken))
        found = Ports(**dict(zip(last, taken, strict=True)))
        if found != self.ports():
            # Those that still run would go on looking for the others where they were.
            self.stop()
        return found

    def _stores(self) -> list[Service]:
        ports, plain = self.ports(), airflow.surroundings(without=_OURS)
        programs, home = self.programs, self.home
        mailbox = _python("local.mailbox", "--folder", str(self.mail))
        mailbox += ["--smtp-port", str(ports.smtp), "--page-port", str(ports.mailbox)]
        return [
            stores.postgres(programs["postgres"], home / "postgres", ports, self._log("postgres")),
            stores.redis(programs["redis-server"], home / "redis", self._log("redis")),
            stores.s3(home / "s3", ports, plain, self.secrets, self._log("s3")),
            stores.mlflow(home / "mlflow", ports, plain, self._log("mlflow")),
            Service("mailbox", mailbox, plain, self._log("mailbox")),
        ]

    def _airflow(self) -> list[Service]:
        env = self.environment()
        given = {"scheduler-1": ("scheduler",), "scheduler-2": ("scheduler",), "triggerer": ("triggerer",)}
        named = {name: given.get(name, (name,)) for name in ("api-server", *SCHEDULERS, "dag-processor", "triggerer")}
        skip = {"scheduler-1", "scheduler-2", "triggerer"}  # logs are read from the disk, which all share
        return [
            Service(name, airflow.airflow_argv(*argv, *(["--skip-serve-logs"] * (name in skip))), env, self._log(name))
            for name, argv in named.items()
        ]

    def _workers(self) -> list[Service]:
        return [self.worker(name, queue=queue, slots=slots) for name, (queue, slots) in WORKERS.items()]

    def worker(self, name: str, *, queue: str, slots: int) -> Service:
        """A Celery worker of a queue; any number of them may be started and killed at any time.

        The key that signs bundles is told only to those that train.
        """
        argv = airflow.airflow_argv("celery", "worker", "--queues", queue, "--concurrency", str(slots))
        argv += ["--celery-hostname", f"{name}@bidwright", "--skip-serve-logs", "--without-mingle", "--without-gossip"]
        signing = {"BIDWRIGHT_SIGNING_KEY": self.secrets["BIDWRIGHT_SIGNING_KEY"]} if queue == "heavy" else {}
        return Service(name, argv, self.environment() | signing, self._log(name))

    def _bids(self) -> list[Service]:
        env, ports = self.platform_environment("serve"), asdict(self.ports())
        services = [
            Service(
                name, _python("ml.cli", "serve", "--port", str(ports[name.replace("-", "_")])), env, self._log(name)
            )
            for name in BIDS
        ]
        return [*services, stores.proxy(self.programs["haproxy"], self.ports(), self._log("proxy"))]

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _git(*arguments: str) -> str:
    # A hook of git's own would have put the repository of its caller into the environment.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(["git", *arguments], env=env, capture_output=True, text=True, check=False)  # noqa: S603, S607
    if done.returncode:
        raise UsageError(
            f"git refused: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else arguments[0]}",
            left="no DAG file was handed over",
            next="run the cluster from a clone with at least one commit",
        )
    return done.stdout


def _redis_answers(port: int, password: str) -> bool:
    import redis

    try:
        with contextlib.closing(redis.Redis(LOOPBACK, port, username="airflow", password=password)) as client:
            return bool(client.ping())
    except redis.AuthenticationError as error:
        raise StoreUnavailable("Redis refused its password", next="is another Redis on this port?") from error
    except redis.RedisError:
        return False
