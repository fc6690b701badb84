"""Guards between a bid that was computed and a bid that is published: small values that compose.

A guard takes a table of bids and returns one that keeps its rule, with a verdict: PASS where the rule changed little,
HOLD where it changed so much that a person should be told (the bids are safe as they stand, and may go out), FAIL where
they must not go out. Thresholds are those of section 6 of the bidding notes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pandas as pd

from ml.bidding.landscape import Floats, Landscape
from ml.core.units import MICROS_PER_UNIT
from ml.core.verdict import Verdict, worst

BID = "bid_micros"
PREVIOUS = "previous_micros"
UPPER_VALUE = "upper_value_micros"
WEIGHT = "weight"

TOUCHED_SHARE = 0.02
"""Share of expected spend that a cap may change before a person is told (gate 16: clipping at most 2 %)."""
PACED_SHARE = 0.25
"""The same for the daily change of a cell: to slow a model down is its everyday work."""


@dataclass(frozen=True)
class Guarded:
    """Bids after guards.

    Attributes:
        table: the table with safe bids.
        verdict: the severest of the guards.
        reasons: one sentence for each guard that changed or refused something.
    """

    table: pd.DataFrame
    verdict: Verdict
    reasons: tuple[str, ...] = ()


class Guard(Protocol):
    """Keeps one rule."""

    def __call__(self, table: pd.DataFrame) -> Guarded:
        """The table with the rule kept; the table given is not changed."""
        ...


def guard(table: pd.DataFrame, guards: Sequence[Guard]) -> Guarded:
    """Every guard in turn.

    Args:
        table: one row per cell: `bid_micros` (int), `previous_micros` (last published, NaN where there was none),
            `upper_value_micros` (upper bound of a click's value), `weight` (expected clicks a day) and whatever a
            guard reads beside them.
        guards: in order; those that lower bids without a condition come last, since an earlier one may raise them.

    Returns:
        The last table; a bid that is not a finite number of at least 0 is FAIL, and stays unpublished.
    """
    bids = table[BID].to_numpy(dtype=float)
    bad = ~np.isfinite(bids) | (bids < 0)
    if bad.any() or table.empty:
        what = f"{int(bad.sum())} of {len(table)} bids are not amounts of money" if bad.any() else "there are no bids"
        return Guarded(table, Verdict.FAIL, (what,))
    found, verdicts = table, [Verdict.PASS]
    reasons: list[str] = []
    for each in guards:
        done = each(found)
        found = done.table
        verdicts.append(done.verdict)
        reasons += done.reasons
    return Guarded(found, worst(verdicts), tuple(reasons))


@dataclass(frozen=True)
class AbsoluteCap:
    """No bid exceeds an amount."""

    max_micros: int

    def __call__(self, table: pd.DataFrame) -> Guarded:
        """Bids of at most the cap."""
        capped = np.minimum(_bids(table), self.max_micros)
        return _changed(table, capped, f"the cap of {self.max_micros / MICROS_PER_UNIT:,.2f}")


@dataclass(frozen=True)
class ValueCap:
    """No bid exceeds a share of the upper bound of what a click is worth."""

    share: float = 1.0

    def __call__(self, table: pd.DataFrame) -> Guarded:
        """Bids of at most the share of `upper_value_micros`; where that is unknown, 0: an unknown value is not bid on."""
        upper = np.nan_to_num(table[UPPER_VALUE].to_numpy(dtype=float), nan=0.0)
        return _changed(table, np.minimum(_bids(table), self.share * upper), "the upper bound of their value")


@dataclass(frozen=True)
class CellChange:
    """A bid moves by at most these shares of the one last published."""

    up: float = 0.30
    down: float = 0.50

    def __call__(self, table: pd.DataFrame) -> Guarded:
        """Bids within the limits; a cell without a previous bid, or with one of 0, is left."""
        previous = table[PREVIOUS].to_numpy(dtype=float)
        held = np.clip(_bids(table), previous * (1 - self.down), previous * (1 + self.up))
        kept = np.where(np.isnan(previous) | (previous <= 0), _bids(table), held)
        return _changed(table, kept, f"the daily change of +{self.up:.0%}/-{self.down:.0%}", PACED_SHARE)


@dataclass(frozen=True)
class PortfolioChange:
    """Expected spend rises by at most this share of what the bids last published are expected to spend.

    Attributes:
        up: the largest rise.
        landscape: expected cost by bid per click, one row per row of the table; None: clicks are taken as fixed at
            `weight` a day.
    """

    up: float = 0.10
    landscape: Landscape | None = None

    def __call__(self, table: pd.DataFrame) -> Guarded:
        """Bids whose rises, all by the same share, are cut until the expected spend is within the limit."""
        bids, previous = _bids(table), np.nan_to_num(table[PREVIOUS].to_numpy(dtype=float), nan=0.0)
        allowed = (1 + self.up) * self._cost(table, previous)
        wanted = self._cost(table, bids)
        if wanted <= allowed or not previous.any():
            return Guarded(table, Verdict.PASS)
        low, high = 0.0, 1.0
        for _ in range(40):
            share = (low + high) / 2
            low, high = (share, high) if self._cost(table, _part(previous, bids, share)) <= allowed else (low, share)
        found = _changed(table, np.floor(_part(previous, bids, low)), "the rise of the whole portfolio's spend")
        rise = f"bids would raise the expected spend by {wanted / max(allowed / (1 + self.up), 1) - 1:.0%}, more than "
        return replace(
            found, verdict=Verdict.HOLD, reasons=(f"{rise}{self.up:.0%}; every rise was cut by {1 - low:.0%}",)
        )

    def _cost(self, table: pd.DataFrame, bids: Floats) -> float:
        if self.landscape is not None:
            return float(self.landscape.at(bids)[1].sum())
        return float((table[WEIGHT].to_numpy(dtype=float) * bids).sum())


@dataclass(frozen=True)
class Blackout:
    """Hotels whose price feed is broken are not bid on.

    Attributes:
        hotels: ids, as `broken_feeds` finds them.
    """

    hotels: frozenset[str]

    def __call__(self, table: pd.DataFrame) -> Guarded:
        """Bids of 0 for these hotels."""
        dark = table["hotel_id"].isin(self.hotels).to_numpy()
        return _changed(table, np.where(dark, 0.0, _bids(table)), "a broken price feed")


@dataclass(frozen=True)
class SpendVelocity:
    """Spend that runs away stops the publication.

    Attributes:
        spent_micros: spend of the last whole hour.
        forecast_micros: what was expected of it.
        limit: times the forecast.
    """

    spent_micros: int
    forecast_micros: int
    limit: float = 2.5

    def __call__(self, table: pd.DataFrame) -> Guarded:
        """The same bids; FAIL above the limit."""
        if self.spent_micros <= self.limit * max(self.forecast_micros, 0):
            return Guarded(table, Verdict.PASS)
        spent, forecast = (amount / MICROS_PER_UNIT for amount in (self.spent_micros, self.forecast_micros))
        reason = f"the last hour spent {spent:,.2f}, more than {self.limit:g} times the {forecast:,.2f} expected"
        return Guarded(table, Verdict.FAIL, (f"{reason}; use kill switch level 2",))


def standard(
    *,
    max_bid_micros: int,
    broken: frozenset[str] = frozenset(),
    landscape: Landscape | None = None,
    velocity: SpendVelocity | None = None,
    cell: CellChange | None = None,
    portfolio_up: float = 0.10,
    value_share: float = 1.0,
) -> tuple[Guard, ...]:
    """The guards of every publication, in the order in which none undoes another."""
    ordered: list[Guard] = [
        cell or CellChange(),
        PortfolioChange(portfolio_up, landscape),
        ValueCap(value_share),
        AbsoluteCap(max_bid_micros),
        Blackout(broken),
    ]
    return (*ordered, velocity) if velocity is not None else tuple(ordered)


def ceilings(table: pd.DataFrame, guards: Sequence[Guard]) -> Floats:
    """The highest bid of each cell that the caps and the blackout among the guards let through; shape (n,)."""
    highest = table.assign(**{BID: np.full(len(table), 2**53, dtype=np.int64)})
    for each in guards:
        if isinstance(each, AbsoluteCap | ValueCap | Blackout):
            highest = each(highest).table
    return _bids(highest)


def broken_feeds(
    prices: pd.DataFrame, *, tolerance: float = 0.10, max_share: float = 0.10, max_age_hours: float = 24.0
) -> frozenset[str]:
    """Hotels whose shown prices cannot be trusted.

    Args:
        prices: one row per check of a price: `hotel_id`, `shown_micros`, `landing_micros` (what the site asked) and
            `age_hours` of the shown price.
        tolerance: relative difference that still counts as equal; a landing price above shown + 10 % loses most
            of its bookings.
        max_share: share of a hotel's checks that may differ.
        max_age_hours: age from which a price is stale; a hotel whose newest price is older is broken.
    """
    if prices.empty:
        return frozenset()
    differs = (prices["landing_micros"] - prices["shown_micros"]).abs() > tolerance * prices["shown_micros"]
    checks = prices.assign(differs=differs | prices["landing_micros"].isna()).groupby("hotel_id")
    wrong = (checks["differs"].mean() > max_share) | (checks["age_hours"].min() > max_age_hours)
    return frozenset(wrong.index[wrong].astype(str))


def _bids(table: pd.DataFrame) -> Floats:
    return table[BID].to_numpy(dtype=float)


def _part(previous: Floats, bids: Floats, share: float) -> Floats:
    """Falls in full, rises in part."""
    return np.where(bids > previous, previous + share * (bids - previous), bids)


def _changed(table: pd.DataFrame, bids: Floats, because: str, tolerated: float = TOUCHED_SHARE) -> Guarded:
    """The table with these bids, and how much of the spend that touched."""
    before = table[BID].to_numpy(dtype=np.int64)
    # Down to whole micros, so that rounding never exceeds a limit; never below what a lower limit asked for.
    after = np.where(bids < before, np.floor(bids), np.ceil(bids)).astype(np.int64)
    touched = after != before
    if not touched.any():
        return Guarded(table, Verdict.PASS)
    weight = table[WEIGHT].to_numpy(dtype=float) * np.maximum(before, after)
    share = float(weight[touched].sum() / weight.sum()) if weight.sum() > 0 else float(touched.mean())
    reason = f"{because} moved {int(touched.sum())} of {len(table)} bids, {share:.1%} of the expected spend"
    verdict = Verdict.HOLD if share > tolerated else Verdict.PASS
    return Guarded(table.assign(**{BID: after}), verdict, (reason,))
