"""Pacing in the bid service over simulated days: does a day keep to its budget, and does its money last through the day.

The service's own counters, pacemaker and allowances under a clock of the simulation; nothing sleeps. Searches come by a curve of the
day that the plan has, times what the day makes of it; each costs what a bid costs in the service: its probability of a click times the
bid times the multiplier. Workers take turns at random, one of them more often, and every so often one is killed and started again.
The pacemaker looks thirty seconds apart, three hundred times less often than it does in the service, so that what is between two
looks weighs more here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from benchmarks.common import Figure, run
from ml.bidding.day_budget import QUARTERS, DayBudget, day_budget
from ml.bidding.landscape import Floats
from ml.serving.joints import Step
from ml.serving.messages import Scored
from ml.serving.pacemaker import Pacemaker
from ml.serving.spending import DAY_US, Spending

BUDGET: Final = 500_000_000
BID: Final = 400_000
P_CLICK: Final = 0.05
LOOK_US: Final = 30_000_000
FIRST_DAY: Final = 20_000
PARTNER: Final = "google"
SLACK: Final = 1.2
"""A budget over what the bids are expected to cost: the setting `spend_cap`."""


@dataclass(frozen=True)
class Day:
    """What a day came to.

    Attributes:
        spent: expected cost of all bids over the budget.
        wanted: the same had no bid been paced.
        by_quarter: of what was spent, the share in each quarter of an hour; shape (QUARTERS,).
        lowest: the smallest multiplier that a bid had.
    """

    spent: float
    wanted: float
    by_quarter: Floats
    lowest: float

    @property
    def in_the_evening(self) -> float:
        """Share of the spend from 18:00 on."""
        return float(self.by_quarter[72:].sum())


def curve() -> Floats:
    """Expected share of the day's searches in each quarter of an hour: a quiet night and a busy evening."""
    hours = np.array([2, 1, 1, 1, 1, 2, 3, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7, 8, 9, 9, 8, 6, 4], dtype=float)
    shares = np.interp(np.arange(QUARTERS) / 4, np.arange(25), np.append(hours, hours[0]))
    return np.asarray(shares / shares.sum())


def figures_of(budget: int = BUDGET) -> DayBudget:
    """The plan's figures, of searches seen."""
    return day_budget(budget, np.rint(curve() * 100_000).astype(np.int64))


class Service:
    """Workers and their pacemaker, on a clock that the simulation sets.

    Args:
        folder: of the counters.
        workers: how many.
        budget: the figures of the partner; None paces nobody.
    """

    def __init__(self, folder: Path, *, workers: int, budget: DayBudget | None) -> None:
        self.now_us = FIRST_DAY * DAY_US
        self.folder, self.budget = folder, {} if budget is None else {PARTNER: budget}
        self.pacemaker = Pacemaker([folder], folder / "kept.json", now_us=lambda: self.now_us)
        self.workers = [self.worker() for _ in range(workers)]

    def worker(self) -> Spending:
        """A worker that has just started."""
        made = Spending(self.folder)
        made.follow(self.budget, self.now_us)
        return made

    def search(self, worker: int) -> tuple[float, int]:
        """One search that a worker answers: the multiplier and the expected cost."""
        spending = self.workers[worker]
        spending.turn(self.now_us)
        multiplier = spending.of(PARTNER)
        bid = round(BID * multiplier)
        cost = int(bid * P_CLICK)
        spending.add(PARTNER, Scored([bid], [bid * P_CLICK], [0]), cost, Step.MODEL)
        return multiplier, cost

    def look(self) -> None:
        """Every worker lives, and the pacemaker looks."""
        for worker in self.workers:
            worker.beat(self.now_us)
        self.pacemaker.tick()


def days(
    folder: Path,
    traffic: Callable[[int, float], float],
    *,
    count: int = 1,
    workers: int = 2,
    expected: float = 1 / SLACK,
    seed: int = 0,
    killed: float = 0.0,
    paced: bool = True,
    look_us: int = LOOK_US,
) -> list[Day]:
    """Simulate days one after the other.

    Args:
        folder: for the counters.
        traffic: searches over those expected, by the number of the day and the hour.
        count: of days.
        workers: how many; the first takes three searches for two of another.
        expected: what the searches that are expected cost, over the budget.
        seed: of the noise.
        killed: share of the looks before which a worker dies and another takes its place.
        paced: whether the plan has a budget.
        look_us: between two looks of the pacemaker, a part of a quarter of an hour.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    service = Service(folder, workers=workers, budget=figures_of() if paced else None)
    per_day = BUDGET * expected / (BID * P_CLICK)
    looks = DAY_US // look_us
    shares = np.repeat(curve() * QUARTERS / looks, looks // QUARTERS)
    weights = np.array([1.5, *[1.0] * (workers - 1)]) / (workers + 0.5)
    found: list[Day] = []
    for day in range(count):
        spent, by_quarter, lowest, asked = 0, np.zeros(QUARTERS), 1.0, 0
        for look in range(looks):
            service.now_us = (FIRST_DAY + day) * DAY_US + look * look_us
            service.look()
            service.now_us += look_us // 2
            if rng.random() < killed:
                service.workers[int(rng.integers(workers))] = service.worker()
            searches = int(rng.poisson(per_day * shares[look] * traffic(day, look / looks * 24)))
            asked += searches
            for worker in rng.choice(workers, size=searches, p=weights).tolist():
                multiplier, cost = service.search(worker)
                lowest = min(lowest, multiplier)
                spent += cost
                by_quarter[look * QUARTERS // looks] += cost
        found.append(Day(spent / BUDGET, asked * BID * P_CLICK / BUDGET, by_quarter / max(spent, 1), lowest))
    service.pacemaker.close()
    return found


def always(times: float) -> Callable[[int, float], float]:
    """So many searches over those expected, at any hour of any day."""
    return lambda _, __: times


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """Days at once, twice and five times the expected traffic, each with the same day unpaced beside it."""
    found: dict[str, Figure] = {}
    with TemporaryDirectory(prefix="bidwright-service-pacing-") as folder:
        asked = {"usual": (1.0, 1 / SLACK), "exact": (1.0, 1.0), "twice": (2.0, 1.0), "five_times": (5.0, 1.0)}
        for name, (times, expected) in asked.items():
            got = [
                day
                for seed in range(given.seeds)
                for day in days(
                    Path(folder) / f"{name}-{seed}", always(times), count=2, expected=expected, seed=seed, killed=0.002
                )
            ]
            found[f"{name}_unpaced"] = _of([day.wanted for day in got], "of the budget, had no bid been paced")
            found[f"{name}_spend"] = _of([day.spent for day in got], "of the budget", limit=1.05)
            found[f"{name}_kept"] = _of(
                [day.spent / min(day.wanted, 1.0) for day in got], "of what the budget has room for"
            )
            found[f"{name}_evening"] = _of([day.in_the_evening for day in got], "of the spend, from 18:00")
    found["expected_evening"] = Figure(round(float(curve()[72:].sum()), 4), "of the searches, from 18:00")
    return found


def _of(runs: list[float], unit: str, *, limit: float | None = None) -> Figure:
    return Figure(round(max(runs), 4), unit, limit=limit, runs=tuple(round(run, 4) for run in runs))


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=3, help="each of two days")


if __name__ == "__main__":
    sys.exit(run("service_pacing", measure, arguments=_arguments))
