"""Off-policy estimates on the simulated market: do they order policies as the truth does?

The log is four weeks of the market under the house policy, whose bids carry log-normal jitter of known density. Sixteen
other policies, all within the reach of that jitter, are judged from the log alone; for every pair of them the sign of the
estimated difference is held against that of the true one, the expected profit of both on the same days
(`ml.market.simulator`). Everything that an estimate needs besides is learned from six earlier weeks of log: what a click is
worth, the landscape (the probability of each place at a bid), clicks by place, and prices.

Two propensities, and a second reward with the first, four estimates each:

* `density`: the density of the logged bid's jitter; rewards are what clicks are worth less what they cost.
* `landscape`: the probability of the place that was had, at the other policy's bid over that at the logged one; rewards are
  what clicks are worth, and what the other policy would pay is the landscape's (arXiv 2512.03354).
* `bookings`: as `density`, with the bookings that came as rewards. One click in 25 books, so that these are noisy; the others
  credit a click with what it is expected to be worth, which does not depend on the bid, given the search.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial

import numpy as np
import numpy.typing as npt

from benchmarks.common import Figure, run
from benchmarks.off_policy_log import SD, Floats, Log, Policy, kept_shares, play_days
from benchmarks.off_policy_models import Expected, Judge, Models
from ml.evaluation.off_policy import (
    Estimate,
    Weights,
    density_weights,
    ips,
    log_normal_density,
    place_weights,
    snips,
    switch_dr,
)
from ml.market.simulator.bids import HOUSE_JITTER_SD, HOUSE_POWER

FIRST = date(2026, 3, 2)
"""First day of the log."""

LOGGED_DAYS, LEARNED_DAYS = 28, 42
HOTELS, OPPORTUNITIES = 240, 20_000
SEEDS = 5

SWITCH = 5.0
"""SWITCH-DR leaves rows with a larger weight to the model."""

LIMIT = 0.85

_GOOGLE, _TRIVAGO, _TRIPADVISOR = range(3)
_PHONE, _DESKTOP = 0, 1


def _power(power: float) -> Policy:
    """The house policy with another power of the worth that it believes in, turned about the mean bid."""

    def factor(log: Log) -> Floats:
        return np.asarray((log.centre / _TURN) ** (power / HOUSE_POWER - 1.0), dtype=np.float64)

    return factor


_TURN = 0.28
"""Where the powers turn: near the geometric mean of the house policy's bids, in currency units."""


def _scaled(factor: float, where: Callable[[Log], npt.NDArray[np.bool_]] | None = None) -> Policy:
    def found(log: Log) -> Floats:
        there = np.ones(len(log.bid), dtype=bool) if where is None else where(log)
        return np.where(there, factor, 1.0)

    return found


