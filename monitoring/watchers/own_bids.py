"""Whether our own bids moved: then what they reach and what clicks cost of them is our own doing, until the weeks before know
bids like these."""

from __future__ import annotations

from collections.abc import Sequence

from monitoring.watchers.level import Ratio, hold, watch_ratio
from monitoring.watchers.limits import Level, WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MarketSeries

OWN_BID = Ratio("places", "own_bid", "bids", "eligible", Level(0.15, 5.0, 100.0, 0.02), "our mean bid in micros",
                alarms=False)  # fmt: skip

CERTAIN = 0.7
"""A move as large as this (a halving, a doubling) is nobody's but the market's: bids move by less a day."""


def without_our_doing(
    findings: Sequence[Watched], series: MarketSeries, limits: WatchLimits, *, unless: float = CERTAIN
) -> list[Watched]:
    """The findings, but HOLD where something moved in a part of the market in which our own bids moved too.

    Args:
        findings: of one measure, by part of the market.
        series: up to the judged day.
        limits: what counts as moved.
        unless: moves of this size stand.
    """
    moved = {one.scope for one in watch_ratio(OWN_BID, series, limits) if one.moved}
    return [
        hold(
            one.check,
            one.column,
            f"{one.reason}; but our own bids moved, so nothing can be told of the market",
            one.scope,
        )
        if one.moved and one.scope in moved and abs(one.effect or 0.0) < unless
        else one
        for one in findings
    ]
