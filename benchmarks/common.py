"""What every benchmark prints: one line of JSON, or a table for people.

{"benchmark": NAME, "machine": {..}, "figures": {FIGURE: {"ours": x, "peer": y, "limit": z, "unit": u, "runs": [..]}}}
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HOTEL_BOOKINGS = ROOT.parent / "shared" / "data" / "hotel_booking_demand"
"""Where the hotel booking demand data lie beside a clone."""


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        ours: what we reach.
        peer: what the peer reaches on the same work in the same run; None where there is none to compare with.
        limit: what ours is to reach, or not to exceed; None where nothing was promised.
        unit: its unit.
        runs: every measurement of ours behind it.
    """

    ours: float
    unit: str
    peer: float | None = None
    limit: float | None = None
    runs: tuple[float, ...] = ()


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages * page_bytes / 2**30, 1),
        "python": platform.python_version(),
    }


def as_line(name: str, figures: Mapping[str, Figure]) -> str:
    """The line of JSON."""
    found = {"benchmark": name, "machine": machine(), "figures": {key: asdict(f) for key, f in figures.items()}}
    return json.dumps(found, allow_nan=False)


def run(
    name: str,
    measure: Callable[[argparse.Namespace], Mapping[str, Figure]],
    *,
    arguments: Callable[[argparse.ArgumentParser], None] | None = None,
    argv: Sequence[str] | None = None,
) -> int:
    """The command line of a benchmark: measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    if arguments is not None:
        arguments(parser)
    given = parser.parse_args(argv)
    try:
        figures = measure(given)
    except MissingData as error:
        sys.stderr.write(f"{error}\n")
        return 1
    print(as_line(name, figures) if given.json else as_table(name, figures))
    return 0


class MissingData(Exception):
    """The data that a benchmark measures on are not there."""


def as_table(name: str, figures: Mapping[str, Figure]) -> str:
    """The figures for people."""
    head = f"{name}\n{'figure':<28}{'ours':>12}{'peer':>12}{'limit':>12}  unit"
    lines = [f"{key:<28}{_cell(f.ours)}{_cell(f.peer)}{_cell(f.limit)}  {f.unit}" for key, f in figures.items()]
    return "\n".join([head, *lines])


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """A list that holds the seconds of wall time the block took, once it is over."""
    seconds: list[float] = []
    begin = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - begin)


def memory_folder() -> Path | None:
    """A folder in memory, for ledgers whose thousands of transactions would wait for a disk; None where there is none."""
    folder = Path("/dev/shm")  # noqa: S108  (only for temporary folders of our own in it)
    return folder if folder.is_dir() else None


def median(runs: Sequence[float]) -> float:
    """The middle of the runs; of an even number, the mean of the two in the middle."""
    ordered = sorted(runs)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def figure(runs: Sequence[float], unit: str, *, limit: float | None = None, digits: int = 3) -> Figure:
    """The median of the runs, and the runs."""
    return Figure(round(median(runs), digits), unit, limit=limit, runs=rounded(runs, digits))


def rounded(runs: Sequence[float], digits: int) -> tuple[float, ...]:
    """The runs, with so many digits."""
    return tuple(round(float(value), digits) for value in runs)


def _cell(value: float | None) -> str:
    return f"{'-':>12}" if value is None else f"{value:>12.4g}"
