"""A cluster whose workers ask Airflow's API through the toxic proxy, and the toxics of each market day."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from local.client import AirflowClient
from local.cluster.campaign import troubled
from local.cluster.topology import Cluster
from local.ports import LOOPBACK
from local.supervisor import Service
from ml.core.errors import PermanentError, StoreUnavailable
from tests.faults.proxy import Bandwidth, Latency, LimitData, Proxy, ResetPeer, Slicer, SlowClose, Timeout, Toxic

TOXICS: Mapping[str, Toxic | None] = {
    "latency": Latency(ms=300, jitter_ms=200),
    "bandwidth": Bandwidth(kb_per_second=20),
    "slow_close": SlowClose(ms=2_000),
    "timeout": Timeout(ms=2_000),
    "reset_peer": ResetPeer(),
    "slicer": Slicer(size=40, delay_ms=2),
    "limit_data": LimitData(size=200),
    "down": None,
}
_LEAST_S, _MOST_S = 4.0, 10.0
_PATIENCE_S = 30.0
"""So long may nobody ask."""


@dataclass
class Dose:
    """One toxic for some seconds, and what shows that it did something.

    Attributes:
        day: the market day that was at work.
        kind: of the toxic.
        at_work: the DAGs of the day that were running when it began.
        befell: how often it did something to what the workers asked or were told.
        seconds: how long it lasted.
    """

    day: str
    kind: str
    at_work: list[str]
    befell: int
    seconds: float


class PoisonedCluster(Cluster):
    """The cluster; `door` is where its workers find Airflow's API."""

    def __init__(self, home: Path, env: Path, door: Proxy) -> None:
        super().__init__(home, env)
        self.door = door

    def worker(self, name: str, *, queue: str, slots: int) -> Service:
        """A worker that knows no other way to the API than the door."""
        self.door.upstream = (LOOPBACK, self.ports().airflow)  # settled on when the cluster is claimed
        service = super().worker(name, queue=queue, slots=slots)
        url = f"http://{LOOPBACK}:{self.door.port}/execution/"
        return replace(service, env={**service.env, "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": url})


class Poisoner:
    """Gives doses of the day's toxic while the day is at work.

    Args:
        door: the proxy.
        client: knows what is at work.
        revive: starts what died by itself.
        seed: of every moment.
        a_day: doses on each day, at most; the next some seconds after the last.
    """

    def __init__(
        self, door: Proxy, client: AirflowClient, revive: Callable[[], list[str]], *, seed: int, a_day: int
    ) -> None:
        self._door, self._client, self._revive = door, client, revive
        self._random, self._a_day = random.Random(seed), a_day  # noqa: S311  (no secret)
        self.doses: list[Dose] = []
        self._kinds = [*TOXICS]
        self._days, self._left, self._due = -1, 0, 0.0
        self._given: tuple[Dose, float, int] | None = None

    def begin(self, day: date) -> None:
        """The next toxic's day."""
        self._day, self._days, self._left = day.isoformat(), self._days + 1, self._a_day
        self._due = time.monotonic() + self._random.uniform(0.5, 5.0)

    def look(self) -> list[str]:
        """Give a dose when it is time and the day is at work; end it when it lasted and did something."""
        now = time.monotonic()
        if self._given is not None:
            dose, began, before = self._given
            befell = self._door.counts[dose.kind] - before
            if now - began > dose.seconds and (befell or now - began > _PATIENCE_S):
                self._cure(now)
        elif self._left and now >= self._due and (working := self._at_work()):
            kind = self._kinds[self._days % len(self._kinds)]
            dose = Dose(self._day, kind, working, 0, self._random.uniform(_LEAST_S, _MOST_S))
            self._given = dose, now, self._door.counts[kind]
            self._left -= 1
            if (toxic := TOXICS[kind]) is None:
                self._door.down()
            else:
                self._door.toxics = [toxic]
        return self._revive()

    def finish(self) -> None:
        """The day is over; PermanentError where it was before anything was given: then it shows nothing."""
        if self._given is not None:
            self._cure(time.monotonic())
        if self._left == self._a_day:
            raise PermanentError(f"{self._day} was over before anything befell it", next="make the market larger")

    def _at_work(self) -> list[str]:
        try:
            return sorted({found.dag_id for found in self._client.runs(self._day) if not found.ended})
        except StoreUnavailable:
            return []

    def _cure(self, now: float) -> None:
        assert self._given is not None
        dose, began, before = self._given
        self._given = None
        if TOXICS[dose.kind] is None:
            self._door.up()
        self._door.toxics = []
        self.doses.append(replace(dose, befell=self._door.counts[dose.kind] - before, seconds=round(now - began, 1)))
        self._due = now + self._random.uniform(2.0, 6.0)


def campaign(home: Path, *, days: int, seed: int, env: Path, a_day: int) -> dict[str, Any]:
    """Market days through the cluster, a toxic on each; what `troubled` tells, and every dose."""
    poisoners: list[Poisoner] = []
    with Proxy((LOOPBACK, 0)) as door:
        cluster = PoisonedCluster(home, env, door)

        def doses(client: AirflowClient) -> Poisoner:
            poisoners.append(Poisoner(door, client, cluster.revive, seed=seed, a_day=a_day))
            return poisoners[0]

        found = troubled(cluster, days=days, trouble=doses)
    return found | {"seed": seed, "each": [asdict(dose) for dose in poisoners[0].doses]}
