"""The services of one working folder: Airflow and the mailbox, their ports, and how they come up and go down."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

import airflow as installed

from local import airflow
from local.client import AirflowClient
from local.ports import LOOPBACK, choose_port
from local.supervisor import Service, Supervisor, is_running
from ml.core.errors import PermanentError, StoreUnavailable, UsageError

ONLINE_STORE_POOL = "online_store"

_MARK = "# Written by `make demo` or `make cluster`; a change here is lost at its next start.\n"


@dataclass(frozen=True)
class Ports:
    """Where the services listen, on loopback."""

    airflow: int
    smtp: int
    mailbox: int


USUAL = Ports(airflow=8080, smtp=1025, mailbox=8025)


class Stack:
    """What runs for one working folder.

    Args:
        home: the working folder.
    """

    command = "make demo"
    """By which people start it."""

    start_limit_s = 300.0
    """Seconds until everything must be up."""

    lasting: Collection[str] = ("mailbox", *airflow.COMPONENTS)
    """The names of the services that are to last."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.logs = home / "logs"
        self.supervisor = Supervisor(home / "run")
        self._ports_file = home / "run" / "ports.json"
        self._migrated = home / "airflow" / "migrated"

    @property
    def settings_file(self) -> Path:
        """The settings that every process of the stack reads."""
        return self.home / "bidwright.toml"

    @property
    def mail(self) -> Path:
        """The folder of the mailbox."""
        return self.home / "mail"

    def ports(self) -> Ports:
        """The ports that were settled on last, or the usual ones."""
        try:
            return Ports(**json.loads(self._ports_file.read_text()))
        except FileNotFoundError:
            return USUAL

    def claim(self, story: str) -> Ports:
        """Settle the ports and write the settings of a story (the text of a settings file, without ports).

        Raises:
            UsageError: the folder has settings that are not the demo's, or another story's.
        """
        self._refuse_other_settings(story)
        ports = self._free_ports()
        if ports.airflow != self.ports().airflow:
            # Those that still run would go on looking for the api-server where it was.
            self.stop()
        write_whole(self._ports_file, json.dumps(asdict(ports)))
        addresses = f'smtp_port = {ports.smtp}\nairflow_url = "http://{LOOPBACK}:{ports.airflow}"\n'
        write_whole(self.settings_file, _MARK + story + addresses)
        return ports

    def environment(self) -> dict[str, str]:
        """The environment of every process of the stack."""
        return airflow.environment(self.home, port=self.ports().airflow)

    def services(self) -> dict[str, Service]:
        """What is to last, by name, in the order in which it is started."""
        components = airflow.components(self.environment(), self.logs)
        return {service.name: service for service in (self._mailbox(), *components)}

    def start_stores(self) -> None:
        """Start what everything else needs, unless it runs."""
        self.supervisor.start(self._mailbox())

    def start_migration(self) -> bool:
        """Start to bring Airflow's database to the installed version; False if it is there already."""
        if self._migrated.is_file() and self._migrated.read_text() == installed.__version__:
            return False
        self.supervisor.start(self._migration())
        return True

    def _migration(self) -> Service:
        return airflow.migration(self.environment(), self.logs)

    def migration_ended(self) -> bool:
        """Whether the migration is over.

        Raises:
            PermanentError: it failed.
        """
        code = self.supervisor.exit_code("airflow-migrate")
        if code is None:
            return False
        if code != 0:
            raise PermanentError(
                "Airflow's database could not be prepared", next=f"read {self.logs / 'airflow-migrate.log'}"
            )
        write_whole(self._migrated, installed.__version__)
        return True

    def start_airflow(self) -> None:
        """Start those services that do not run."""
        for service in self.services().values():
            self.supervisor.start(service)

    def revive(self) -> list[str]:
        """Start again the services that were started and have died; returns their names."""
        dead = [s.name for s in self.supervisor.started().values() if s.name in self.lasting and not is_running(s)]
        if dead:
            known = self.services()
            for name in dead:
                self.supervisor.start(known[name])
        return dead

    def stop(self) -> list[str]:
        """End everything that runs for this folder; returns the names of what ran."""
        return self.supervisor.stop()

    def check_started(self) -> None:
        """Raise StoreUnavailable, with the log to read, if a service that was just started has ended."""
        for name, service in self.supervisor.started().items():
            if name in self.lasting and not is_running(service):
                raise StoreUnavailable(f"{name} ended while it was starting", next=f"read {service.log}")

    def client(self) -> AirflowClient:
        """A client of this stack's api-server; a context manager."""
        kept = airflow.keep_secrets(self.home / "airflow")
        return AirflowClient(f"http://{LOOPBACK}:{self.ports().airflow}", user=airflow.USER, password=kept.password)

    def _mailbox(self) -> Service:
        ports = self.ports()
        argv = [sys.executable, "-m", "local.mailbox", "--folder", str(self.mail)]
        argv += ["--smtp-port", str(ports.smtp), "--page-port", str(ports.mailbox)]
        return Service("mailbox", argv, self.environment(), self.logs / "mailbox.log")

    def _begun(self) -> bool:
        """Whether a story was begun here, which then can only go on."""
        return (self.home / "lake").exists()

    def _free_ports(self) -> Ports:
        """The ports of last time; another one for a service that does not run and whose port is taken."""
        last, held = self.ports(), self.supervisor.running()
        taken: list[int] = []
        for port, service in ((last.airflow, "api-server"), (last.smtp, "mailbox"), (last.mailbox, "mailbox")):
            taken.append(port if service in held else choose_port(port, taken=taken))
        return Ports(*taken)

    def _refuse_other_settings(self, story: str) -> None:
        try:
            present = self.settings_file.read_text()
        except FileNotFoundError:
            return
        elsewhere = f"use another working folder: BIDWRIGHT_HOME=<folder> {self.command}"
        if not present.startswith(_MARK):
            raise UsageError(
                f"{self.settings_file} is yours and not that of `{self.command}`",
                left="it was not touched",
                next=elsewhere,
            )
        if self._begun() and not present.removeprefix(_MARK).startswith(story):
            raise UsageError(
                f"{self.home} holds another market, or one with other settings",
                left="nothing was started or changed",
                next=f"continue that one, or {elsewhere}",
            )


def write_whole(file: Path, text: str) -> None:
    """Write a file so that nobody ever reads half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(file.name + ".new")
    temporary.write_text(text)
    temporary.replace(file)
