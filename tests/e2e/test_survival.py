"""`kill -9` of the scheduler and of a running task: the demo completes, with the same results and no effect doubled."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import psutil

from local.ports import free_port
from ml.core.clock import SystemClock
from ml.core.settings import load_settings
from ml.platform import Platform

ROOT = Path(__file__).parents[2]

DAYS = [date(2026, 3, 5), date(2026, 3, 6)]
"""The days after those that the demo lived through."""

UNDISTURBED = """
import json, sys
from datetime import date
from ml import pipeline
from ml.platform import Platform
for day in json.loads(sys.argv[1]):
    pipeline.run_day(Platform.from_environment(), date.fromisoformat(day))
"""


def effects(platform: Platform) -> dict[str, Any]:
    """Everything that the days left behind, without the instants at which it happened."""
    from ml.ledger import champion, decisions, outbox, partitions, publications, versions

    db, market = platform.db, platform.market
    lake = Path(platform.settings.lake)
    return {
        "partitions": {str(day): partitions.digests(db, market, day) for day in DAYS},
        "lake": {
            str(file.relative_to(lake)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in lake.rglob("*.parquet")
        },
        "versions": [v.digest for v in versions.newest(db, market, 99)],
        "decisions": [(d.id, d.day, d.candidate, d.verdict, d.generation) for d in decisions.latest(db, market, 99)],
        "champions": [(c.generation, c.digest, c.since, c.decision_id) for c in champion.history(db, market)],
        "published": {
            str(day): [(p.partner, p.version, p.digest) for p in publications.for_day(db, market, day)] for day in DAYS
        },
        "mails": sorted(mail.subject for mail in [*outbox.sent(db), *outbox.pending(db)]),
    }


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 300
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)
    return found


def running_task(scheduler: int) -> psutil.Process | None:
    """The process of a task that runs now: the child of one of the scheduler's workers."""
    try:
        workers = psutil.Process(scheduler).children()
        tasks = [task for worker in workers for task in worker.children()]
        return next((task for task in tasks if task.status() != psutil.STATUS_ZOMBIE), None)
    except psutil.NoSuchProcess:
        return None


def test_killed_in_the_middle_the_demo_completes_as_if_it_had_not_been(
    demo: Any, continued: Callable[[str], Path]
) -> None:
    stack = demo.stack
    control = continued(demo.stack.settings_file.read_text().replace("smtp_port = ", f"smtp_port = {free_port()} # "))
    with demo.client() as client, demo.command("demo", "--days", "5") as command:

        def at_work(day: date, dag_id: str) -> bool:
            return any(run.dag_id == dag_id and run.state == "running" for run in client.runs(day.isoformat()))

        until(lambda: at_work(DAYS[0], "materialize_features"))
        scheduler = stack.supervisor.running()["scheduler"].pid
        os.kill(scheduler, 9)

        until(lambda: at_work(DAYS[1], "train_bid_model"))
        revived = stack.supervisor.running()["scheduler"].pid
        assert revived != scheduler, "the scheduler was not killed"
        task = until(lambda: running_task(revived))
        os.kill(task.pid, 9)

        said, _ = command.communicate(timeout=900)
        assert command.returncode == 0, said
        tries = [
            found["try_number"]
            for run in client.runs(DAYS[1].isoformat())
            for found in client.get(f"/dags/{run.dag_id}/dagRuns/{run.run_id.replace('+', '%2B')}/taskInstances")[
                "task_instances"
            ]
        ]
        assert max(tries) == 2, "no task was killed"

    days = json.dumps([day.isoformat() for day in DAYS])
    subprocess.run(
        [sys.executable, "-c", UNDISTURBED, days],
        cwd=ROOT,
        env=demo.env() | {"BIDWRIGHT_HOME": str(control)},
        check=True,
        capture_output=True,
    )
    expected = effects(Platform(load_settings(home=control), SystemClock()))
    disturbed = effects(demo.platform())
    for kind, value in expected.items():
        assert disturbed[kind] == value, kind
    assert len(disturbed["champions"]) >= 1
