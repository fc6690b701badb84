"""Races of two processes for one market: promotions, rollouts and rollbacks at the same moment, a thousand times.

Each race has a market of its own in one ledger. Both processes begin behind a barrier; one of them may come too late and be
told so by `StaleGeneration`, or be refused because its candidate was barred. Afterwards every market is held against the
invariants. Give `--database` the URL of an empty PostgreSQL database to race there; else it is SQLite.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.common import Figure, memory_folder, run, stopwatch
from benchmarks.promotion_world import OPERATIONS, SECOND, THIRD, invariants, prepare
from ml.core.errors import BidwrightError
from ml.ledger import champion
from ml.ledger.database import Database

RACES = (
    ("promote", "promote"),
    ("roll_out", "roll_out"),
    ("take_back", "take_back"),
    ("promote", "take_back"),
    ("roll_out", "take_back"),
    ("stop_canary", "take_back"),
    ("roll_out", "promote"),
    ("stop_canary", "promote"),
    ("stop_canary", "roll_out"),
)
TOLD = frozenset({"done", "StaleGeneration", "PermanentError", "StoreUnavailable"})
"""How a racer may end."""


def races(url: str, count: int) -> tuple[Counter[str], list[str]]:
    """Run so many races in a migrated ledger: how the racers ended, and what is wrong with the ledger afterwards."""
    with closing(Database.open(url)) as db:
        names = [f"race-{number}" for number in range(count)]
        for name in names:
            prepare(db, name)
        ends = Counter[str]()
        context = multiprocessing.get_context("fork")
        barrier, told = context.Barrier(2), context.Queue()
        racers = [
            context.Process(target=_racer, args=(url, side, count, barrier, told), daemon=True) for side in (0, 1)
        ]
        for racer in racers:
            racer.start()
        for _ in range(2 * count):
            ends[told.get(timeout=900)] += 1
        for racer in racers:
            racer.join(timeout=60)
        wrong = [sentence for name in names for sentence in invariants(db, name)]
        for number, name in enumerate(names):
            pair, live = RACES[number % len(RACES)], champion.current(db, name)
            if live is None or (live.digest == SECOND and live.generation != 2):
                wrong.append(f"{name}: the alias stands where nobody put it")
            elif "take_back" not in pair and "stop_canary" not in pair and live.digest != THIRD:
                wrong.append(f"{name}: nobody won")
    return ends, wrong


def _racer(url: str, side: int, count: int, barrier: Barrier, told: multiprocessing.Queue[str]) -> None:
    with closing(Database.open(url)) as db:
        for number in range(count):
            operation = OPERATIONS[RACES[number % len(RACES)][side]]
            barrier.wait(timeout=600)
            try:
                operation(db, f"race-{number}")
            except BidwrightError as error:
                told.put(type(error).__name__)
            except Exception as error:  # noqa: BLE001  (told in the result)
                told.put(f"{type(error).__name__}: {error}")
            else:
                told.put("done")


def measure(given: argparse.Namespace) -> Mapping[str, Figure]:
    """The races, and what was wrong after them."""
    with TemporaryDirectory(prefix="bidwright-races-", dir=memory_folder()) as folder:
        url = given.database or f"sqlite:///{Path(folder) / 'races.db'}"
        with closing(Database.open(url)) as db:
            db.migrate()
        with stopwatch() as seconds:
            ends, wrong = races(url, given.races)
    for sentence in wrong[:20]:
        sys.stderr.write(f"{sentence}\n")
    sys.stderr.write(f"{dict(ends)}\n")
    untold = sum(count for end, count in ends.items() if end not in TOLD)
    return {
        "races": Figure(given.races, "count", runs=tuple(float(ends[end]) for end in sorted(TOLD))),
        "races that broke an invariant": Figure(len({line.split(":")[0] for line in wrong}), "count", limit=0.0),
        "racers that ended without a reason": Figure(untold, "count", limit=0.0),
        "time of all": Figure(seconds[0], "s"),
    }


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--races", type=int, default=1_000, help="how many")
    parser.add_argument("--database", default="", help="URL of an empty PostgreSQL database; else SQLite")


if __name__ == "__main__":
    sys.exit(run("promotion_faults", measure, arguments=_arguments))
