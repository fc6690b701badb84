"""Profit of the platform on the simulated market, as a share of what the best bids in the partners' language earn.

Runs the platform's own use cases: sixty days are imported as history, as for a new user, then `--days` more go one by one
through ingest, settling, features, bids, training and gates. Each published table decides the next day's auctions. Profit is expected, over the searches and rivals of the last days
(common random numbers); see `ml.market.simulator.oracle`. Seeds run side by side, one process each.

    python -m benchmarks.policy_regret --days 60 --seeds 5 --json
    python -m benchmarks.policy_regret --scenarios --json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks import policy_scenarios
from benchmarks.common import ROOT, Figure, run

if TYPE_CHECKING:
    from ml.core.settings import Settings

JUDGED_DAYS = 15
HISTORY = 60
"""Days imported as history and bid for by the house policy, as in the demo: with fewer, too few outcomes are certain for
the gates to let a first model through."""

DAYS, SEEDS = 60, 5
REDRAWS = 6
FIRST_SEED = 101
TARGET, FLOOR = 0.92, 0.85
MULTIPLIERS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def measure(given: argparse.Namespace) -> Mapping[str, Figure]:
    """Every seed in a process of its own, as many at once as there are cores."""
    if given.scenarios:
        return policy_scenarios.measure(given, first_seed=FIRST_SEED)
    seeds = range(FIRST_SEED, FIRST_SEED + (given.seeds or SEEDS))
    with ThreadPoolExecutor(given.workers) as pool:
        found = list(pool.map(lambda seed: _in_child(seed, given.days or DAYS), seeds))
    shares = {name: [one[name] / one["o2"] for one in found] for name in found[0] if name not in {"o2", "promotions"}}
    figures = {
        name: Figure(round(_mean(runs), 4), "share of O2", runs=tuple(round(share, 4) for share in runs))
        for name, runs in shares.items()
    }
    ours = sorted(shares["platform"])
    figures["platform"] = Figure(
        round(_mean(ours), 4),
        "share of O2",
        peer=figures["raw_ratios"].ours,
        limit=TARGET,
        runs=tuple(round(share, 4) for share in shares["platform"]),
    )
    figures["platform_p5"] = Figure(round(_percentile(ours, 0.05), 4), "share of O2", limit=FLOOR)
    figures["promotions"] = Figure(_mean([one["promotions"] for one in found]), "count")
    return figures | _split(shares)


def _split(shares: Mapping[str, list[float]]) -> dict[str, Figure]:
    """Where the regret comes from: parts that add up to 1 less the platform's share, and staleness beside them.

    The last part is below 0: a share of the true worth, cell by cell, earns more than the best product of base and
    multipliers. No budget is set, so that nothing is lost by pacing.
    """
    parts = {
        "exploration": ("unexplored", "platform"),
        "language": ("unsaid", "unexplored"),
        "shading": ("shaded", "unsaid"),
        "prediction": ("true_worth", "shaded"),
        "language_of_o2": (None, "true_worth"),
        "staleness": ("fresh", "platform"),
    }
    split = {}
    for name, (better, worse) in parts.items():
        high = [1.0] * len(shares[worse]) if better is None else shares[better]
        runs = [a - b for a, b in zip(high, shares[worse], strict=True)]
        split[f"regret: {name}"] = Figure(
            round(_mean(runs), 4), "share of O2", runs=tuple(round(run, 4) for run in runs)
        )
    return split


def _in_child(seed: int, days: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.policy_regret", "--child", str(seed), str(days)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def child(seed: int, days: int) -> dict[str, float]:
    """Run the platform over the days and score its bids, and the peers', on the last of them."""
    with TemporaryDirectory(prefix="bidwright-regret-") as folder:
        platform, last = _run(Path(folder), seed, days)
        judged = [last - timedelta(days=age) for age in reversed(range(min(JUDGED_DAYS, days)))]
        return {**_ours(platform, judged), **_peers(platform, judged), **_variants(platform, judged)}


