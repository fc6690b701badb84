"""What a replay says: the totals in the units of the published table, and the clicks of one policy against another."""

from __future__ import annotations

from typing import Any

import numpy as np

from ml.evaluation.interval import Interval
from ml.evaluation.replay.engine import Outcome


def totals(outcome: Outcome) -> dict[str, Any]:
    """The row of the published table (rlb-dp, python/bid_ss.py).

    Returns:
        auctions, impressions, clicks (counts); cost, the sum of the prices paid, in price units (fen per 1000
        impressions, so 1/1000 fen); win_rate, in percent of the auctions; ecpc, cost of a click in fen, None
        without a click.
    """
    auctions, impressions = int(outcome.auctions.sum()), int(outcome.impressions.sum())
    clicks, cost = int(outcome.clicks.sum()), int(outcome.cost.sum())
    return {
        "auctions": auctions,
        "impressions": impressions,
        "clicks": clicks,
        "cost": cost,
        "win_rate": impressions / auctions * 100,
        "ecpc": cost / 1000 / clicks if clicks else None,
    }


def more_clicks(ours: Outcome, theirs: Outcome, *, seed: int) -> Interval:
    """Clicks of ours minus clicks of theirs over the same episodes, with a bootstrap interval over episodes.

    Whole episodes are drawn, as each has a budget of its own; 90 % two-sided, in clicks of the whole replay.
    """
    from ml.evaluation.paired import paired_bootstrap

    count = len(ours)
    per_episode = paired_bootstrap(ours.clicks, theirs.clicks, np.arange(count), seed=seed)
    return Interval(
        per_episode.low * count,
        per_episode.mid * count,
        per_episode.high * count,
        blocks=count,
        rows=int(ours.auctions.sum()),
        level=per_episode.level,
    )
