"""The platform through everything that can happen to its market: profit with and without its reaction, spend against plan.

A part of `benchmarks.policy_regret`. Each seed has one base: history, then days through all use cases, so that a champion,
its landscape and its plan stand. Every scenario, and a quiet market to compare with, goes on from a copy of the base:

    python -m benchmarks.policy_regret --scenarios --seeds 1 --json
    python -m benchmarks.policy_regret --scenarios --only price_war,unit_bug --days 4

With reaction: drift is checked, an incident retrains, gates judge, bids are published each day. Without: the bids of the day
before the onset stand, with their daily budgets. Both are expected profit on the scenario's own market, over that of the platform
on the quiet one; so is what the best bids in the partners' language would have earned there, which is the room that any
reaction has. Searches on which a commission is charged count for neither (scenario `net_cpa`).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common import ROOT, Figure

QUIET = "quiet"
"""The market to which nothing happens."""

LIVE_DAYS = 8
"""Days after the history and before the onset."""

DAYS = 10
"""Days from the onset on."""

SPEND_CAP = 1.2
BASE_SECONDS, DAY_SECONDS = 240.0, 20.0
"""What the base of a seed and a day of a scenario take, about, on a quiet core; for the estimate alone."""


@dataclass(frozen=True)
class Outcome:
    """What became of one scenario on one seed; money in currency units, days counted from the onset.

    Attributes:
        profit: expected, of the platform's bids.
        frozen: expected, of the bids of the day before the onset.
        best: expected, of the best bids in the partners' language, chosen with the truth of these days known (O2).
        loose: the same without daily budgets.
        spend: highest spend of a day over what its bids were expected to cost, all partners together.
        mean_spend: all spend over all that was expected.
        partner_spend: as `spend`, of a single partner.
        unguarded: as `spend`, of the frozen bids without daily budgets.
        last_click: by how much a day's spend at a partner passed its daily budget at most.
        stopped: days of a partner on which its budget was spent.
        noticed, cause: the first incident that opened, and about what; None and empty where none did.
        promoted: the first promotion.
        seconds: wall time.
    """

    profit: float
    frozen: float
    best: float
    loose: float
    spend: float
    mean_spend: float
    partner_spend: float
    unguarded: float
    last_click: float
    stopped: int
    noticed: int | None
    cause: str
    promoted: int | None
    seconds: float


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the scenarios."""
    parser.add_argument("--scenarios", action="store_true", help="the table of the scenarios, in place of the regret")
    parser.add_argument("--only", type=lambda text: text.split(","), help="some of the scenarios, with commas between")


def measure(given: argparse.Namespace, *, first_seed: int) -> Mapping[str, Figure]:
    """Each seed's base, then each scenario in a process of its own, `given.workers` at once; the table goes to stderr."""
    names, seeds, days = chosen(given.only), range(first_seed, first_seed + (given.seeds or 1)), given.days or DAYS
    _say(f"about {estimate(len(names), len(seeds), days, given.workers) / 60:.0f} minutes on quiet cores")
    with TemporaryDirectory(prefix="bidwright-scenarios-") as folder, ThreadPoolExecutor(given.workers) as pool:
        homes = {seed: Path(folder) / str(seed) for seed in seeds}
        list(pool.map(lambda seed: _run("--base", seed, homes[seed]), seeds))
        jobs = [(seed, name) for name in names for seed in seeds]
        told = pool.map(lambda job: _run("--child", job[0], homes[job[0]], job[1], days), jobs)
        found: dict[str, list[Outcome]] = {name: [] for name in names}
        for (seed, name), line in zip(jobs, told, strict=True):
            found[name].append(Outcome(**json.loads(line)))
            _say(f"seed {seed} {name}: {found[name][-1]}")
    _say(table(found))
    return figures(found)


def chosen(only: Sequence[str] | None) -> list[str]:
    """The quiet market, then the scenarios; SystemExit with one sentence where one is not known."""
    from ml.market.simulator.scenarios import SCENARIOS

    unknown = [name for name in only or () if name not in SCENARIOS]
    if unknown:
        raise SystemExit(f"there is no scenario {unknown[0]!r}; choose of {', '.join(SCENARIOS)}")
    return [QUIET, *(name for name in SCENARIOS if only is None or name in only)]


def estimate(scenarios: int, seeds: int, days: int, workers: int) -> float:
    """Seconds that a run takes, about."""
    return math.ceil(seeds / workers) * BASE_SECONDS + math.ceil(scenarios * seeds / workers) * days * DAY_SECONDS


