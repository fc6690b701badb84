"""Scorecards of market days: what our bids earned, and what the best ones in the partners' language would have.

    python -m ml.market.simulator.scorecard --first 2026-03-02 --last 2026-03-08

Ours is read from the frozen truth, as `benchmarks.policy_regret` does. O2 is one policy for all the days, chosen on
redraws of them, so that it knows the market and not its dice, and played on the days themselves. It has a process of
its own: whoever shows the cards never meets the truth.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from datetime import date

import numpy as np

from ml.core.errors import BidwrightError, NoData, UsageError
from ml.core.settings import load_settings
from ml.core.units import days_between, parse_day, to_micros
from ml.lake.blobs import open_blobs
from ml.market import scorecard
from ml.market.scorecard import Scorecard
from ml.market.simulator import oracle
from ml.market.simulator.day import Resolved
from ml.market.simulator.source import Simulator

REDRAWN_DAYS, LEAST_REDRAWS = 42, 2
"""O2 is chosen on about so many market days, and on no fewer redraws. On a week of the default market 14 days cost it
1 % of its profit against these, 84 would bring it 0.7 % more."""


def score(simulator: Simulator, days: Sequence[date]) -> list[Scorecard]:
    """A card for each of these days (one or more), all of which must have been resolved.

    Raises:
        NoData: a day is not resolved yet; to score it would decide which bids stood.
    """
    for day in days:
        if not simulator.truth.has(day):
            raise NoData(f"{day} has not happened on the simulated market", next=f"ingest it: --day {day}")
    market = simulator.market
    redraws = max(LEAST_REDRAWS, math.ceil(REDRAWN_DAYS / len(days)))
    chosen_on = oracle.curves(list(oracle.redraws(market, redraws)), days)
    best = oracle.standing(market.world, oracle.best_in_language(chosen_on.profit, chosen_on.hotels))
    return [
        Scorecard(
            day,
            profit_micros=to_micros(expected_profit(simulator.truth.day(day).resolved)),
            o2_micros=to_micros(oracle.policy_profit(market, [day], best)),
        )
        for day in days
    ]


def expected_profit(resolved: Resolved) -> float:
    """What the bids that stood on a day earn, in currency units; searches with a commission are left out, as in O2."""
    outcomes = resolved.outcomes
    worth = outcomes["conversion"].astype(np.float64) * outcomes["value"]
    earned = outcomes["click_chance"] * (worth - outcomes["cpc"] / 1e6)
    return float(earned[~outcomes["commission"]].sum())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a process on the market of the settings; the last line of the output is the reason of a failure."""
    parser = argparse.ArgumentParser(prog="python -m ml.market.simulator.scorecard", description=__doc__)
    parser.add_argument("--first", type=parse_day, required=True)
    parser.add_argument("--last", type=parse_day, required=True)
    options = parser.parse_args(arguments)
    try:
        _keep(options.first, options.last)
    except BidwrightError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _keep(first: date, last: date) -> None:
    settings = load_settings()
    if settings.source != Simulator.name:
        raise UsageError(f"nobody knows the truth of the source {settings.source}", next="score a simulated market")
    blobs = open_blobs(settings.blobs, cache=settings.home / "cache" / "blobs", endpoint=settings.s3_endpoint)
    for card in score(Simulator.from_settings(settings), days_between(first, last)):
        scorecard.keep(blobs, settings.market_name, card)


if __name__ == "__main__":
    sys.exit(main())
