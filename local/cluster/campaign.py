"""Two schedulers killed in turn while market days go through: nothing may be skipped, doubled or other than undisturbed.

    python -m local cluster --kill-schedulers --days 10 --json

On each day, at a moment drawn from the seed while its tasks are at work, one scheduler and everything that it started is
killed with SIGKILL; the next day it is the other one's turn. The killed one comes back some seconds later, also drawn.
Beside it the same days go through the same use cases without Airflow, in a folder of their own: SQLite and plain files.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from local import airflow, demo, env_file, screen
from local.client import AirflowClient
from local.cluster import effects, run
from local.cluster.topology import CODE_VERSION, SCHEDULERS, Cluster
from local.days import DayRunner
from local.guard import alone, ending_on_interrupt
from local.scenario import Scenario
from ml.core.code_version import code_version
from ml.core.errors import PermanentError, StoreUnavailable, UsageError
from ml.core.settings import load_settings
from ml.platform import Platform

SMALL: Final[dict[str, str | int]] = {"simulator_opportunities_per_day": 3000, "simulator_hotels": 80}
"""A market of which many days go through in little time; none of its candidates has enough outcomes for the gates."""

MARKETS: Final[dict[str, dict[str, str | int]]] = {"small": SMALL, "demo": {}}
"""By name: the demo's makes a champion on the first day and another on the third; a day takes longer."""

_UNDISTURBED = """
import json, sys
from datetime import date
from ml import pipeline
from ml.platform import Platform
platform = Platform.from_environment()
platform.db.migrate()
first, last, days = sys.argv[1:]
pipeline.import_history(platform, date.fromisoformat(first), date.fromisoformat(last), progress=lambda _: None)
for day in json.loads(days):
    pipeline.run_day(platform, date.fromisoformat(day))
"""


class Trouble(Protocol):
    """What befalls a cluster while market days go through it."""

    def begin(self, day: date) -> None:
        """A day begins."""
        ...

    def look(self) -> list[str]:
        """Called again and again while the day goes on; the services that died by themselves and were started again."""
        ...

    def finish(self) -> None:
        """The day is over; PermanentError where nothing had befallen it."""
        ...


@dataclass
class Kill:
    """One kill, and what shows that it happened and was overcome.

    Attributes:
        day: the market day that was at work.
        part: which one.
        pids: that were killed; its own and its children's.
        at_work: the DAGs of the day that were running at that moment.
        after_s: seconds from the beginning of the day to the kill.
        away_s: seconds until it was started again.
    """

    day: str
    part: str
    pids: list[int]
    at_work: list[str]
    after_s: float
    away_s: float


class Killer:
    """Kills and starts parts of Airflow; called again and again while a day goes on.

    Args:
        cluster: whose parts.
        client: knows what is at work.
        seed: of every moment.
        parts: what is killed in turn.
        a_day: so many of them on each day, the next once the last one is back.
    """

    def __init__(
        self, cluster: Cluster, client: AirflowClient, *, seed: int, parts: Sequence[str] = SCHEDULERS, a_day: int = 1
    ) -> None:
        self._cluster, self._client, self._random = cluster, client, random.Random(seed)  # noqa: S311  (no secret)
        self.kills: list[Kill] = []
        self._parts, self._a_day = parts, a_day
        self._day, self._turn, self._began, self._due, self._left = "", 0, 0.0, 0.0, 0
        self._back: dict[str, float] = {}

    def begin(self, day: date) -> None:
        """A day begins; its first kill is drawn."""
        self._day, self._began, self._left = day.isoformat(), time.monotonic(), self._a_day
        self._due = self._began + self._random.uniform(0.5, 15.0 / self._a_day)

    def look(self) -> list[str]:
        """Kill when it is time and the day is at work; start again what is due; returns what died by itself."""
        now = time.monotonic()
        for name in [name for name, at in self._back.items() if at <= now]:
            del self._back[name]
            self._cluster.start(name)
        if self._left and not self._back and now >= self._due and (working := self._at_work()):
            self._kill(now, working)
        if self._back:
            return []
        return self._cluster.revive()

    def finish(self) -> None:
        """The day is over; PermanentError where it ended before anything was killed: then it shows nothing."""
        for name in list(self._back):
            del self._back[name]
            self._cluster.start(name)
        if self._left == self._a_day:
            raise PermanentError(f"{self._day} was over before anything was killed", next="make the market larger")

    def _at_work(self) -> list[str]:
        try:
            return sorted({found.dag_id for found in self._client.runs(self._day) if not found.ended})
        except StoreUnavailable:  # who would say so was killed, and is not up again yet
            return []

    def _kill(self, now: float, working: list[str]) -> None:
        name = self._parts[self._turn % len(self._parts)]
        self._turn, self._left = self._turn + 1, self._left - 1
        pids = self._cluster.kill(name)
        away = self._random.uniform(2.0, 12.0)
        self._back[name] = now + away
        self._due = self._back[name] + self._random.uniform(0.5, 5.0)
        self.kills.append(Kill(self._day, name, pids, working, round(now - self._began, 1), round(away, 1)))


