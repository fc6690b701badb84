"""What is true of the scenarios, to hold alarms against: which causes name each rightly, and what each costs.

A part of `benchmarks.detection`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

QUIET = "quiet"
"""The market to which nothing happens."""

RIGHT: Mapping[str, frozenset[str]] = {
    "season_up": frozenset({"demand"}),
    "season_down": frozenset({"demand"}),
    "price_war": frozenset({"rivals"}),
    "rival_bid_cut": frozenset({"rivals"}),
    "lost_parity": frozenset({"parity"}),
    "first_price": frozenset({"auction"}),
    "net_cpa": frozenset({"auction"}),
    "tracking_outage": frozenset({"tracking"}),
    "cancellation_wave": frozenset({"cancellations"}),
    "site_bug": frozenset({"model"}),
    "price_feed_error": frozenset({"feed"}),
    "market_launch": frozenset({"demand"}),
    "report_delay": frozenset({"tracking", "feed"}),
    "unit_bug": frozenset({"auction"}),
    "rival_testing": frozenset({"rivals"}),
}
"""By scenario, the causes that name it rightly, of those that a diagnosis knows.

Late reports look like lost tracking until they come, and are a fault of the feed; both names lead to the right page.
"""

SEASONS = frozenset({"season_up", "season_down"})
"""A season is no fault: a warning that names demand is right, no alarm is too, a critical one is false."""


def likely(cause: str) -> str:
    """The cause that an incident names; empty where it names a symptom alone, such as a column that moved.

    >>> likely("drift:rivals"), likely("ingest:repeated"), likely("calibration")
    ('rivals', 'feed', '')
    """
    head, _, tail = cause.partition(":")
    if head == "ingest":
        return "feed"
    return tail if head == "drift" and tail != "unknown" else ""


def names_rightly(scenario: str, cause: str) -> bool:
    """Whether an incident's cause is the scenario's."""
    return likely(cause) in RIGHT[scenario]


def expected_profit_micros(resolved: Any) -> int:
    """What a day's searches earn with the bids that stood, in expectation over clicks and bookings.

    Unlike the oracle's, with the searches on which a commission is charged, at what the commission costs: the loss of
    `net_cpa` would otherwise be all that they ever earned.
    """
    import numpy as np

    from ml.market.simulator.auction import CPA_SHARE
    from ml.market.simulator.scorecard import expected_profit
    from ml.market.simulator.world import TAKE_SHARE

    outcomes = resolved.outcomes
    charged = outcomes["commission"]
    worth = outcomes["click_chance"].astype(np.float64) * outcomes["conversion"] * outcomes["value"]
    on_commission = float(worth[charged].sum()) * (1.0 - CPA_SHARE / TAKE_SHARE)
    return round((expected_profit(resolved) + on_commission) * 1e6)


def profits(source: Any, days: Sequence[date]) -> list[int]:
    """`expected_profit_micros` of each day, from the frozen truth."""
    return [expected_profit_micros(source.resolved(day)) for day in days]
