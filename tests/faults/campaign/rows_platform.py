"""Rows about the platform as a whole: Airflow's parts killed while market days go through, and a backup restored."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.bid_service_world import MARKET, crown
from benchmarks.common import ROOT
from local.cluster import stores
from local.cluster.topology import CODE_VERSION
from ml.core.clock import SystemClock
from ml.core.code_version import commit_of_tree
from ml.core.errors import UsageError
from ml.ledger import champion, versions
from ml.ledger.database import Database
from ml.platform import Platform
from ml.promotion.bundle import read_bundle
from tests.faults.campaign import poisoned_cluster
from tests.faults.campaign.core import Ask, Row, Tally, Trial
from tests.faults.campaign.stand import no_postgres

_A_DAY = 4
"""Kills on each day, all of the parts, if the day lasts as long; or doses of a toxic."""
_WRONG = ("skipped", "doubled", "different")
_AT_ONCE = 4
"""Days in one cluster; a day takes some four minutes, and a row that is to end does so between two clusters."""


def airflow_killed(ask: Ask, tally: Tally) -> None:
    """R26: market days through clusters of `make cluster`; on each, Airflow's parts are killed one after the other while it works.

    The last cluster's days are those of the demo's market, in which candidates pass their gates, champions move and bid.
    """
    for begun in range(0, ask.repeats, _AT_ONCE):
        tally.heed()
        _days_with_kills("kills", min(_AT_ONCE, ask.repeats - begun), tally)
    tally.heed()
    _days_with_kills("champions", _AT_ONCE, tally)


def _days_with_kills(market: str, days: int, tally: Tally) -> None:
    found = _through_a_cluster(market, days, _A_DAY)
    where = ", in a market with champions" if market == "champions" else ""
    for kill in found["each"]:
        with tally.trial(f"kill -9 of {kill['part']}{where}", over=True) as trial:
            trial.proof(
                "its processes ended by SIGKILL while tasks of the day were running", kill["pids"] and kill["at_work"]
            )
            _expect_whole(kill["day"], found, trial)
    _expect_all("kills", found, tally)
    if market == "champions":
        with tally.trial("a champion is made, and another takes its place", over=True) as trial:
            trial.proof("days went through with kills", found["kills"] >= days)
            trial.expect(f"{found['champions']} champions were made", found["champions"] > 1)
        tally.totals["champions made and moved"] += found["champions"]


def airflow_poisoned(ask: Ask, tally: Tally) -> None:
    """Of R10: market days through clusters whose workers ask Airflow's API through the proxy, a toxic on each day."""
    for _ in range(math.ceil(ask.repeats / _A_DAY)):
        tally.heed()
        found = _through_a_cluster("network", len(poisoned_cluster.TOXICS), _A_DAY)
        for dose in found["each"]:
            with tally.trial(f"Airflow's API: {dose['kind']}", over=True) as trial:
                trial.proof(
                    f"the proxy did it: {dose['kind']}, while tasks of the day were running",
                    dose["befell"] and dose["at_work"],
                )
                _expect_whole(dose["day"], found, trial)
        _expect_all("toxics", found, tally)


def _through_a_cluster(what: str, days: int, a_day: int) -> dict[str, Any]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BIDWRIGHT_", "AIRFLOW", "AWS_", "PYTHONPATH"))
    }
    environment[CODE_VERSION] = commit_of_tree()
    # Beside our own folder, which nobody else may enter: PostgreSQL runs as another user.
    with tempfile.TemporaryDirectory(prefix="bidwright-cluster-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        command = [sys.executable, "-m", "tests.faults.campaign.cluster_child", folder, what, str(days), str(a_day)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(
            done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _expect_whole(day: str, found: Mapping[str, Any], trial: Trial) -> None:
    wrong = [what for name in _WRONG for what in found[name] if day in str(what)]
    trial.expect(f"{day}: {wrong}", not wrong)


def _expect_all(what: str, found: Mapping[str, Any], tally: Tally) -> None:
    with tally.trial("all days together", over=True) as trial:
        trial.proof(f"days went through with {what}", len({one["day"] for one in found["each"]}) == found["days"])
        for name in _WRONG:
            trial.expect(f"{name}: {found[name]}", not found[name])
    tally.totals["market days"] += found["days"]
    tally.notes.append(f"seed of the moments: {found['seed']}")
    tally.totals["digests compared with an undisturbed run"] += found["digests_compared"]


def restored(ask: Ask, tally: Tally) -> None:
    """R27: a backup of the world's ledger and bundles is restored into an empty cluster."""
    from ml.backup.make import make
    from ml.backup.restore import restore
    from ml.lake.local import LocalBlobs

    stand, world = ask.stand, ask.stand.world
    if champion.current(world.platform.db, MARKET) is None:
        crown(world.platform, world.digests["first"], world.platform.clock.now())
    for number in range(ask.repeats):
        with tally.trial("backup, empty cluster, restore") as trial:
            folder = ask.folder / str(number)
            home = folder / "home"
            home.mkdir(parents=True)
            place = LocalBlobs(folder / "backup")
            taken = make(world.platform, place)
            name = f"restored_{number}"
            stand.postgres.execute("CREATE DATABASE {}", name)
            with closing(Database.open(stand.postgres.dsn(name))) as direct:
                direct.migrate()
            settings = world.platform.settings.model_copy(
                update={"home": home, "database_url": stand.postgres.dsn(name)}
            )
            empty = replace(Platform(settings, SystemClock()))
            trial.proof(
                "the other cluster had no champion and no bundle",
                champion.current(empty.db, MARKET) is None and not empty.blobs.list(""),
            )
            restore(empty, place, digest=taken["digest"])
            ours, theirs = champion.current(world.platform.db, MARKET), champion.current(empty.db, MARKET)
            trial.expect(f"the champion is {theirs} and not {ours}", ours == theirs and ours is not None)
            for version in versions.newest(empty.db, MARKET, 99):
                read_bundle(empty.blobs, version.digest, empty.keys)
            trial.expect("versions are missing", len(versions.newest(empty.db, MARKET, 99)) == len(world.digests))
            empty.db.close()


def no_cluster() -> str:
    """What is missing for the cluster; empty if nothing is."""
    try:
        stores.find_programs()
    except UsageError as error:
        return str(error)
    commit = commit_of_tree()
    if not commit or commit.endswith("+"):
        # The gate code_version stops such models in production, and lets them pass in the undisturbed run beside it.
        return "this tree has changes that are in no commit" if commit else "no commit of this tree is known"
    return no_postgres()


ROWS = {
    "R26": Row(
        "Parts of Airflow are killed while a market day goes through",
        "kill -9 of a scheduler, the api-server, the dag-processor and the triggerer one after the other on each day, with everything that they started",
        "no day is skipped, none doubled, and every digest is that of an undisturbed run",
        "20 each",
        airflow_killed,
        short=0,
        full=20,
        needs=no_cluster,
    ),
    "R27": Row(
        "The registry is restored from a backup",
        "a backup is restored into an empty database and an empty folder",
        "the same champion, and every bundle verifies",
        "1 drill a release",
        restored,
        short=1,
        full=5,
        needs=no_postgres,
    ),
}
