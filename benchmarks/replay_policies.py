"""Clicks of our replay policy and of the published ones on the iPinYou test rows at hand, per campaign and budget.

Every policy is tuned on train rows only. Where the data hold none of a campaign (2259, 2261), the train rows of the
donor stand in for them: 1458's, with prices moved to the campaign's own train prices quantile by quantile and pctr
scaled to its train CTR. There `lin_published` also takes part: lin with the b0 that rlb-dp publishes for the
campaign, tuned on its real train rows. `hindsight` is the best that any peer reaches with parameters chosen on the
test rows themselves: no policy, a bound.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROOT, Figure, MissingData, as_line, as_table

IPINYOU = ROOT.parent / "shared" / "data" / "ipinyou"
"""Where the iPinYou data lie beside a clone."""

AUCTIONS = "auctions_1458_2259_2261.parquet"
CAMPAIGNS = ("1458", "2259", "2261")
DONOR = "1458"
SHARES = (64, 32, 16, 8, 4, 2)
EPISODE = 1000
SEED = 0

PUBLISHED_B0 = {
    "2259": {32: 35, 16: 70, 8: 80, 4: 130, 2: 265},
    "2261": {32: 20, 16: 25, 8: 70, 4: 75, 2: 140},
}
"""b0 of lin per budget share, tuned on all train rows (han-cai/rlb-dp @ 1eeb9e47, data/ipinyou-data/*/bid-model)."""


def table(data: Path, *, hindsight: bool) -> list[dict[str, Any]]:
    """One row per campaign and budget share; clicks of every policy and the difference to the best peer."""
    if not (data / AUCTIONS).is_file():
        raise MissingData(f"there is no file {data / AUCTIONS}; give --data FOLDER with the iPinYou data")
    return [row(data, campaign, denominator, hindsight=hindsight) for campaign in CAMPAIGNS for denominator in SHARES]


def row(data: Path, campaign: str, denominator: int, *, hindsight: bool) -> dict[str, Any]:
    """The clicks of each policy on the test rows of one campaign under one budget share."""
    from ml.evaluation.replay.engine import Outcome, replay, rules_for
    from ml.evaluation.replay.inputs import read_auctions, read_stats
    from ml.evaluation.replay.policies import POLICIES
    from ml.evaluation.replay.report import more_clicks
    from ml.evaluation.replay.tuning import tuned

    stats = read_stats(data / "campaign_stats.csv", campaign)
    rules = rules_for(stats, episode=EPISODE, budget_share=1 / denominator)
    test = read_auctions(data / AUCTIONS, campaign, split="test")
    train, tuned_on = train_rows(data, campaign)
    params = {name: tuned(policy, train, stats, rules, fixed={}) for name, policy in POLICIES.items()}
    won: dict[str, Outcome] = {
        name: replay(test, policy.plan(test, stats, rules, params[name]), rules) for name, policy in POLICIES.items()
    }
    published = PUBLISHED_B0.get(campaign, {}).get(denominator)
    if published is not None:
        params["lin_published"] = {"b0": float(published)}
        won["lin_published"] = replay(test, POLICIES["lin"].plan(test, stats, rules, {"b0": published}), rules)
    clicks = {name: int(outcome.clicks.sum()) for name, outcome in won.items()}
    best = max((name for name in clicks if name != "bidwright"), key=lambda name: clicks[name])
    difference = more_clicks(won["bidwright"], won[best], seed=SEED)
    found: dict[str, Any] = {
        "campaign": campaign,
        "share": f"1/{denominator}",
        "auctions": len(test),
        "test_clicks": int(test.click.sum()),
        "tuned_on": tuned_on,
        "clicks": clicks,
        "budget_spent": {
            name: round(float(outcome.cost.sum()) / (rules.budget * len(outcome)), 3) for name, outcome in won.items()
        },
        "params": {name: {key: round(value, 9) for key, value in given.items()} for name, given in params.items()},
        "best_peer": best,
        "difference": difference.as_json(),
        "at_least_as_many": clicks["bidwright"] >= clicks[best],
    }
    if hindsight:
        found["hindsight"] = _hindsight(test, stats, rules)
    return found


def train_rows(data: Path, campaign: str) -> tuple[Any, str]:
    """The train rows of a campaign, or the donor's moved to its prices and its train CTR; and which they are."""
    from ml.core.errors import NoData
    from ml.evaluation.replay.inputs import Auctions, read_auctions, read_stats

    try:
        return read_auctions(data / AUCTIONS, campaign, split="train"), "its own train rows"
    except NoData:
        donor = read_auctions(data / AUCTIONS, DONOR, split="train")
    ratio = read_stats(data / "campaign_stats.csv", campaign).ctr / read_stats(data / "campaign_stats.csv", DONOR).ctr
    prices = moved_prices(donor.market_price, price_counts(data, DONOR), price_counts(data, campaign))
    moved = Auctions(donor.click, prices, np.minimum(donor.pctr * ratio, 1.0))
    return moved, f"train rows of {DONOR}, moved to its train prices and train CTR"


def price_counts(data: Path, campaign: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """How many train impressions of a campaign had each market price, shape (301,)."""
    counts = np.zeros(301, dtype=np.int64)
    for line in (data / "market_price_counts.csv").read_text().splitlines()[1:]:
        name, price, count = line.split(",")
        if name == campaign:
            counts[int(price)] = int(count)
    return counts


def moved_prices(prices: Any, of: Any, to: Any) -> Any:
    """Each price at its quantile among the donor's train prices, as the price at that quantile of the campaign's."""
    middle = (np.cumsum(of) - of / 2) / of.sum()
    quantiles = middle[np.minimum(prices, len(of) - 1)]
    return np.searchsorted(np.cumsum(to) / to.sum(), quantiles).astype(np.int64)


def _hindsight(test: Any, stats: Any, rules: Any) -> dict[str, Any]:
    from ml.evaluation.replay.engine import replay
    from ml.evaluation.replay.peers import PEERS
    from ml.evaluation.replay.tuning import tuned

    best = {"policy": "", "clicks": -1}
    for policy in PEERS:
        given = tuned(policy, test, stats, rules, fixed={})
        clicks = int(replay(test, policy.plan(test, stats, rules, given), rules).clicks.sum())
        if clicks > best["clicks"]:  # type: ignore[operator]
            best = {"policy": policy.name, "clicks": clicks}
    return best


def figures(rows: list[dict[str, Any]]) -> dict[str, Figure]:
    """Ours against the best peer of each row, and in all."""
    found = {
        f"{row['campaign']} {row['share']}": Figure(
            row["clicks"]["bidwright"],
            "clicks",
            peer=row["clicks"][row["best_peer"]],
            limit=row["clicks"][row["best_peer"]],
        )
        for row in rows
    }
    held = sum(row["at_least_as_many"] for row in rows)
    return {**found, "rows_with_at_least_as_many": Figure(held, f"of {len(rows)}", limit=len(rows))}


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay_policies")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument("--data", type=Path, default=IPINYOU, help="folder of the iPinYou data")
    parser.add_argument("--hindsight", action="store_true", help="also the best peer tuned on the test rows (a bound)")
    given = parser.parse_args(argv)
    try:
        rows = table(given.data, hindsight=given.hindsight)
    except MissingData as error:
        sys.stderr.write(f"{error}\n")
        return 1
    measured = figures(rows)
    if given.json:
        print(json.dumps({**json.loads(as_line("replay_policies", measured)), "table": rows}, allow_nan=False))
    else:
        print(as_table("replay_policies", measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