def _run(home: Path, seed: int, days: int) -> tuple[Any, date]:
    """The lifecycle, day by day; a day on which a step stops goes on with the next, as under Airflow.

    Drift checks are left out: nothing drifts here, and most of their time goes into a report that nobody would read.
    """
    from ml import pipeline

    platform, clock = open_platform(home, seed)
    first = platform.source.first_day()
    clock.day = first + timedelta(days=HISTORY - 1)
    pipeline.import_history(platform, first, clock.day)
    market_day(platform, clock.day, imported=True)
    for number in range(days):
        clock.day = first + timedelta(days=HISTORY + number)
        market_day(platform, clock.day)
    return platform, clock.day


def open_platform(home: Path, seed: int, *, trains: bool = True, **settings: Any) -> tuple[Any, DayClock]:
    """A platform of its own on a simulated market, and the clock that it reads; MLflow is prepared where it `trains`."""
    from ml.evaluation.tracking import prepare
    from ml.platform import Platform

    loaded = settings_of(home, seed, **settings)
    clock = DayClock()
    platform = Platform(loaded, clock)
    platform.db.migrate()
    if trains:
        prepare(loaded)
    return platform, clock


def settings_of(home: Path, seed: int, **settings: Any) -> Settings:
    """The settings of such a platform: a simulated market, and nobody who gets mail."""
    from ml.core.settings import load_settings

    return load_settings(source="simulator", home=home, seed=seed, mail_to="", **settings)


def market_day(platform: Any, day: date, *, imported: bool = False, watched: bool = False) -> None:
    """One day through the platform's use cases, in the order that the DAGs run them.

    Args:
        platform: the platform.
        day: the market day.
        imported: it has landed and been settled already.
        watched: drift is checked too.
    """
    from ml import pipeline
    from ml.core.errors import BidwrightError

    try:
        if not imported:
            pipeline.ingest(platform, day)
            pipeline.settle(platform, day)
            pipeline.materialize(platform, day)
        if watched:
            pipeline.check_drift(platform, day)
        pipeline.publish_bids(platform, day)
        if pipeline.train(platform, day)["candidate"] is None:
            return
        judged = pipeline.judge(platform, day)
        promoted = pipeline.promote(platform, day, decision_id=judged["decision_id"])
        sys.stderr.write(f"{day} {judged['verdict']} {'promoted' if promoted['moved'] else 'not promoted'}\n")
        if promoted["moved"]:
            pipeline.publish_bids(platform, day)
    except BidwrightError as error:
        sys.stderr.write(f"{day}: {error}\n")


class DayClock:
    """A clock that shows two in the morning after the market day."""

    day = date(2025, 1, 1)

    def now(self) -> datetime:
        """The present instant, UTC."""
        return datetime.combine(self.day + timedelta(days=1), time(2), tzinfo=UTC)


def _ours(platform: Any, judged: list[date]) -> dict[str, float]:
    """What our bids earned, from the frozen truth; and how often a champion was promoted."""
    from ml.ledger import champion
    from ml.market.simulator.scorecard import expected_profit

    live = champion.current(platform.db, platform.market)
    return {
        "platform": sum(expected_profit(platform.source.resolved(day)) for day in judged),
        "promotions": float(live.generation if live else 0),
    }