def figures(found: Mapping[str, Sequence[Outcome]]) -> dict[str, Figure]:
    """Of each scenario the profit as a share of the quiet market's, the spend, and when it was noticed and answered.

    The peer of the profit is that without reaction, the peer of the spend that of the frozen bids without budgets.
    What did not happen on any seed has no figure.
    """
    made = {}
    for name, runs in found.items():
        kept, frozen = _shares(found, name)
        made[name] = Figure(_mean(kept), "share of quiet profit", peer=_mean(frozen), runs=tuple(kept))
        made[f"{name}_best"] = Figure(_mean(_best_shares(found, name)), "share of quiet profit")
        spend = tuple(round(run.spend, 4) for run in runs)
        made[f"{name}_spend"] = Figure(
            max(spend), "spend / plan", peer=round(max(run.unguarded for run in runs), 4), limit=SPEND_CAP, runs=spend
        )
        for key in ("noticed", "promoted"):
            when = tuple(float(day) for run in runs if (day := getattr(run, key)) is not None)
            if when:
                made[f"{name}_{key}"] = Figure(_mean(when), "days from onset", runs=when)
    every = [run for runs in found.values() for run in runs]
    calm = found[QUIET]
    made["quiet_mean_spend"] = Figure(_mean([run.mean_spend for run in calm]), "spend / plan")
    made["budgets_cost"] = Figure(_mean([1 - run.frozen / run.loose for run in calm]), "share of quiet profit")
    made["worst_spend"] = Figure(round(max(run.spend for run in every), 4), "spend / plan", limit=SPEND_CAP)
    made["worst_partner_spend"] = Figure(round(max(run.partner_spend for run in every), 4), "spend / plan")
    made["budget_passed_by_last_click"] = Figure(round(max(run.last_click for run in every), 2), "currency")
    return made


