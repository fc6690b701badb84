"""What happens to the bid service during a soak: promotions, kills, checks of a market day, collections; one line of JSON each.

Usage: python -m benchmarks.soak_hand HOME MARKET PID SECONDS EVERY DIGEST DIGEST FOLDER|DAY, or --prepare FOLDER. It ends, after a last collection, with the first line that it
is sent.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from benchmarks.bid_service_world import crown, open_platform
from benchmarks.common import ROOT
from ml.core.digests import Digest
from ml.serving.event_log import events_folder, events_memory
from ml.serving.event_log_lake import collect

PROMOTE_S = 60.0
COLLECT_S = 60.0
SAMPLE_S = 5.0
HISTORY_DAYS = 30


ESTABLISHED = "01"
"""A state of `/proc/net/tcp`."""


def opened(pid: int) -> tuple[int, Counter[str]]:
    """How many connections a process has, and what else it has open, without the segment of the event log, which comes and goes.

    Only what is open before and after the look at the states of connections counts, so that one that comes or goes meanwhile is neither. Kinds
    are names without their folder, in which what differs from one file of a kind to the next is a star; sockets have their state of `/proc/net/tcp`.
    """
    before = _handles(pid)
    states = {
        row[9]: row[3]
        for table in ("tcp", "tcp6")
        for row in map(str.split, Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:])
    }
    connections, kinds = 0, Counter[str]()
    for _, name in before & _handles(pid):
        inode = re.fullmatch(r"socket:\[(\d+)\]", name)
        if inode is None:
            kinds[re.sub(r"[0-9a-z_]{8,}(?=\.)|\d+", "*", name)] += not name.endswith(".open")
        elif states.get(inode[1]) == ESTABLISHED:
            connections += 1
        else:
            kinds[f"socket {states.get(inode[1], 'of no state')}"] += 1
    return connections, +kinds


def _handles(pid: int) -> set[tuple[str, str]]:
    """Each with the name of what it is open on."""
    found = set()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found.add((handle.name, handle.readlink().name))
    return found


class Hand:
    """Does what is due, in one thread.

    Args:
        home, market: of the service.
        parent: process id of the service.
        every: seconds between two kills, and between two checks.
        digests: bundles that become champion in turn.
        checked: folder and day of the market that is checked.
    """

    def __init__(self, home: Path, market: str, parent: int, every: float, digests: list[Digest], checked: str) -> None:
        self._platform = open_platform(home, market)
        self._parent, self._digests = psutil.Process(parent), digests
        self._folder, self._day = checked.split("|")
        self._begin = time.monotonic()
        self._workers = self._parent.children()
        self._oldest = min(self._workers, key=lambda child: child.create_time())
        self._check: subprocess.Popen[bytes] | None = None
        self._turns = self.events = self.lost = 0
        self._opened: Counter[str] = Counter()
        self._due: list[tuple[float, float, Callable[[], None]]] = [
            (SAMPLE_S, SAMPLE_S, self._sample),
            (PROMOTE_S / 2, PROMOTE_S, self._promote),
            (COLLECT_S, COLLECT_S, self._collect),
            (every / 2, every, self._kill),
            (every * 0.75, every, self._check_drift),
        ]

    def run(self, seconds: float) -> None:
        """Until told to end; kills and promotions stop a little before the load does."""
        while not select.select([sys.stdin], [], [], 0.5)[0]:
            now = time.monotonic() - self._begin
            for number, (due, every, work) in enumerate(self._due):
                if now >= due:
                    self._due[number] = (due + every, every, work)
                    if now < seconds - 5.0:
                        work()
            self._checked()
        if self._check is not None:
            self._check.wait()
            self._checked()
        self._parent.send_signal(signal.SIGTERM)
        psutil.wait_procs([self._parent], timeout=60)
        self._collect()
        self._tell("end", events=self.events, lost=self.lost)

    def _tell(self, what: str, **more: object) -> None:
        line = json.dumps({"what": what, "at": round(time.monotonic() - self._begin, 1), **more}) + "\n"
        sys.stdout.write(line)
        sys.stdout.flush()
        if what != "sample":
            sys.stderr.write(line)

    def _sample(self) -> None:
        now = self._parent.children()
        for gone in set(self._workers) - set(now):
            self._tell("died", pid=gone.pid)
        self._workers = now
        if self._oldest in now:
            with suppress(psutil.NoSuchProcess, FileNotFoundError):
                connections, kinds = opened(self._oldest.pid)
                megabytes, parent = (round(one.memory_info().rss / 2**20, 3) for one in (self._oldest, self._parent))
                files, parents = (sum(found.values()) for found in (kinds, opened(self._parent.pid)[1]))
                self._tell(
                    "sample", mb=megabytes, parent_mb=parent, files=files, parent_files=parents, connections=connections
                )
                self._tell_opened(kinds)

    def _tell_opened(self, now: Counter[str]) -> None:
        """What it has open otherwise than before, so that a leak has a name."""
        if now != self._opened:
            self._tell("opened", more=now - self._opened, less=self._opened - now)
            self._opened = now

    def _promote(self) -> None:
        self._turns += 1
        crown(self._platform, self._digests[self._turns % 2], datetime.now(UTC))
        self._tell("promoted")

    def _kill(self) -> None:
        """Kill the other worker: not the oldest, whose memory and files are those that are told."""
        others = [child for child in self._parent.children() if child.pid != self._oldest.pid]
        if others:
            others[-1].kill()
            self._workers = [child for child in self._workers if child != others[-1]]
            self._tell("killed")

    def _collect(self) -> None:
        platform = self._platform
        folder = events_folder(platform.settings.home, platform.market)
        memory = events_memory(platform.settings, platform.market)
        found = collect(folder, platform.lake, keep_days=0, at=datetime.now(UTC), memory=memory)
        if found is not None:
            self.events += found.events
            self.lost += found.lost
        # What was counted need not fill the disk.
        shutil.rmtree(folder / "collected", ignore_errors=True)

    def _check_drift(self) -> None:
        if self._check is None:
            command = [
                sys.executable,
                "-m",
                "ml.cli",
                "check-drift",
                "--day",
                self._day,
                "--source",
                "simulator",
                "--json",
            ]
            environment = {**os.environ, "BIDWRIGHT_HOME": self._folder, "OMP_NUM_THREADS": "1"}
            self._check = subprocess.Popen(
                ["nice", "-n", "10", *command],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def _checked(self) -> None:
        if self._check is not None and self._check.poll() is not None:
            self._tell("checked", code=self._check.returncode)
            self._check = None


def prepare(home: Path) -> str:
    """A small simulated market with its features; the last day."""
    from ml import pipeline
    from ml.core.clock import SystemClock
    from ml.core.settings import load_settings
    from ml.platform import Platform

    home.mkdir(parents=True)
    (home / "bidwright.toml").write_text('source = "simulator"\nsimulator_opportunities_per_day = 2000\n')
    platform = Platform(load_settings(home=home), SystemClock())
    platform.db.migrate()
    first = platform.source.first_day()
    if first is None:
        raise AssertionError("the simulator has a first day")
    last = first + timedelta(days=HISTORY_DAYS)
    pipeline.import_history(platform, first, last)
    return last.isoformat()


if __name__ == "__main__":
    if sys.argv[1] == "--prepare":
        sys.stdout.write(prepare(Path(sys.argv[2])) + "\n")
    else:
        given = sys.argv[1:]
        hand = Hand(
            Path(given[0]), given[1], int(given[2]), float(given[4]), [Digest(given[5]), Digest(given[6])], given[7]
        )
        hand.run(float(given[3]))
