"""How soon the platform notices what happens to a market, whether it names the cause, and how often it cries wolf.

Each scenario of the simulator, on each seed, from the same day of the same market; a market to which nothing happens beside it;
and a year of quiet days. Days are judged by the product's own step (`ml.steps.watch`), without Evidently's report, on which no
alarm rests; stock Evidently is asked of the same days.

    python -m benchmarks.detection --json
    python -m benchmarks.detection --seeds 20 --quiet-days 365 --keep RUNS --bases MARKETS --write docs/detection.md
    python -m benchmarks.detection --first-seed 107 --quiet-days 365 --write docs/detection.md   # adds a seed to the page
    python -m benchmarks.detection --only price_war,tracking_outage --quiet-days 0
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common import ROOT, Figure, run
from benchmarks.detection_page import LEARNED, page
from benchmarks.detection_summary import Alarm, Found, Quiet, figures, judge, quiet, quiet_table, table
from benchmarks.detection_truth import QUIET
from benchmarks.detection_world import BASE, QUIET_PARTS, WATCHED, YEAR, Size, Watched

SEEDS, FIRST_SEED, QUIET_DAYS = 1, 101, 90
WORKERS = 2
"""Of the default run, about a quarter of an hour on two quiet cores; the full campaign has 20 seeds and 365 quiet days."""


@dataclass(frozen=True)
class Outcome:
    """One seed: what became of each scenario, and the parts of its quiet year."""

    found: Mapping[str, Found]
    years: Sequence[Quiet]

    @classmethod
    def of_json(cls, told: Mapping[str, Any]) -> Outcome:
        """Read back what `asdict` made."""
        years = [Quiet(one["days"], [Alarm(**alarm) for alarm in one["alarms"]], one["calls"]) for one in told["years"]]
        return cls({name: Found(**one) for name, one in told["found"].items()}, years)


Runs = Mapping[str, Mapping[int, Watched]]
"""By job and seed what was watched."""


def measure(given: argparse.Namespace) -> Mapping[str, Figure]:
    """Every job in a process of its own; the tables go to stderr, and into `--write`."""
    names, seeds = chosen(given.only), range(given.first_seed, given.first_seed + given.seeds)
    size = Size(
        opportunities=given.opportunities, quiet_days=given.quiet_days, days=given.days, peer_every=given.peer_every
    )
    with _folder(given.keep) as keep, _folder(given.bases) as bases:
        runs = campaign(names, seeds, size, keep=keep, bases=bases, workers=given.workers)
    outcomes = {seed: outcome(runs, seed) for seed in seeds}
    if given.write:
        kept = given.write.with_suffix(".json")
        outcomes = added(kept, outcomes, size)
        found, years = together(outcomes)
        others = {seed: one for seed, one in outcomes.items() if seed not in LEARNED}
        told = page(
            found, years, seeds=list(outcomes), size=size, argv=sys.argv[1:], name=kept.name,
            unseen=together(others) if others else None,
        )  # fmt: skip
        given.write.write_text(told)
    found, years = together(outcomes)
    told = "\n\n".join([table(found), *([quiet_table(years)] if years else [])])
    sys.stderr.write(f"{told}\n")
    return figures(found, years)


def chosen(only: Sequence[str] | None) -> list[str]:
    """The scenarios; SystemExit with one sentence where one is not known."""
    from ml.market.simulator.scenarios import SCENARIOS

    unknown = [name for name in only or () if name not in SCENARIOS]
    if unknown:
        raise SystemExit(f"there is no scenario {unknown[0]!r}; choose of {', '.join(SCENARIOS)}")
    return [name for name in SCENARIOS if only is None or name in only]


def campaign(names: Sequence[str], seeds: Iterable[int], size: Size, *, keep: Path, bases: Path, workers: int) -> Runs:
    """Watch every job on every seed, `workers` at once; what `keep` holds already of the same size is not watched again."""
    jobs = [QUIET, *names, *(f"{YEAR}{part}" for part in range(QUIET_PARTS if size.quiet_days else 0))]
    todo = {seed: [name for name in jobs if not _file(keep, name, seed, size).exists()] for seed in seeds}
    asked = [seed for seed, missing in todo.items() if missing]
    each = -(
        -workers // max(1, len(asked))
    )  # a process does several jobs of a seed: to import the platform takes a while
    parts = [(seed, todo[seed][part::each]) for seed in asked for part in range(each)]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda seed: _child([BASE], seed, bases, size, lambda *_: None), asked))
        list(pool.map(lambda part: _watch(keep, bases, part[1], part[0], size), parts))
    return {
        name: {seed: Watched(**json.loads(_file(keep, name, seed, size).read_text())) for seed in todo} for name in jobs
    }


def outcome(runs: Runs, seed: int) -> Outcome:
    """Each scenario on a seed, held against the quiet market of the same seed; and its quiet year."""
    years = [quiet(of_seed[seed]) for name, of_seed in runs.items() if name.startswith(YEAR)]
    names = [name for name in runs if name != QUIET and not name.startswith(YEAR)]
    return Outcome({name: judge(name, runs[name][seed], runs[QUIET][seed]) for name in names}, years)


def together(outcomes: Mapping[int, Outcome]) -> tuple[dict[str, list[Found]], list[Quiet]]:
    """By scenario what became of it on each seed, and the parts of all quiet years."""
    names = dict.fromkeys(name for one in outcomes.values() for name in one.found)
    found = {name: [one.found[name] for one in outcomes.values() if name in one.found] for name in names}
    return found, [part for one in outcomes.values() for part in one.years]


def added(path: Path, new: Mapping[int, Outcome], size: Size) -> dict[int, Outcome]:
    """The outcomes that a file holds with new ones in their places, by seed, and written back; of another size it is begun anew."""
    held = json.loads(path.read_text()) if path.exists() else {}
    every = dict(new)
    if held.get("size") == asdict(size):
        every |= {int(seed): Outcome.of_json(one) for seed, one in held["seeds"].items() if int(seed) not in new}
    every = dict(sorted(every.items()))
    lines = ",\n".join(f'"{seed}":{json.dumps(asdict(one), separators=(",", ":"))}' for seed, one in every.items())
    path.write_text(f'{{"size":{json.dumps(asdict(size))},"seeds":{{\n{lines}\n}}}}\n')
    return every


def _watch(keep: Path, bases: Path, names: Sequence[str], seed: int, size: Size) -> None:
    def watched(name: str, told: str) -> None:
        path = _file(keep, name, seed, size)
        unfinished = path.with_suffix(".part")
        unfinished.write_text(told)
        unfinished.replace(path)
        sys.stderr.write(f"seed {seed} {name}: {json.loads(told)['seconds']:.0f} s\n")

    _child(names, seed, bases, size, watched)


def _child(names: Sequence[str], seed: int, bases: Path, size: Size, watched: Callable[[str, str], None]) -> None:
    """Do these jobs in a process of their own; `watched` is told the name of each, and what it watched, when it is done."""
    base = bases / f"{seed}-{digest_of(replace(size, days=0, quiet_days=0, peer_every=0))}"
    command = [sys.executable, "-m", "benchmarks.detection_world", ",".join(names), str(seed), str(base)]
    with subprocess.Popen(
        [*command, json.dumps(asdict(size))],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        for line in child.stdout or ():
            name, told, watching = line.partition(WATCHED)
            if told:
                watched(name, watching.strip())
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}; what was watched is kept")


def _file(keep: Path, name: str, seed: int, size: Size) -> Path:
    """What was watched; a scenario does not depend on the quiet year, nor its year on the days of a scenario."""
    changed = {"days": 0} if name.startswith(YEAR) else {"quiet_days": 0}
    return keep / f"{name}-{seed}-{digest_of(replace(size, **changed))}.json"


def digest_of(size: Size) -> str:
    """Short name of a size, in the names of what was made with it."""
    from ml.core.digests import digest_json

    return digest_json(asdict(size))[:8]


@contextmanager
def _folder(chosen: Path | None) -> Iterator[Path]:
    """The folder, made where it is not there; a temporary one where none was chosen."""
    if chosen is not None:
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen.resolve()
        return
    with TemporaryDirectory(prefix="bidwright-detection-") as temporary:
        yield Path(temporary)


def _arguments(parser: argparse.ArgumentParser) -> None:
    size = Size()
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how many markets: {SEEDS}; the campaign has 20")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED, help=f"the first of them: {FIRST_SEED}")
    parser.add_argument("--only", type=lambda text: text.split(","), help="some of the scenarios, with commas between")
    parser.add_argument("--days", type=int, default=size.days, help=f"days from the onset on: {size.days}")
    parser.add_argument(
        "--quiet-days",
        type=int,
        default=QUIET_DAYS,
        help=f"quiet days: {QUIET_DAYS}; the campaign has {size.quiet_days}; 0: none",
    )
    parser.add_argument(
        "--opportunities", type=int, default=size.opportunities, help=f"size of the market: {size.opportunities} a day"
    )
    parser.add_argument(
        "--peer-every", type=int, default=size.peer_every, help="stock Evidently on each so many quiet days"
    )
    parser.add_argument("--workers", type=int, default=WORKERS, help="markets at once")
    parser.add_argument("--keep", type=Path, help="folder for what was watched; what is in it is not watched again")
    parser.add_argument(
        "--bases",
        type=Path,
        help="folder for the markets themselves, which a change of the judgement leaves as they are",
    )
    parser.add_argument(
        "--write",
        type=Path,
        help="write the page of the docs to this file; beside it, as .json, are the seeds of all runs",
    )


if __name__ == "__main__":
    sys.exit(run("detection", measure, arguments=_arguments))
