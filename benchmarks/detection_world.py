"""The markets of `benchmarks.detection`: a base per seed, and what becomes of copies of it.

The base is history in bulk up to the onset, with a champion by the product's own training; the house policy bids all the time,
so that no bid of ours moves between markets that are compared. A copy shares the base's files that are never written again.
"""

from __future__ import annotations

import gc
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks.detection_truth import QUIET

if TYPE_CHECKING:
    from benchmarks.detection_rows import Before

HISTORY = 150
"""Days before the quiet year: enough for every window and its past."""

QUIET_DAYS = 365
SETTLING_DAYS = 3
"""Days judged before those that count, so that what stands open on any day is known."""

BARE, WHOLE, LANDED, DONE = "bare", "whole", "landed", "done"
QUIET_PARTS = 4
YEAR = "year-"
"""Jobs of this name and a number judge the parts of the quiet year."""

BASE, WATCHED = "base", " watched "
"""The job that builds the base, and what stands between the name of a market and what was watched of it."""

_ONSETS = (370, 405, 440, 475)
"""Days of history before the onset, by seed: another part of the year each, with its weeks of the last year known."""

_NEVER_REWRITTEN = ("lake", "truth", "blobs")


@dataclass(frozen=True)
class Size:
    """How large the markets are and how long they are watched; the defaults are those of the campaign."""

    opportunities: int = 20_000
    hotels: int = 240
    history: int = HISTORY
    quiet_days: int = QUIET_DAYS
    days: int = 10
    peer_every: int = 7
    onset: int | None = None

    def onset_of(self, seed: int) -> int:
        """Days of history before the onset."""
        return _ONSETS[seed % len(_ONSETS)] if self.onset is None else self.onset


@dataclass(frozen=True)
class Watched:
    """One market, day by day.

    Attributes:
        days: the days judged.
        before: the incidents that stood open before the first of them.
        open: per day the incidents that stood open after it was judged, severity by cause.
        named: per day the causes that its diagnosis names, the likeliest first.
        instants: per cause the first instant at which a detector that goes by the hour noticed it.
        profit_micros: per day what the bids were to earn; empty where nobody asks.
        peer: per day the largest share of drifted columns that stock Evidently finds, None where it was not asked.
        seconds: wall time.
    """

    days: Sequence[str]
    before: Mapping[str, str]
    open: Sequence[Mapping[str, str]]
    named: Sequence[Sequence[str]] = ()
    instants: Mapping[str, str] = field(default_factory=dict)
    profit_micros: Sequence[int] = ()
    peer: Sequence[float | None] = ()
    seconds: float = 0.0


def build_base(home: Path, seed: int, size: Size) -> None:
    """History up to the onset with a champion in `bare`; in `whole` the quiet year, with a champion for each part of it.

    What is there already is left as it is.
    """
    home.mkdir(parents=True, exist_ok=True)
    first = _first_day()
    onset = first + timedelta(days=size.onset_of(seed))
    if not (home / BARE).exists():
        with _appearing(home / BARE) as unfinished:
            platform, clock = _open(unfinished, seed, size)
            _import(platform, clock, first, onset - timedelta(days=1))
            _forget_searches(unfinished)
            if size.quiet_days and not (home / whole_of(size)).exists():
                fork(unfinished, home / whole_of(size))
            clock.day = onset - timedelta(days=SETTLING_DAYS + 1)
            crown(platform, clock.day)
    if size.quiet_days and not (home / whole_of(size) / DONE).exists():
        platform, clock = _open(home / whole_of(size), seed, size)
        _import(platform, clock, onset, first + timedelta(days=size.history + size.quiet_days - 1))
        for part in range(QUIET_PARTS):
            clock.day = quiet_days(part, size)[0] - timedelta(days=SETTLING_DAYS + 1)
            crown(platform, clock.day)
        (home / whole_of(size) / DONE).touch()