def table(found: Mapping[str, Sequence[Outcome]]) -> str:
    """The scenarios in Markdown: means over the seeds of profits and days, the worst of spends."""
    lines = [
        "| scenario | with reaction | without | best | spend / plan | worst day | without budgets | days stopped | noticed | by | promoted |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|---:|",
    ]
    for name, runs in found.items():
        kept, frozen = _shares(found, name)
        cells = [
            name,
            f"{_mean(kept):.3f}",
            f"{_mean(frozen):.3f}",
            f"{_mean(_best_shares(found, name)):.3f}",
            f"{_mean([run.mean_spend for run in runs]):.2f}",
            f"{max(run.spend for run in runs):.2f}",
            f"{max(run.unguarded for run in runs):.2f}",
            f"{_mean([float(run.stopped) for run in runs]):g}",
            _days([run.noticed for run in runs]),
            ", ".join(sorted({run.cause for run in runs if run.cause})) or "-",
            _days([run.promoted for run in runs]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    every = [run for runs in found.values() for run in runs]
    lines.append(
        f"\nWorst day of a single partner: {max(run.partner_spend for run in every):.3f} x plan; the last click passed a "
        f"daily budget by {max(run.last_click for run in every):.2f} at most."
    )
    return "\n".join(lines)


def base(seed: int, home: Path) -> None:
    """History, then days of a quiet market with everything watched, as a platform that has settled in."""
    from benchmarks.policy_regret import HISTORY, market_day, open_platform
    from ml import pipeline

    platform, clock = open_platform(home, seed)
    first = platform.source.first_day()
    clock.day = first + timedelta(days=HISTORY - 1)
    pipeline.import_history(platform, first, clock.day)
    market_day(platform, clock.day, imported=True)
    for _ in range(LIVE_DAYS):
        clock.day += timedelta(days=1)
        market_day(platform, clock.day, watched=True)


def child(seed: int, home: Path, name: str, days: int) -> Outcome:
    """One scenario from its onset on, in a copy of the base's working folder."""
    from benchmarks.policy_regret import HISTORY, market_day, open_platform
    from ml.ledger import incidents
    from ml.market.simulator.source import FIRST_DAY

    onset = FIRST_DAY + timedelta(days=HISTORY + LIVE_DAYS)
    begin = time.perf_counter()
    with TemporaryDirectory(prefix="bidwright-scenario-") as folder:
        # MLflow's records name the folder that they were made in, and nothing that is measured reads them.
        copy = Path(shutil.copytree(home, Path(folder) / "home", ignore=shutil.ignore_patterns("mlflow")))
        happens: dict[str, Any] = {} if name == QUIET else {"simulator_scenarios": (f"{name}@{onset.isoformat()}",)}
        platform, clock = open_platform(copy, seed, **happens)
        before = {one.id for one in incidents.all_incidents(platform.db, platform.market, 1000)}
        standing = platform.source.publications.standing(onset)
        judged = [onset + timedelta(days=n) for n in range(days)]
        for day in judged:
            clock.day = day
            market_day(platform, day, watched=True)
        found = _outcome(platform, judged, standing, before)
    return replace(found, seconds=round(time.perf_counter() - begin, 1))


def _outcome(platform: Any, judged: Sequence[date], frozen: dict[str, Any], before: set[int]) -> Outcome:
    """Score the days from the frozen truth, and play the frozen bids on the same market."""
    from ml.ledger import champion, incidents
    from ml.market.simulator.day import resolve
    from ml.market.simulator.scorecard import expected_profit

    source = platform.source
    unbounded = {name: replace(bids, daily_budget_micros=None) for name, bids in frozen.items()}
    profit = without = loose = 0.0
    spent, planned, partner_spends, unguarded, passed, stopped = [0], [1], [0.0], [0.0], [0.0], 0
    frozen_plan = _plan(source, frozen)
    for day in judged:
        resolved, standing = source.resolved(day), source.publications.standing(day)
        profit += expected_profit(resolved)
        without += expected_profit(resolve(source.market, day, frozen))
        plan, cost = _plan(source, standing), _cost(resolved)
        spent.append(sum(cost[name] for name in plan))
        planned.append(max(sum(plan.values()), 1))
        partner_spends += [cost[name] / max(micros, 1) for name, micros in plan.items()]
        free = resolve(source.market, day, unbounded)
        loose += expected_profit(free)
        unguarded.append(sum(_cost(free)[name] for name in frozen_plan) / max(sum(frozen_plan.values()), 1))
        passed += [(cost[name] - standing[name].daily_budget_micros) / 1e6 for name in resolved.stopped]
        stopped += len(resolved.stopped)
    onset = judged[0]
    opened = [one for one in incidents.all_incidents(platform.db, platform.market, 1000) if one.id not in before]
    first = min(opened, key=lambda one: one.first_day, default=None)
    promoted = [one.since for one in champion.history(platform.db, platform.market) if one.since >= onset]
    return Outcome(
        profit=profit,
        frozen=without,
        best=_best(source.market, judged),
        loose=loose,
        spend=max(cost / plan for cost, plan in zip(spent, planned, strict=True)),
        mean_spend=sum(spent) / sum(planned),
        partner_spend=max(partner_spends),
        unguarded=max(unguarded),
        last_click=max(passed),
        stopped=stopped,
        noticed=(first.first_day - onset).days if first else None,
        cause=first.cause if first else "",
        promoted=(min(promoted) - onset).days if promoted else None,
        seconds=0.0,
    )


def _best(market: Any, judged: Sequence[date]) -> float:
    """Profit of the best product of base and multipliers, as the regret has it."""
    from benchmarks.policy_regret import REDRAWS
    from ml.market.simulator import oracle

    chosen_on = oracle.curves(list(oracle.redraws(market, REDRAWS)), list(judged))
    _, value, cost = oracle.curves([market], list(judged)).of(
        oracle.best_in_language(chosen_on.profit, chosen_on.hotels)
    )
    return float(value - cost)


def _plan(source: Any, standing: Mapping[str, Any]) -> dict[str, int]:
    """What each partner's standing bids were expected to cost on a day, in micros, where that is known."""
    found = {}
    for name, bids in standing.items():
        uri = f"bids/{source.name_of_market}/{name}/{bids.day.isoformat()}"
        expected = json.loads(source.publications.blobs.get(f"{uri}/manifest.json")).get("expected")
        if expected is not None:
            found[name] = int(expected["cost_micros"])
    return found


def _cost(resolved: Any) -> dict[str, int]:
    """What a day's clicks cost at each partner, in micros."""
    from ml.market.simulator.partners import NAMES

    clicked = resolved.outcomes["clicked"]
    partner, paid = resolved.searches["partner"][clicked], resolved.outcomes["cpc"][clicked]
    return {name: int(paid[partner == number].sum()) for number, name in enumerate(NAMES)}


def _shares(found: Mapping[str, Sequence[Outcome]], name: str) -> tuple[list[float], list[float]]:
    """Profit with and without reaction over the platform's on the quiet market, seed by seed."""
    pairs = list(zip(found[name], found[QUIET], strict=True))
    return (
        [round(run.profit / quiet.profit, 4) for run, quiet in pairs],
        [round(run.frozen / quiet.profit, 4) for run, quiet in pairs],
    )


def _best_shares(found: Mapping[str, Sequence[Outcome]], name: str) -> list[float]:
    """What the best bids would have earned, over the platform's profit on the quiet market, seed by seed."""
    return [round(run.best / quiet.profit, 4) for run, quiet in zip(found[name], found[QUIET], strict=True)]


def _days(found: Sequence[int | None]) -> str:
    """The mean of what happened, and on how many of the seeds it did where not on all."""
    known = [float(day) for day in found if day is not None]
    if not known:
        return "-"
    return f"{_mean(known):g}" + (f" ({len(known)} of {len(found)})" if len(known) < len(found) else "")


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)


def _run(*arguments: object) -> str:
    """A process of its own; the last line that it prints."""
    command = [sys.executable, "-m", "benchmarks.policy_scenarios", *(str(one) for one in arguments)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return (done.stdout.strip().splitlines() or [""])[-1]


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--base"]:
        base(int(sys.argv[2]), Path(sys.argv[3]))
    elif sys.argv[1:2] == ["--child"]:
        print(json.dumps(asdict(child(int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], int(sys.argv[5])))))
    else:
        sys.exit("run it as python -m benchmarks.policy_regret --scenarios")
    # All is written. A library whose threads end badly must not fail half an hour's work of the others.
    sys.stdout.flush()
    os._exit(0)