def _variants(platform: Any, judged: list[date]) -> dict[str, float]:
    """What the days would have earned with one part of the platform replaced; the split of the regret is made of them.

    `unexplored`: without what was tried on purpose. `unsaid`: the bids that were wanted of each cell, not the product
    that the partner takes. `shaded`: the model's worth of a click times the best share per partner, which nobody knows
    beforehand. `true_worth`: the same with the true worth. `fresh`: the bids made of the day itself on that day.
    `no_hotel_effect`: like `shaded`, with each hotel's conversion replaced by that of all hotels.
    """
    import numpy as np

    from ml.market.simulator import oracle

    market = platform.source.market
    true = _true_worth(market, judged)
    total: dict[str, Any] = {}
    for day in judged:
        before = _published(platform, day - timedelta(days=1))
        fresh = _published(platform, day)
        shares = {
            "shaded": (before, "worth"),
            "true_worth": (None, ""),
            "no_hotel_effect": (before, "mean_worth"),
        }
        policies = {
            "unexplored": _standing(platform, before, "unexplored"),
            "unsaid": _standing(platform, before, "wanted_micros"),
            "fresh": _standing(platform, fresh, "bid_micros"),
        }
        for name, (tables, column) in shares.items():
            full = true if tables is None else _standing(platform, tables, column)
            policies |= {f"{name} {share}": _scaled(full, share) for share in MULTIPLIERS}
        by_partner = oracle.partner_profits(market, day, list(policies.values()))
        for name, earned in zip(policies, by_partner, strict=True):
            total[name] = total.get(name, np.zeros(len(earned))) + earned
    found = {name: float(total[name].sum()) for name in ("unexplored", "unsaid", "fresh")}
    for name in ("shaded", "true_worth", "no_hotel_effect"):
        best = np.array([total[f"{name} {share}"] for share in MULTIPLIERS]).max(axis=0)
        found[name] = float(best.sum())
    return found


def _published(platform: Any, day: date) -> dict[str, Any]:
    """The tables that stand at the end of a day, with the worth of a click as the platform saw it."""
    from ml.steps.publish import last_published

    found = {}
    for partner in platform.source.partners:
        table = last_published(platform, partner, before=day + timedelta(days=1))
        if table is None:
            continue
        worth = table["p_book"] * table["net_value_micros"] * platform.settings.take_share
        cell = ["device", "lead_bucket", "los_bucket"]
        weighted = table.assign(books=table["p_book"] * table["clicks_seen"]).groupby(cell)
        mean = weighted["books"].transform("sum") / weighted["clicks_seen"].transform("sum")
        tried = table.get("explore_factor", 1.0)
        found[partner] = table.assign(
            worth=worth,
            mean_worth=worth * mean / table["p_book"].clip(lower=1e-9),
            unexplored=table["bid_micros"] / tried,
        )
    return found


def _standing(platform: Any, tables: Mapping[str, Any], column: str) -> dict[str, Any]:
    """Tables as bids that a market can be played with."""
    from ml.market.simulator.bids import Publication

    keys = ["hotel_id", "device", "lead_bucket", "los_bucket"]
    return {
        partner: Publication(
            date.min,
            column,
            platform.source.publications.cells(
                table[keys].assign(bid_micros=table[column].astype(float)).to_dict("list")
            ),
        )
        for partner, table in tables.items()
    }


def _scaled(standing: Mapping[str, Any], share: float) -> dict[str, Any]:
    from dataclasses import replace

    return {partner: replace(one, cells=one.cells * share) for partner, one in standing.items()}


def _true_worth(market: Any, judged: list[date]) -> dict[str, Any]:
    """What a click of each cell is worth, in expectation over redraws of the days; 0 where none ever comes."""
    import numpy as np

    from ml.market.simulator import oracle
    from ml.market.simulator.bids import Publication
    from ml.market.simulator.partners import NAMES

    found = oracle.curves(list(oracle.redraws(market, REDRAWS)), judged)
    clicks, value = found.clicks[:, -1], found.value[:, -1]
    worth = np.divide(value, clicks, out=np.zeros(len(clicks)), where=clicks > 0)
    cells = worth.reshape(len(NAMES), found.hotels, *oracle.SHAPE)
    return {name: Publication(date.min, "truth", cells[number]) for number, name in enumerate(NAMES)}