def watch_scenario(base: Path, home: Path, name: str, seed: int, size: Size, before: Before | None = None) -> Watched:
    """Days from the onset on: landed one by one, their features built; then judged one by one.

    To judge a day is to look at what was known by its end, so that it makes no difference that later ones are there.
    `before` keeps, from one scenario of a seed to the next, what was read of the days before the onset.
    """
    from benchmarks.detection_peer import Once, stock_drift
    from benchmarks.detection_truth import profits

    begin = time.perf_counter()
    onset = _first_day() + timedelta(days=size.onset_of(seed))
    happens = {} if name == QUIET else {"simulator_scenarios": (f"{name}@{onset.isoformat()}",)}
    days = [onset + timedelta(days=n) for n in range(size.days)]
    landed = base / f"{LANDED}-{size.days}" / name
    if not landed.exists():
        with _appearing(landed) as unfinished:
            fork(base / BARE, unfinished)
            _land(*_open(unfinished, seed, size, trains=False, **happens), days)
    fork(landed, home)
    platform, clock = _open(home, seed, size, trains=False, **happens)
    stood, opened, named = judge_days(platform, clock, days, before)
    asked, lake = size.peer_every > 0, Once(platform.lake)
    peer = [stock_drift(lake, day, seed=seed).share if asked else None for day in days]
    profit = profits(platform.source, days)
    taken = round(time.perf_counter() - begin, 1)
    return Watched([str(day) for day in days], stood, opened, named, _instants(platform, days), profit, peer, taken)


def watch_quiet(base: Path, home: Path, part: int, seed: int, size: Size) -> Watched:
    """One of the `QUIET_PARTS` of a year in which nothing but the season happens; stock Evidently is asked on some days."""
    from benchmarks.detection_peer import Once, stock_drift

    begin = time.perf_counter()
    fork(base / whole_of(size), home)
    platform, clock = _open(home, seed, size, trains=False)
    days = quiet_days(part, size)
    before, opened, named = judge_days(platform, clock, days)
    lake = Once(platform.lake)
    peer = [
        stock_drift(lake, day, seed=seed).share if size.peer_every and n % size.peer_every == 0 else None
        for n, day in enumerate(days)
    ]
    taken = round(time.perf_counter() - begin, 1)
    return Watched([str(day) for day in days], before, opened, named, {}, [], peer, taken)


def whole_of(size: Size) -> str:
    """The folder of a base in which its quiet year has landed."""
    return f"{WHOLE}-{size.quiet_days}"