POLICIES: Mapping[str, Policy] = {
    **{f"all x {factor}": _scaled(factor) for factor in (0.8, 0.9, 1.0, 1.1, 1.25)},
    "google x 1.25": _scaled(1.25, lambda log: log.partner == _GOOGLE),
    "google x 0.8": _scaled(0.8, lambda log: log.partner == _GOOGLE),
    "trivago x 1.25": _scaled(1.25, lambda log: log.partner == _TRIVAGO),
    "tripadvisor x 0.8": _scaled(0.8, lambda log: log.partner == _TRIPADVISOR),
    "phones x 0.8": _scaled(0.8, lambda log: log.device == _PHONE),
    "desktops x 1.25": _scaled(1.25, lambda log: log.device == _DESKTOP),
    "a month ahead x 0.8": _scaled(0.8, lambda log: log.lead >= 31),
    "last minute x 1.25": _scaled(1.25, lambda log: log.lead <= 1),
    "long stays x 1.25": _scaled(1.25, lambda log: log.los >= 3),
    "power 0.7": _power(0.7),
    "power 1.0": _power(1.0),
}
"""Chosen before anything was measured."""


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """Agreement by estimator over all pairs and seeds, effective sample sizes and refusals."""
    found = [one_seed(seed) for seed in range(given.first_seed, given.first_seed + given.seeds)]
    if given.table:
        print(table(found[0]))
    figures: dict[str, Figure] = {}
    for name in found[0].estimates:
        counts = [agreement(one.truth, one.values(name)) for one in found]
        agreed, pairs = (sum(count[n] for count in counts) for n in range(2))
        figures[f"{name}_direction"] = Figure(
            round(agreed / max(pairs, 1), 4), "share of pairs", limit=None if name.startswith("bookings") else LIMIT,
            runs=tuple(round(count[0] / max(count[1], 1), 4) for count in counts),
        )  # fmt: skip
        far = [agreement(one.truth, one.values(name), apart=APART) for one in found]
        figures[f"{name}_direction_1pc_apart"] = Figure(
            round(sum(count[0] for count in far) / max(sum(count[1] for count in far), 1), 4), "share of pairs"
        )
        every = [estimate for one in found for estimate in one.estimates[name].values()]
        figures[f"{name}_refused"] = Figure(float(sum(e.value is None for e in every)), "policies")
    for name in ("density", "landscape"):
        shares = [e.ess / e.rows for one in found for e in one.estimates[f"{name}_ips"].values()]
        figures[f"{name}_least_ess"] = Figure(round(min(shares), 4), "share of rows", limit=0.10)
    figures["pairs"] = Figure(float(len(found) * len(POLICIES) * (len(POLICIES) - 1) // 2), "pairs")
    apart = [agreement(one.truth, one.truth, apart=APART)[1] for one in found]
    figures["pairs_1pc_apart"] = Figure(float(sum(apart)), "pairs")
    figures["true_profit_spread"] = Figure(
        round(float(np.mean([max(one.truth.values()) / min(one.truth.values()) - 1 for one in found])), 4), "share"
    )
    figures["far_policy_refused"] = Figure(
        float(np.mean([one.far.value is None for one in found])), "share of seeds", limit=1.0
    )
    return figures


APART = 0.01
"""Two policies are apart when their true profits differ by more than this share."""


@dataclass(frozen=True)
class Judged:
    """One seed: true mean profit per opportunity of each policy, and each estimator's estimate of it.

    `far` is the estimate of a policy beyond the jitter's reach, three times the house policy's bids.
    """

    truth: Mapping[str, float]
    estimates: Mapping[str, Mapping[str, Estimate]]
    costs: Mapping[str, float]
    far: Estimate

    def values(self, name: str) -> dict[str, float | None]:
        """Estimated profits of an estimator; those from the landscape pay the landscape's prices."""
        priced = name.startswith("landscape")
        return {
            policy: None if one.value is None else one.value - (self.costs[policy] if priced else 0.0)
            for policy, one in self.estimates[name].items()
        }


def agreement(truth: Mapping[str, float], said: Mapping[str, float | None], *, apart: float = 0.0) -> tuple[int, int]:
    """Pairs whose order is told rightly, and pairs of which an order is told at all.

    Args:
        truth: the profit of each policy.
        said: what was estimated of it; None where that was refused.
        apart: pairs whose true profits differ by no more than this share are left out.
    """
    agreed = told = 0
    for one, two in itertools.combinations(truth, 2):
        ours, theirs = said[one], said[two]
        difference = truth[one] - truth[two]
        if ours is None or theirs is None or abs(difference) <= apart * min(abs(truth[one]), abs(truth[two])):
            continue
        told += 1
        agreed += (ours - theirs) * difference > 0
    return agreed, told


def one_seed(seed: int) -> Judged:
    """Learn from the earlier weeks, judge every policy from the log, and tell the truth of each."""
    from ml.market.simulator.source import make_market

    market = make_market(seed, HOTELS, OPPORTUNITIES, ())
    learned, _ = play_days(market, FIRST - timedelta(days=LEARNED_DAYS), LEARNED_DAYS, {})
    models = Models.fit(learned, kept_shares(market, before=FIRST))
    log, truth = play_days(market, FIRST, LOGGED_DAYS, POLICIES)
    estimates: dict[str, dict[str, Estimate]] = {}
    costs = {}
    judge = Judge(models, log)
    here = judge.at(log.bid)
    for policy, factor in POLICIES.items():
        there = judge.under(log.centre * factor(log))
        costs[policy] = float(there.cost.mean())
        for name, estimate in _estimates(judge, here, there, factor(log), seed=seed).items():
            estimates.setdefault(name, {})[policy] = estimate
    far = ips(log.clicked * judge.worth, _density(log, np.full(len(log.bid), 3.0)), seed=seed)
    return Judged(truth, estimates, costs, far)


def _density(log: Log, factor: Floats) -> Weights:
    """Weights of a policy that jitters around `factor` times the house policy's centre, both of mean 1."""
    moved = log.bid / log.centre
    target = log_normal_density(moved, sd=SD, centre=factor * np.exp(-(SD**2) / 2))
    return density_weights(
        target, log_normal_density(moved, sd=HOUSE_JITTER_SD, centre=np.exp(-(HOUSE_JITTER_SD**2) / 2))
    )


def _estimates(judge: Judge, here: Expected, there: Expected, factor: Floats, *, seed: int) -> dict[str, Estimate]:
    """The four estimates with each propensity and reward."""
    log, worth = judge.log, judge.worth
    kept = judge.models.kept[log.lead_bucket]
    found = {}
    by_place = place_weights(log.place, target=there.places, logged=here.places)
    by_density = _density(log, factor)
    rows = np.arange(len(worth))
    bookings = log.booked * log.gross * kept
    profit = there.value - there.cost, here.value - here.cost
    for name, reward, weights, aim, action in (
        ("bookings", bookings - log.cpc, by_density, *profit),
        ("density", log.clicked * worth - log.cpc, by_density, *profit),
        ("landscape", log.clicked * worth, by_place, there.value, here.clicks[rows, log.place] * worth),
    ):
        found[f"{name}_ips"] = ips(reward, weights, seed=seed, blocks=log.day)
        found[f"{name}_snips"] = snips(reward, weights, seed=seed, blocks=log.day)
        robust = partial(switch_dr, reward, weights, model_target=aim, model_logged=action, seed=seed, blocks=log.day)
        found[f"{name}_dr"] = robust(threshold=math.inf)
        found[f"{name}_switch_dr"] = robust(threshold=SWITCH)
    return found


def table(found: Judged) -> str:
    """The first seed's policies as Markdown: profit per 1,000 opportunities, true and estimated."""
    shown = ("density_ips", "density_dr", "landscape_ips", "landscape_snips", "landscape_dr", "landscape_switch_dr")
    lines = [f"| policy | true | {' | '.join(shown)} |", "|---|---:|" + "---:|" * len(shown)]
    said = {name: found.values(name) for name in shown}
    for policy, truth in sorted(found.truth.items(), key=lambda item: -item[1]):
        cells = (said[name][policy] for name in shown)
        lines.append(
            f"| {policy} | {1000 * truth:.2f} | "
            + " | ".join("refused" if c is None else f"{1000 * c:.2f}" for c in cells)
            + " |"
        )
    return "\n".join(lines)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=SEEDS, help="number of worlds")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first")
    parser.add_argument("--table", action="store_true", help="print the first world's policies in Markdown first")


if __name__ == "__main__":
    sys.exit(run("off_policy", measure, arguments=_arguments))
