"""Rows about processes: a trainer that is killed or starved, forks after training, clocks that are wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.bid_service_world import Service
from benchmarks.common import ROOT
from ml.serving.event_log import OPEN, SEALED, events_folder
from ml.serving.event_log_frames import decode_event, scan
from tests.faults.campaign.asking import Callers
from tests.faults.campaign.core import Ask, Row, Tally, Trial
from tests.faults.campaign.rows_existing import tests
from tests.faults.campaign.stand import Stand, no_postgres

CHILD = "tests.faults.campaign.process_child"
HUNG_S = 60.0
STARVED_BYTES = 900_000_000
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), Path("/usr/lib/faketime/libfaketimeMT.so.1"))


def child(*arguments: object, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """`process_child` in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BIDWRIGHT_")}
    return subprocess.Popen(
        [sys.executable, "-m", CHILD, *map(str, arguments)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=inherited | {"OMP_NUM_THREADS": "1"} | (env or {}),
    )  # fmt: skip


def trainer(ask: Ask, tally: Tally) -> None:
    """R9."""
    market = ask.folder / "market"
    done = child("market", market).communicate()[0]
    day = done.split()[-1]
    whole, began = _copy(market), time.monotonic()
    expected = child("train", whole, day, 0).communicate()[0].strip()
    lasts = time.monotonic() - began
    for number in range(ask.repeats):
        for kind in ("SIGKILL in the middle", "RLIMIT_AS"):
            with tally.trial(kind) as trial:
                home = _copy(market)
                after = lasts * (0.2 + 0.75 * ((number * 0.618) % 1.0))
                _spoil(kind, home, day, after, trial)
                again = child("train", home, day, 0)
                digest, told = again.communicate()
                trial.expect(f"the rerun ended with {told[-150:]}", again.returncode == 0)
                trial.expect("the rerun made another bundle", digest.strip() == expected != "")
                trial.expect("there is not one version", _versions(home) == [json.loads(expected)["digest"]])
                shutil.rmtree(home)


def _spoil(kind: str, home: Path, day: str, after: float, trial: Trial) -> None:
    process = child("train", home, day, STARVED_BYTES if kind == "RLIMIT_AS" else 0)
    if kind != "RLIMIT_AS":
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.kill()
    told = process.communicate()[1]
    ended = process.returncode
    if kind == "RLIMIT_AS":
        starved = any(word in told for word in ("MemoryError", "memory", "allocate", "bad_alloc")) or ended < 0
        trial.proof("the training ended for want of memory", ended != 0 and starved)
    else:
        trial.proof("the training ended by SIGKILL", ended == -signal.SIGKILL)


def _copy(market: Path) -> Path:
    home = market.parent / f"home{time.monotonic_ns()}"
    shutil.copytree(market, home)
    return home


def _versions(home: Path) -> list[str]:
    from contextlib import closing

    from ml.core.settings import load_settings
    from ml.ledger import versions
    from ml.ledger.database import Database

    settings = load_settings(home=home, source="simulator")
    with closing(Database.open(settings.database)) as db:
        return [one.digest for one in versions.newest(db, settings.market_name, 9)]


def forks(ask: Ask, tally: Tally) -> None:
    """R28."""
    for kind in ("predict", "train"):
        for _ in range(ask.repeats):
            with tally.trial(f"{kind} in a fork of a process that trained") as trial:
                process = child("fork", kind, env={"OMP_NUM_THREADS": "2"})
                try:
                    told, error = process.communicate(timeout=HUNG_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    told, error = process.communicate()
                    error = f"it hangs: {error}"
                trial.proof("the parent trained with threads and forked", "forked" in told)
                trial.expect(f"the fork ended with {error.strip()[-150:]}", "child ended 0" in told)


INSTANTS = {
    "leap day": datetime(2028, 2, 29, 1, 30, tzinfo=UTC),
    "clocks go forward in the partner's zone": datetime(2027, 3, 28, 0, 59, 55, tzinfo=UTC),
    "clocks go back in the partner's zone": datetime(2027, 10, 31, 0, 59, 55, tzinfo=UTC),
    "year end": datetime(2027, 12, 31, 23, 59, 57, tzinfo=UTC),
}


def clocks(ask: Ask, tally: Tally) -> None:
    """R14."""
    expected = child("ingest", ask.folder / "now").communicate()[0].splitlines()[-1:]
    for kind, at in INSTANTS.items():
        for number in range(ask.repeats):
            with tally.trial(f"whole process at another time: {kind}") as trial:
                process = child(
                    "ingest",
                    ask.folder / f"{kind}{number}",
                    env=_faked(f"@{at.timestamp():.0f}") | {"FAKETIME_FMT": "%s"},
                )
                told, error = process.communicate()
                lines = told.splitlines()
                trial.expect(f"it ended with {error[-150:]}", process.returncode == 0)
                seen = datetime.fromisoformat(lines[0]) if lines else None
                trial.proof(
                    "the process saw the other time", seen is not None and abs(seen - at) < timedelta(minutes=5)
                )
                trial.expect("the same day landed otherwise", lines[-1:] == expected and expected)
    for jump in ("+3600", "-3600"):
        for _ in range(ask.repeats):
            with tally.trial(f"the bid service's clock jumps by {jump} s") as trial:
                _jump(ask, jump, trial, tally)
    tests(
        "faults/test_rollout_machine.py::test_the_invariants_hold_whatever_happens_in_whatever_order",
        "promotion/test_rollout.py::test_time_that_nobody_watched_is_no_time_of_a_step",
        "features/on_redis/test_store.py::test_a_row_of_the_future_does_not_reach_redis",
        proof="the clock that was handed in jumped, or the row was dated in the future",
    )(ask, tally)


def _faked(spec: str) -> dict[str, str]:
    return {
        "LD_PRELOAD": str(FAKETIME), "FAKETIME": spec, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "TZ": "Europe/Berlin",
        "FAKETIME_NO_CACHE": "1",
    }  # fmt: skip


def _jump(ask: Ask, jump: str, trial: Trial, tally: Tally) -> None:
    stand, file = ask.stand, ask.folder / "clock"
    file.write_text("+0\n")
    faked = {k: v for k, v in _faked("").items() if k != "FAKETIME"} | {"FAKETIME_TIMESTAMP_FILE": str(file)}
    settings = {**stand.world_settings, **faked}
    with stand.world.service("first", environment=settings) as service, Callers(service, count=2) as callers:
        callers.more(100)
        # On a machine with too little processor some answers come too late whatever the clock says.
        usual = _share(callers.steps())
        before = _told_time(stand, service)
        file.write_text(f"{jump}\n")
        jumped = time.monotonic()
        callers.more(100)
        steps = callers.steps(jumped)
        moved = _told_time(stand, service) - before
        trial.proof("the decisions in the event log bear the other time", abs(moved - int(jump)) < 300)
        trial.expect(f"requests failed: {callers.statuses}", not callers.errors())
        trial.expect(
            f"fewer were answered by the model: {steps} after {usual:.0%}",
            _share(steps) >= 0.9 * usual > 0.45,
        )
        tally.worst("answers after more than 100 ms", callers.late())


def _share(steps: Counter[str]) -> float:
    """Of the answers, how many the model gave."""
    return steps["model"] / max(1, steps.total())


def _told_time(stand: Stand, service: Service) -> float:
    """Seconds since 1970 by the clock of the service: the newest decision in its event log."""
    service.drained()
    platform = stand.world.platform
    segments = [
        file
        for file in events_folder(platform.settings.home, platform.market).iterdir()
        if file.suffix in {OPEN, SEALED}
    ]
    # The times of files are the kernel's, which nobody fakes.
    for file in sorted(segments, key=lambda one: one.stat().st_mtime_ns, reverse=True):
        if records := scan(file.read_bytes()).records:
            return decode_event(records[-1][1]).at_us / 1e6
    return 0.0


def no_faketime() -> str:
    """What is missing; empty if nothing is."""
    return no_postgres() or ("" if FAKETIME.exists() else "no libfaketime here (make debian)")


ROWS = {
    "R9": Row(
        "The trainer is killed, or has too little memory",
        "SIGKILL after a part of the usual time; RLIMIT_AS",
        "the same training again gives the same bundle, and one version",
        "50",
        trainer,
        short=0,
        full=25,
    ),
    "R14": Row(
        "Clocks that are wrong, and days that are odd",
        "libfaketime for whole processes: 29 February, daylight saving time in Berlin, year end; a jump of an hour in the running bid service",
        "the market day is its key whatever the clock says; deadlines go on; no canary is decided by a jump",
        "200",
        clocks,
        short=1,
        full=30,
        needs=no_faketime,
    ),
    "R28": Row(
        "A fork after training",
        "a process trains with two threads, forks, and the child predicts or trains",
        "the child ends within a minute",
        "50",
        forks,
        short=1,
        full=25,
    ),
}