def campaign(
    home: Path,
    *,
    days: int,
    seed: int,
    env: Path = env_file.ENV_FILE,
    parts: Sequence[str] = SCHEDULERS,
    a_day: int = 1,
    market: Mapping[str, str | int] = SMALL,
) -> dict[str, Any]:
    """Run it and tell; everything is ended afterwards, and what the days left stays in `home`.

    Args:
        home: working folder; must hold no other market.
        days: market days.
        seed: of the moments.
        env: the file with the secrets.
        parts: what is killed in turn.
        a_day: how many of them on each day.
        market: what differs from the demo's market, in which champions are made and moved.

    Returns:
        Days, kills, and what was skipped, doubled or different (all empty where the guarantee held), with seconds.
    """
    cluster = Cluster(home, env)
    killers: list[Killer] = []

    def kills(client: AirflowClient) -> Killer:
        killers.append(Killer(cluster, client, seed=seed, parts=parts, a_day=a_day))
        return killers[0]

    found = troubled(cluster, days=days, trouble=kills, market=market)
    done = killers[0].kills
    return found | {
        "seed": seed,
        "kills": len(done),
        "kills_of": {name: sum(kill.part == name for kill in done) for name in parts},
        "each": [asdict(kill) for kill in done],
    }


def troubled(
    cluster: Cluster,
    *,
    days: int,
    trouble: Callable[[AirflowClient], Trouble],
    market: Mapping[str, str | int] = SMALL,
) -> dict[str, Any]:
    """Market days through a cluster while something befalls it, compared with the same days undisturbed.

    Args:
        cluster: whose working folder holds no other market; everything of it is ended afterwards.
        days: market days.
        trouble: makes what befalls it, from a client of its Airflow.
        market: what differs from the demo's market.

    Returns:
        Days, champions that were made, and what was skipped, doubled or different (all empty where the guarantee held), with seconds.

    Raises:
        UsageError: the code is not that of a commit: the gate `code_version` stops what it trains in the cluster, and lets it pass
            in the undisturbed run, which is no production.
    """
    if not code_version(load_settings()).clean:
        raise UsageError(
            "this tree has changes that are in no commit, so that the cluster stops what it trains and the undisturbed run does not",
            left="nothing was started",
            next="commit them, or run it in a clone",
        )
    home, scenario = cluster.home, run.story(days)
    scenario = replace(scenario, settings={**scenario.settings, **market})
    # What is missing is said before anything is started.
    _ = cluster.secrets, cluster.programs
    began = time.monotonic()
    with ExitStack() as ending:
        ending.enter_context(alone(home, cluster.command))
        ending.enter_context(ending_on_interrupt(cluster))
        try:
            run.raise_up(cluster, scenario)
            beside = ending.enter_context(_start_undisturbed(home / "undisturbed", scenario))
            platform = Platform.from_environment()
            with cluster.client() as client:
                took = _live(cluster, client, platform, scenario.days, trouble(client))
                left = effects.effects(platform, scenario.days)
                doubled = effects.doubled(left, client, scenario.days)
            platform.db.close()
        finally:
            cluster.stop()
        theirs = _undisturbed(home / "undisturbed", scenario, beside)
    return {
        "days": days,
        "champions": len(left["champions"]),
        "skipped": effects.skipped(left),
        "doubled": doubled,
        "different": effects.differences(left, theirs),
        "digests_compared": _digests(left),
        "day_s": {"least": min(took), "median": sorted(took)[len(took) // 2], "most": max(took)},
        "seconds": round(time.monotonic() - began),
    }


def _live(
    cluster: Cluster, client: AirflowClient, platform: Platform, days: Sequence[date], trouble: Trouble
) -> list[float]:
    took = []
    with screen.DayProgress(days) as progress:
        runner = DayRunner(
            client,
            results=lambda day: demo.stage_results(platform, day),
            revive=trouble.look,
            logs=cluster.home / "airflow" / "logs",
            notice=progress.at_work,
            quiet_s=run.QUIET_S,
        )
        for day in days:
            progress.begin(day)
            trouble.begin(day)
            began = time.monotonic()
            runner.run(day)
            took.append(round(time.monotonic() - began, 1))
            trouble.finish()
            progress.finish(day, demo.day_row(platform, day))
    return took


@contextmanager
def _start_undisturbed(home: Path, scenario: Scenario) -> Iterator[subprocess.Popen[bytes]]:
    """The same days without Airflow, in a process that does not outlive the block."""
    home.mkdir(parents=True, exist_ok=True)
    # Its mails go nowhere: the port is nobody's.
    (home / "bidwright.toml").write_text(scenario.toml() + "smtp_port = 9\n")
    env = airflow.surroundings(without=("BIDWRIGHT_", "AWS_")) | {"BIDWRIGHT_HOME": str(home)}
    if version := os.environ.get(CODE_VERSION):
        env[CODE_VERSION] = version  # a model's digest holds it
    days = json.dumps([day.isoformat() for day in scenario.days])
    first = (scenario.history_first or scenario.history_last).isoformat()
    argv = [sys.executable, "-c", _UNDISTURBED, first, scenario.history_last.isoformat(), days]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)  # noqa: S603  (our interpreter)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _undisturbed(home: Path, scenario: Scenario, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    if process.wait():
        raise PermanentError("the undisturbed run failed", next=f"read {home / 'log'}")
    for name in [name for name in os.environ if name.startswith(("BIDWRIGHT_", "AWS_"))]:
        del os.environ[name]
    from ml.core.clock import SystemClock

    platform = Platform(load_settings(home=home), SystemClock())
    try:
        return effects.effects(platform, scenario.days)
    finally:
        platform.db.close()


def _digests(left: dict[str, Any]) -> int:
    """How many digests were compared."""
    per_day = sum(len(found) for name in ("landed", "published") for found in left[name].values())
    return per_day + len(left["learned"]) + len(left["champions"])


def tell(home: Path, *, days: int, seed: int, env: Path, market: str, as_json: bool) -> int:
    """The command; exit code 1 where a day was skipped, doubled or different."""
    found = campaign(home, days=days, seed=seed, env=env, market=MARKETS[market])
    bad = [*found["skipped"], *found["doubled"], *found["different"]]
    if as_json:
        sys.stdout.write(json.dumps(found | {"at": datetime.now().astimezone().isoformat(timespec="seconds")}) + "\n")
    else:
        screen.say(
            f"{days} market days, {found['kills']} schedulers killed ({found['kills_of']}): "
            f"{len(found['skipped'])} skipped, {len(found['doubled'])} doubled, {len(found['different'])} different, "
            f"{found['digests_compared']} digests compared, {found['champions']} champions made, {found['seconds']} s"
        )
        for line in bad:
            screen.say(f"  {line}")
    return 1 if bad else 0