def _peers(platform: Any, judged: list[date]) -> dict[str, float]:
    """The oracles, and the simpler policies that a buyer might have had instead."""
    import numpy as np

    from ml.market.simulator import oracle

    market = platform.source.market
    drawn = list(oracle.redraws(market, REDRAWS))
    chosen_on, truth = oracle.curves(drawn, judged), oracle.curves([market], judged)

    def profit(choice: Any) -> float:
        _, value, cost = truth.of(choice)
        return value - cost

    multiples = np.array(MULTIPLIERS)
    best = oracle.multiplier_profits(drawn[:1], judged, multiples).argmax(axis=1)
    real = oracle.multiplier_profits([market], judged, multiples)
    return {
        "o1": oracle.omniscient(market, judged),
        "o2": profit(oracle.best_in_language(chosen_on.profit, chosen_on.hotels)),
        "o3": float(real[np.arange(len(best)), best].sum()),
        "truthful": float(real[:, MULTIPLIERS.index(1.0)].sum()),
        "house": oracle.policy_profit(market, judged, {}),
        "raw_ratios": _raw_ratios(platform, judged),
        "yesterdays_constant": _yesterdays_constant(market, judged),
    }


def _raw_ratios(platform: Any, judged: list[date]) -> float:
    """Each hotel's bookings per click times its mean booking value, as counted up to the day before; bid at 0.7 of it."""
    import numpy as np

    from ml.market.simulator import oracle
    from ml.market.simulator.bids import Publication
    from ml.market.simulator.partners import NAMES
    from ml.market.simulator.world import TAKE_SHARE

    market = platform.source.market
    hotels = market.world.hotels
    clicks, earned = np.zeros(hotels), np.zeros(hotels)
    day, total = platform.source.first_day(), 0.0
    while day <= judged[-1]:
        if day >= judged[0]:
            bid = np.where(clicks > 0, 0.7 * TAKE_SHARE * earned / np.maximum(clicks, 1), 0.0)
            cells = np.broadcast_to(bid[:, None, None, None], (hotels, *oracle.SHAPE)).copy()
            total += oracle.policy_profit(market, [day], {name: Publication(day, "raw", cells) for name in NAMES})
        resolved = platform.source.resolved(day)
        clicked = resolved.outcomes["clicked"]
        hotel = resolved.searches["hotel"]
        books = clicked & (resolved.searches["conversion_die"] < resolved.outcomes["conversion"])
        gross = resolved.outcomes["value"].astype(float) / TAKE_SHARE
        clicks += np.bincount(hotel[clicked], minlength=hotels)
        earned += np.bincount(hotel[books], weights=gross[books], minlength=hotels)
        day += timedelta(days=1)
    return total


def _yesterdays_constant(market: Any, judged: list[date]) -> float:
    """The one bid per partner that would have earned most yesterday."""
    import numpy as np

    from ml.market.simulator import oracle
    from ml.market.simulator.partners import NAMES

    total = 0.0
    for day in judged:
        before = oracle.curves([market], [day - timedelta(days=1)])
        today = oracle.curves([market], [day])
        by_partner = (len(NAMES), -1, oracle.LEVELS)
        best = before.profit.reshape(by_partner).sum(axis=1).argmax(axis=1)
        total += float(today.profit.reshape(by_partner).sum(axis=1)[np.arange(len(best)), best].sum())
    return total


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _percentile(ordered: list[float], share: float) -> float:
    """The smallest value with at least `share` of them at or below it."""
    return ordered[max(0, -(-int(share * 1000 * len(ordered)) // 1000) - 1)]


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--days", type=int, help=f"market days: {DAYS} after the history, the last 15 are judged; of a scenario 10"
    )
    parser.add_argument("--seeds", type=int, help=f"how many markets: {SEEDS}; of the scenarios 1")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="markets at once")
    policy_scenarios.arguments(parser)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(int(sys.argv[2]), int(sys.argv[3]))))
        sys.exit(0)
    sys.exit(run("policy_regret", measure, arguments=_arguments))
