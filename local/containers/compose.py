"""Compose, as this machine has it: `docker compose` (v2), or `docker-compose` 1.29 of Debian."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ml.core.errors import StoreUnavailable, UsageError

REPOSITORY: Final = Path(__file__).resolve().parents[2]
FILE: Final = REPOSITORY / "docker-compose.yml"
ENV_FILE: Final = REPOSITORY / ".env"

LOCAL_IMAGES: Final[Mapping[str, str]] = {
    "PYTHON_IMAGE": "bidwright-local/python:3.11",
    "POSTGRES_IMAGE": "bidwright-local/postgres:15",
    "REDIS_IMAGE": "bidwright-local/redis:7",
    "HAPROXY_IMAGE": "bidwright-local/haproxy:2.6",
}
"""What stands in for the official images in the profile `local` (docker/local-base/make.sh)."""

_TELEMETRY: Final[Mapping[str, str]] = {"TELEMETRY": "True", "TELEMETRY_OFF": "false"}


def command(host: str = "") -> list[str]:
    """The argument vector that Compose begins with.

    Raises:
        UsageError: there is neither of the two.
    """
    env = _environment(host, {})
    if shutil.which("docker"):
        done = subprocess.run(["docker", "compose", "version"], env=env, capture_output=True, check=False)  # noqa: S607
        if done.returncode == 0:
            return ["docker", "compose"]
    if found := shutil.which("docker-compose"):
        return [found]
    raise UsageError(
        "Compose is not installed", left="nothing was started", next="on Debian, as root: make debian-engine"
    )


@dataclass(frozen=True)
class Container:
    """One container: which service it is of, and how it is (`state`: running, exited; `health`: healthy, starting, ...)."""

    name: str
    service: str
    state: str
    health: str
    code: int
    started: str

    @property
    def well(self) -> bool:
        """Whether it runs and is healthy, or has ended as it should."""
        return (self.state == "running" and self.health in {"healthy", ""}) or (
            self.state == "exited" and self.code == 0
        )


@dataclass(frozen=True)
class Compose:
    """The containers of one project.

    Attributes:
        project: its name, in front of every container, network and volume.
        profiles: that are up.
        host: of the engine; empty for the usual one.
        env_file: with the secrets.
        variables: what else docker-compose.yml reads from the environment.
    """

    project: str
    profiles: Sequence[str]
    host: str = ""
    env_file: Path = ENV_FILE
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, quiet: bool = False, check: bool = True) -> str:
        """Run a command of Compose; returns its output where it is `quiet`, else shows it.

        Raises:
            StoreUnavailable: it failed, with its last line.
        """
        argv = [
            *command(self.host),
            "--file",
            str(FILE),
            "--env-file",
            str(self.env_file),
            "--project-name",
            self.project,
        ]
        argv += [part for profile in self.profiles for part in ("--profile", profile)]
        return _run([*argv, *arguments], self.environment(), quiet=quiet, check=check)

    def run_in(self, service: str, *arguments: str, check: bool = True) -> str:
        """The output of a command in a service's container, with the service's own settings; `check` as of `run`."""
        return self.run("exec", "-T", service, "with-settings", *arguments, quiet=True, check=check)

    def containers(self) -> list[Container]:
        """Every container of the project, running or not."""
        ids = self.docker(
            "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={self.project}"
        ).split()
        return [_container(found) for found in json.loads(self.docker("inspect", *ids))] if ids else []

    def docker(self, *arguments: str) -> str:
        """The output of the docker command, on the project's engine."""
        return _run(["docker", *arguments], self.environment(), quiet=True, check=True)

    def environment(self) -> dict[str, str]:
        """What Compose and docker are started with."""
        local = LOCAL_IMAGES if "local" in self.profiles else {}
        telemetry = _TELEMETRY if "observability" in self.profiles else {}
        return _environment(self.host, {**local, **telemetry, **self.variables})


def _environment(host: str, more: Mapping[str, str]) -> dict[str, str]:
    # What is asked for on the command line counts before what we would choose.
    env = {**more, **{name: value for name, value in os.environ.items() if name not in more or name.endswith("_IMAGE")}}
    return {**env, "DOCKER_HOST": host} if host else env


def _run(argv: Sequence[str], env: Mapping[str, str], *, quiet: bool, check: bool) -> str:
    done = subprocess.run(argv, env=env, cwd=REPOSITORY, capture_output=quiet, text=True, check=False)  # noqa: S603
    if check and done.returncode:
        said = (done.stderr or "").strip().splitlines()[-1:] or ["see above"]
        what = " ".join(argv[-3:])
        raise StoreUnavailable(f"the containers did not do as they were told ({what}): {said[0]}", next="make logs")
    return done.stdout or ""


def _container(found: Mapping[str, Any]) -> Container:
    state = found["State"]
    return Container(
        name=found["Name"].lstrip("/"),
        service=found["Config"]["Labels"]["com.docker.compose.service"],
        state=state["Status"],
        health=state.get("Health", {}).get("Status", ""),
        code=int(state["ExitCode"]),
        started=state["StartedAt"],
    )