def quiet_days(part: int, size: Size) -> list[date]:
    """The days of one part of the quiet year."""
    numbers = range(size.quiet_days * part // QUIET_PARTS, size.quiet_days * (part + 1) // QUIET_PARTS)
    return [_first_day() + timedelta(days=size.history + n) for n in numbers]


def judge_days(
    platform: Any, clock: Any, days: Sequence[date], before: Before | None = None
) -> tuple[dict[str, str], list[dict[str, str]], list[list[str]]]:
    """Judge these days in turn, after some before them: what stood open before, and per day what does and what is named."""
    from benchmarks.detection_rows import read_once

    opened, named = [], []
    with read_once(days[0] - timedelta(days=SETTLING_DAYS), days[-1], before):
        for age in range(SETTLING_DAYS, -len(days), -1):
            day = clock.day = days[0] - timedelta(days=age)
            opened.append(_judge(platform, day))
            named.append(_named(platform, day))
    return opened[SETTLING_DAYS - 1], opened[SETTLING_DAYS:], named[SETTLING_DAYS:]


def _land(platform: Any, clock: Any, days: Sequence[date]) -> None:
    from ml import pipeline
    from ml.features.materialize import materialize_history

    for day in days:
        clock.day = day
        pipeline.ingest(platform, day)
    materialize_history(
        platform.lake, platform.db, platform.settings, market=platform.market, first=days[0], last=days[-1], at=clock.now()
    )  # fmt: skip


def _forget_searches(home: Path) -> None:
    """Remove the truth of past searches, most of a market's size; what becomes known later needs the bookings alone."""
    from ml.market.simulator.truth import QUERIES

    for path in (home / "truth").rglob(QUERIES):
        path.unlink()


@contextmanager
def _appearing(home: Path) -> Iterator[Path]:
    """A folder to fill, which gets its name when it is whole."""
    unfinished = home.with_name(f".unfinished-{home.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    yield unfinished
    unfinished.rename(home)


def crown(platform: Any, day: date) -> None:
    """Train a candidate of the day by the product's own step, and make it the champion without asking the gates.

    What they say of it is another figure's matter; a market without a champion would be watched with half of the eyes shut.
    """
    from ml.core.verdict import Verdict
    from ml.ledger import champion, decisions
    from ml.models.candidate import STANDARD, build_candidate

    at = platform.clock.now()
    digest = build_candidate(platform, day, recipe=STANDARD).digest
    live = champion.current(platform.db, platform.market)
    if live is not None and live.digest == digest:
        return
    generation = live.generation if live else 0
    decision = decisions.Decision(
        platform.market, day, digest, live.digest if live else None, generation, Verdict.PASS, [], digest, None
    )
    decision_id = decisions.record(platform.db, decision, at)
    champion.move(
        platform.db, platform.market, digest=digest, expected_generation=generation, decision_id=decision_id, day=day, at=at
    )  # fmt: skip


def fork(base: Path, home: Path) -> None:
    """A copy of a working folder; what is never written again is linked, what nobody reads here is left out."""
    shutil.copytree(base, home, ignore=shutil.ignore_patterns("mlflow", "cache", *_NEVER_REWRITTEN))
    for name in _NEVER_REWRITTEN:
        if (base / name).exists():
            shutil.copytree(base / name, home / name, copy_function=_link)


def _link(source: str, target: str) -> str:
    Path(target).hardlink_to(source)
    return target


def _open(home: Path, seed: int, size: Size, *, trains: bool = True, **settings: Any) -> tuple[Any, Any]:
    from benchmarks.policy_regret import open_platform

    market = {"simulator_opportunities_per_day": size.opportunities, "simulator_hotels": size.hotels}
    return open_platform(home, seed, trains=trains, **market, **settings)


def _first_day() -> date:
    from ml.market.simulator.source import FIRST_DAY

    return FIRST_DAY


def _import(platform: Any, clock: Any, first: date, last: date) -> None:
    from ml import pipeline

    clock.day = last
    if first <= last:
        pipeline.import_history(platform, first, last)


def _judge(platform: Any, day: date) -> dict[str, str]:
    """Check the day as the platform does, and tell what stands open."""
    from functools import partial
    from unittest.mock import patch

    from ml import pipeline
    from ml.steps.watch import watch_day

    # Without Evidently's report, in which most of the time goes: no alarm rests on it.
    with patch("ml.steps.watch.watch_day", partial(watch_day, report=False)):
        pipeline.check_drift(platform, day)
    return _open_now(platform, day)


def _open_now(platform: Any, day: date) -> dict[str, str]:
    """Severity by cause of what stands open, but for what later days, landed already, have told."""
    from ml.ledger import incidents

    every = incidents.open_incidents(platform.db, platform.market)
    return {one.cause: one.severity for one in every if one.first_day <= day}


def _named(platform: Any, day: date) -> list[str]:
    """The causes that the day's report names, the likeliest first; none while reports have no diagnosis."""
    from ml.ledger import reports

    report = next((one for one in reports.latest(platform.db, platform.market, 3) if one.day == day), None)
    told = (report.numbers.get("diagnosis") or []) if report else []
    return [str(one["cause"]) for one in told]


def _instants(platform: Any, days: Sequence[date]) -> dict[str, str]:
    """By cause, the first instant at which a detector that goes by the hour noticed something on these days."""
    from ml.ledger import reports

    found: dict[str, str] = {}
    for day in days:
        report = reports.get(platform.db, platform.market, day)
        named = (report.numbers.get("diagnosis") or []) if report else []
        told = (report.numbers.get("watchers") or []) if report else []
        instants = [one["noticed_at"] for one in told if one["verdict"] == "FAIL" and one.get("noticed_at")]
        if named and instants:
            found.setdefault(f"drift:{named[0]['cause']}", min(instants))
    return found


def main(arguments: Sequence[str]) -> int:
    """A child: build a base, or watch some markets; a line for each with its name, `WATCHED`, and what it watched."""
    import pandas as pd

    from benchmarks.detection_rows import Before

    gc.set_threshold(100_000, 20, 20)  # frames by the thousand, and few cycles
    pd.options.mode.copy_on_write = True  # a tenth of the time went into copies that nobody writes to
    names, seed, base, told = arguments[0], int(arguments[1]), Path(arguments[2]), arguments[3]
    size = Size(**json.loads(told))
    before = Before(_first_day() + timedelta(days=size.onset_of(seed)))
    for what in names.split(",") if names != BASE else ():
        with TemporaryDirectory(prefix="watch-", dir=base) as folder:
            home = Path(folder) / "home"
            if what.startswith(YEAR):
                watched = watch_quiet(base, home, int(what.removeprefix(YEAR)), seed, size)
            else:
                watched = watch_scenario(base, home, what, seed, size, before)
        print(f"{what}{WATCHED}{json.dumps(watched.__dict__)}", flush=True)
    if names == BASE:
        build_base(base, seed, size)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
