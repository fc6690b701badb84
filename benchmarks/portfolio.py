"""The portfolio of 50,000 cells x 24 bid levels: seconds, and the gap to the bound of the linear program.

The peer is HiGHS on the linear program of the same steps (SciPy's `linprog`), which is the kindest form of it: the
hull is ours and its time is charged to both; the whole program is given to it at once. Everything is synthetic: saturating clicks, a marginal click that costs
its bid, log-normal volumes and values.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from benchmarks.common import Figure, median, run, stopwatch
from ml.bidding.exploration import ExplorationPolicy, explore, thompson_hotels
from ml.bidding.hull import segments
from ml.bidding.landscape import Landscape
from ml.bidding.limits import GroupLimit, Limits, caps_of, floors_of
from ml.bidding.portfolio import Allocation, optimise
from ml.bidding.portfolio_lp import solve

RUNS = 3


def synthetic(cells: int, levels: int, *, seed: int) -> Landscape:
    """Clicks a x b / (b + c) per cell, cost the integral of the bid over them."""
    rng = np.random.default_rng(seed)
    bids = np.geomspace(20_000, 4_000_000, levels)
    volume, half = rng.lognormal(0, 1.5, (cells, 1)), rng.lognormal(13, 0.6, (cells, 1))
    clicks = volume * bids / (bids + half)
    cost = volume * half * (np.log1p(bids / half) - bids / (bids + half))
    value = rng.lognormal(13.2, 0.5, cells)
    return Landscape(bids, clicks, cost, value, gross_micros=value * rng.uniform(6, 12, cells))


def _roas(found: Allocation) -> float:
    return float((found.clicks @ found.landscape.roas_value_micros) / found.cost_micros.sum())


def _timed(landscape: Landscape, limits: Limits, *, one_level: bool) -> tuple[Allocation, float]:
    with stopwatch() as seconds:
        found = optimise(landscape, limits, one_level=one_level)
    return found, seconds[0]


def _peer(landscape: Landscape, limits: Limits) -> tuple[float, float]:
    """The bound of HiGHS and its seconds on the same steps."""
    with stopwatch() as seconds:
        steps = segments(landscape)
        _, bound, _ = solve(landscape, steps, caps_of(limits), floors_of(limits, landscape), 1.0, sift=False)
    return bound, seconds[0]


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """Budget alone, budget with a ROAS floor, and limits of three partners and ten markets beside them."""
    _peer(synthetic(50, 4, seed=0), Limits(daily_budget_micros=1))  # the first call loads HiGHS
    problems = [synthetic(given.cells, given.levels, seed=seed) for seed in range(RUNS)]
    figures: dict[str, Figure] = {}
    for name in ("budget", "budget_roas", "groups"):
        ours, peers, gaps, mixed_gaps, differences = [], [], [], [], []
        for seed, landscape in enumerate(problems):
            limits = _limits(name, landscape, seed=seed)
            mix, _ = _timed(landscape, limits, one_level=False)
            found, seconds = _timed(landscape, limits, one_level=True)
            ours.append(seconds)
            gaps.append(found.gap)
            mixed_gaps.append(mix.gap)
            bound, peer = _peer(landscape, limits)
            peers.append(peer)
            differences.append(abs(mix.objective_micros / bound - 1))
        figures[f"{name}_seconds"] = Figure(
            median(ours), "s", peer=median(peers), runs=tuple(round(x, 3) for x in ours)
        )
        figures[f"{name}_gap_one_level"] = Figure(max(gaps), "share of the bound, worst", runs=tuple(gaps))
        figures[f"{name}_gap_mix"] = Figure(max(mixed_gaps), "share of the bound, worst", runs=tuple(mixed_gaps))
        figures[f"{name}_difference_from_lp"] = Figure(max(differences), "share, worst", limit=1e-6)
    return figures | _exploration(problems)


def _exploration(problems: list[Landscape]) -> dict[str, Figure]:
    """What a week's jitter and draws of hotels without bookings cost on bids that are best, in the default policy."""
    moved, lost = [], []
    for seed, landscape in enumerate(problems):
        bids = optimise(landscape, Limits()).bids_micros
        cells = [f"c{number}" for number in range(len(bids))]
        hotels = [f"h{number // 20}" for number in range(len(bids))]
        nothing, policy = np.zeros(len(bids)), ExplorationPolicy(seed=seed)
        draws = thompson_hotels(hotels, nothing, nothing, "week", policy)
        found = explore(bids, cells, landscape, policy, period="week", draws=draws)
        moved.append(found.spend_share)
        lost.append(found.profit_share)
    return {
        "exploration_spend_moved": Figure(max(moved), "share of spend, worst", limit=0.03, runs=tuple(moved)),
        "exploration_cost": Figure(max(lost), "share of profit, worst", runs=tuple(lost)),
    }


def _limits(name: str, landscape: Landscape, *, seed: int) -> Limits:
    free = optimise(landscape, Limits())
    budget = int(0.5 * free.cost_micros.sum())
    if name == "budget":
        return Limits(daily_budget_micros=budget)
    if name == "budget_roas":
        within = optimise(landscape, Limits(daily_budget_micros=budget))
        return Limits(daily_budget_micros=budget, roas_floor=1.15 * _roas(within))
    rng = np.random.default_rng(seed)
    partner, market = rng.integers(0, 3, len(landscape)), rng.integers(0, 10, len(landscape))
    groups = [
        GroupLimit(f"partner {p}", partner == p, max_cost_micros=int(0.4 * free.cost_micros[partner == p].sum()))
        for p in range(3)
    ]
    groups += [GroupLimit(f"market {m}", market == m, roas_floor=1.02 * _roas(free)) for m in range(10)]
    return Limits(daily_budget_micros=budget, groups=tuple(groups))


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cells", type=int, default=50_000)
    parser.add_argument("--levels", type=int, default=24)


if __name__ == "__main__":
    sys.exit(run("portfolio", measure, arguments=_arguments))
