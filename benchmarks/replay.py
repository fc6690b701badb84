"""How fast a million auctions are replayed: policy and engine alone, and the whole command with its reading.

The peer is the protocol as the plainest Python loop, on a tenth of the auctions, times ten.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.common import ROOT, Figure, median, run, stopwatch

AUCTIONS = 1_000_000
LIMIT_S = 2.0
EPISODE, SHARE = 1000, 1 / 32
RUNS = 5
PARAMS = {"const": {"b0": 30.0}, "rand": {"b0": 60.0}, "lin": {"b0": 60.0}, "ortb": {"c": 60.0, "lambda": 2e-5}}
STATS = "campaign,clk_train,imp_train,cost_train\nmade,800,1000000,70000000\n"


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """Time every policy on made auctions, then the command."""
    from ml.evaluation.replay.engine import rules_for
    from ml.evaluation.replay.inputs import CampaignStats
    from ml.evaluation.replay.policies import POLICIES
    from ml.evaluation.replay.policy import complete

    auctions = made(given.auctions)
    stats = CampaignStats("made", 800, 1_000_000, 70_000_000)
    rules = rules_for(stats, episode=EPISODE, budget_share=SHARE)
    figures = {}
    for name, policy in POLICIES.items():
        params = complete(policy, PARAMS.get(name, {}))
        seconds = _timed(partial(_play, policy, params, auctions, stats, rules))
        figures[f"policy_and_engine_{name}"] = Figure(median(seconds), "s", limit=LIMIT_S, runs=tuple(seconds))
    tenth = max(len(auctions) // 10, 1)
    bids = (auctions.pctr[:tenth] * 60 / stats.ctr).tolist()
    with stopwatch() as loop:
        _loop(bids, auctions.market_price[:tenth].tolist(), auctions.click[:tenth].tolist(), rules.budget)
    lin = figures["policy_and_engine_lin"]
    figures["policy_and_engine_lin"] = Figure(lin.ours, "s", loop[0] * len(auctions) / tenth, LIMIT_S, lin.runs)
    seconds = _command(auctions)
    figures["command"] = Figure(median(seconds), "s", limit=LIMIT_S, runs=tuple(seconds))
    return figures


def _play(policy: Any, params: Any, auctions: Any, stats: Any, rules: Any) -> Any:
    from ml.evaluation.replay.engine import replay

    return replay(auctions, policy.plan(auctions, stats, rules, params), rules)


def made(count: int) -> Any:
    """Auctions with log-normal prices and click probabilities, from a fixed seed."""
    from ml.evaluation.replay.inputs import Auctions

    rng = np.random.default_rng(0)
    pctr = np.minimum(8e-4 * np.exp(rng.normal(-0.5, 1.0, count)), 1.0)
    price = np.minimum(np.floor(70 * np.exp(rng.normal(-0.4, 0.9, count))), 300).astype(np.int64)
    return Auctions((rng.random(count) < pctr).astype(np.int64), price, pctr)


def _timed(work: Callable[[], object]) -> list[float]:
    found = []
    for _ in range(RUNS):
        with stopwatch() as seconds:
            work()
        found.append(seconds[0])
    return found


def _loop(bids: list[float], prices: list[int], clicks: list[int], budget: int) -> tuple[int, int, int]:
    """The protocol, one auction after the other."""
    won = clicked = cost = left = 0
    for place, (bid, price, click) in enumerate(zip(bids, prices, clicks, strict=True)):
        if place % EPISODE == 0:
            left = budget
        if min(int(bid), 300, left) >= price:
            won += 1
            clicked += click
            cost += price
            left -= price
    return won, clicked, cost


def _command(auctions: Any) -> list[float]:
    """The whole command on the same auctions from a file, in a fresh process each time."""
    import pyarrow
    import pyarrow.parquet as parquet

    with TemporaryDirectory(prefix="bidwright-benchmark-") as folder:
        log, stats = Path(folder) / "auctions.parquet", Path(folder) / "stats.csv"
        columns = {"click": auctions.click, "market_price": auctions.market_price, "pctr": auctions.pctr}
        parquet.write_table(pyarrow.table(columns), log)
        stats.write_text(STATS)
        command = [sys.executable, "-m", "ml.cli", "replay", str(log), "--campaign-stats", str(stats)]
        command += ["--campaign", "made", "--policy", "bidwright", "--json"]
        return _timed(lambda: subprocess.run(command, check=True, capture_output=True, cwd=ROOT))


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--auctions", type=int, default=AUCTIONS, help="how many auctions")


if __name__ == "__main__":
    sys.exit(run("replay", measure, arguments=_arguments))
