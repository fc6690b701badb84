"""Compare benchmarks with those of earlier commits, by what the same run measured of a peer: 10 % lost fails.

Seconds of one machine say nothing of another, or of the same one on a busy day; ours over the peer's, measured in the same
run, does. A figure without a peer is not compared. History is a line of JSON per run and commit in benchmarks/history/.

    python -m benchmarks.tree_engines --json | python -m benchmarks.compare
    python -m benchmarks.compare --run tree_engines --run training_set --record
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common import ROOT
from ml.core.code_version import commit_of_tree

HISTORY = ROOT / "benchmarks" / "history"
LOSS = 0.10
"""More than this share lost is a failure."""

LAST = 5
"""Earlier runs whose median counts."""

LESS_IS_BETTER = {"s", "ms", "us", "ns", "MB", "MiB", "GB", "GiB", "kB", "bytes", "EUR"}
MORE_IS_BETTER = {"rows/s", "requests/s", "events/s", "req/s", "x"}


@dataclass(frozen=True)
class Compared:
    """One figure: `ratio` is how many times better than the peer we are, `before` that of earlier runs, `lost` the share between."""

    benchmark: str
    figure: str
    ratio: float | None
    before: float | None

    @property
    def lost(self) -> float | None:
        """Share of the advantage lost; below 0 where we gained; None where there is nothing to compare."""
        return None if self.ratio is None or self.before is None else 1 - self.ratio / self.before

    @property
    def verdict(self) -> str:
        """`kept`, `lost`, `new` (no history yet) or `missing` (measured before, and not now)."""
        if self.ratio is None:
            return "missing"
        if self.lost is None:
            return "new"
        return "lost" if self.lost > LOSS else "kept"

    @property
    def fails(self) -> bool:
        """A figure that is worse fails, and so does one that is not there any more."""
        return self.verdict in {"lost", "missing"}


def advantage(figure: Mapping[str, Any]) -> float | None:
    """How many times better than its peer a figure is, above 0; None where it has no peer or no direction.

    >>> advantage({"ours": 2.0, "peer": 8.0, "unit": "s"})
    4.0
    """
    ours, peer, unit = figure["ours"], figure.get("peer"), figure["unit"].replace(",", " ").split()[0]
    if peer is None or ours <= 0 or peer <= 0:
        return None
    if unit in LESS_IS_BETTER:
        return float(peer / ours)
    return float(ours / peer) if unit in MORE_IS_BETTER else None


def advantages(line: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a benchmark's line that can be compared."""
    found = {name: advantage(figure) for name, figure in line["figures"].items()}
    return {name: value for name, value in found.items() if value is not None}


def compare(line: Mapping[str, Any], earlier: Sequence[Mapping[str, float]]) -> list[Compared]:
    """A benchmark's line against the advantages of earlier runs, oldest first."""
    now, last = advantages(line), earlier[-LAST:]
    before: dict[str, list[float]] = {}
    for run in last:
        for name, value in run.items():
            before.setdefault(name, []).append(value)
    names = [*now, *(name for name in (last[-1] if last else {}) if name not in now)]
    return [
        Compared(line["benchmark"], name, now.get(name), median(before[name]) if name in before else None)
        for name in names
    ]


def history(benchmark: str, folder: Path = HISTORY) -> list[dict[str, float]]:
    """The advantages of earlier runs, oldest first."""
    file = folder / f"{benchmark}.jsonl"
    return [json.loads(line)["advantages"] for line in file.read_text().splitlines()] if file.exists() else []


def record(line: Mapping[str, Any], folder: Path = HISTORY) -> None:
    """Add a run to the history, under its commit."""
    kept = {"commit": commit_of_tree(), "machine": line["machine"], "advantages": {k: round(v, 4) for k, v in advantages(line).items()}}  # fmt: skip
    folder.mkdir(exist_ok=True)
    with (folder / f"{line['benchmark']}.jsonl").open("a") as file:
        file.write(json.dumps(kept, sort_keys=True) + "\n")


def lines_of(names: Sequence[str], given: Iterable[str]) -> list[dict[str, Any]]:
    """The lines of benchmarks that are run now, or else those given."""
    if not names:
        return [json.loads(text) for text in given if text.strip()]
    found = []
    for name in names:
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"benchmarks.{name} failed: {done.stderr.strip().splitlines()[-1:]}")
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return found


def main(arguments: Sequence[str]) -> int:
    """Compare and show; 1 where something was lost, or nothing was there to compare."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--run", action="append", default=[], metavar="NAME", help="run this benchmark; else lines are read from stdin")  # fmt: skip
    parser.add_argument("--record", action="store_true", help="add the runs to the history, if nothing was lost")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    chosen = parser.parse_args(arguments)
    lines = lines_of(chosen.run, sys.stdin)
    found = [one for line in lines for one in compare(line, history(line["benchmark"]))]
    failed = not found or any(one.fails for one in found)
    if chosen.json:
        rows = [asdict(one) | {"lost": one.lost, "verdict": one.verdict} for one in found]
        print(json.dumps({"ok": not failed, "limit": LOSS, "figures": rows}))
    else:
        for one in found:
            ratio, before = ("-" if v is None else f"{v:.2f}" for v in (one.ratio, one.before))
            print(f"{one.verdict:8}{one.benchmark}.{one.figure}: {ratio} times the peer, before {before}")
        if not found:
            print("nothing to compare: no figure has a peer")
    if chosen.record and not failed:
        for line in lines:
            record(line)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
