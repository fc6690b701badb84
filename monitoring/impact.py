"""What a shift does to predicted value, bids, spend and profit, a day, before anyone retrains.

Everything is held against the reference weeks at the traffic of the day: with as many auctions as the day had, they would have
had so many clicks, at such a cost, worth so much. What conversions or cancellations do to the worth of a click is counted from
what the watchers measured, since the bookings of three days are too few to be counted themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml.core.units import MICROS_PER_UNIT, Micros
from monitoring.diagnosis import Diagnosis
from monitoring.watchers.level import reference_days
from monitoring.watchers.limits import LIMITS, WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MARKET, MarketSeries, Scope

RECENT_DAYS = 3
"""The day's figures are means over at most so many days since the shift began."""

BLIND = frozenset({"tracking"})
"""Causes under which the money still comes, and only what is known of it does not."""


@dataclass(frozen=True)
class Impact:
    """Micros a day, against the reference weeks at the traffic of the judged days; None where it cannot be told.

    Attributes:
        value: change of what the champion predicts that an eligible auction's click is worth, times the day's auctions'
            clicks; what bids follow.
        bids: change of the mean bid.
        spend: change of what the clicks cost.
        profit: change of what the clicks are expected to earn, less spend.
        at_stake: what is lost a day while nothing is done; under a tracking outage what is not credited.
        usual: profit of such a day in the reference weeks, of the whole market whatever part moved, to hold the others against:
            half of the profit of a country that earns a hundredth is no emergency.
        sentences: how each of them comes about.
    """

    value: Micros | None
    bids: Micros | None
    spend: Micros | None
    profit: Micros | None
    at_stake: Micros | None
    usual: Micros | None = None
    sentences: Sequence[str] = ()

    @property
    def share(self) -> float | None:
        """What is at stake as a share of the market's usual profit; infinite where there is none; None where it cannot be told."""
        if self.at_stake is None or self.usual is None:
            return None
        return self.at_stake / self.usual if self.usual > 0 else float("inf") if self.at_stake else 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "value_micros": self.value,
            "bid_micros": self.bids,
            "spend_micros": self.spend,
            "profit_micros": self.profit,
            "at_stake_micros": self.at_stake,
            "usual_profit_micros": self.usual,
            "sentences": list(self.sentences),
        }


def impact(
    series: MarketSeries,
    findings: Sequence[Watched],
    diagnoses: Sequence[Diagnosis],
    limits: WatchLimits = LIMITS,
    *,
    currency: str = "",
) -> Impact | None:
    """What the shift costs a day; None where nothing moved, or where clicks are not delivered.

    `currency` is said with each amount, such as `EUR`.
    """
    if not diagnoses or series.why_missing("eligible", "clicks", "spend", "booking_value"):
        return None
    lead, scope = diagnoses[0], diagnoses[0].scope
    began = min((f.since for f in findings if f.moved and f.since is not None), default=series.day)
    now = np.array([began <= day for day in series.days]) & (np.arange(len(series.days))[::-1] < RECENT_DAYS)
    before = reference_days(series, limits) > 0
    each = {name: _rates(series, name, scope, now, before) for name in ("clicks", "spend", "bids", "booking_value")}
    if before.sum() < limits.least_days or any(rates is None for rates in each.values()):
        return None
    day, usual = ({name: rates[side] for name, rates in each.items() if rates} for side in (0, 1))
    eligible = _mean(series.sum("eligible", scope), now)
    said = []
    spend = (day["spend"] - usual["spend"]) * eligible
    said.append(f"Spend is {_change(spend, currency)} a day than in the weeks before at the same traffic.")
    bids = day["bids"] - usual["bids"]
    value = _predicted(series, scope, now, before, day["clicks"] * eligible)
    if value is not None:
        said.append(
            f"The champion's value of the day's clicks is {_change(value, currency)}, since the traffic is another."
        )
    profit, at_stake, normal = None, None, None
    if series.take_share is not None and usual["clicks"] > 0:
        worth = series.take_share * usual["booking_value"] / usual["clicks"]  # gross of cancellations, which come later
        kept = _kept(findings, scope, series, before)
        books = 1.0 if lead.cause in BLIND else _booked(findings, scope)
        earned = worth * (day["clicks"] * books * kept - usual["clicks"]) * eligible
        profit = earned - spend
        normal = _usual_profit(series, series.take_share, now, before)
        why = " and ".join([*["fewer of them book"] * (books < 1), *["fewer bookings last"] * (kept < 1)])
        said.append(
            f"What clicks earn is expected to be {_change(earned, currency)} a day{why and f' ({why})'},"
            f" the profit {_change(profit, currency)}."
        )
        at_stake = max(0.0, -profit)
        if lead.cause in BLIND:
            at_stake = worth * usual["clicks"] * eligible * max(0.0, 1.0 - _booked(findings, scope))
            said.append(
                f"Bookings that earn {_amount(at_stake, currency)} a day are not credited; learned from, they would lower bids."
            )
    amounts = (value, bids, spend, profit, at_stake, normal)
    value_, bids_, spend_, profit_, at_stake_, usual_ = (
        None if x is None else Micros(round(float(x))) for x in amounts
    )
    return Impact(value_, bids_, spend_, profit_, at_stake_, usual_, said)


def _usual_profit(series: MarketSeries, take_share: float, now: Any, before: Any) -> float | None:
    """Profit of the whole market's day in the reference weeks, at the traffic of the judged days."""
    spend, value = (_rates(series, name, MARKET, now, before) for name in ("spend", "booking_value"))
    if spend is None or value is None:
        return None
    return (take_share * value[1] - spend[1]) * _mean(series.sum("eligible", MARKET), now)


def _rates(series: MarketSeries, name: str, scope: Scope, now: Any, before: Any) -> tuple[float, float] | None:
    """A sum per eligible auction, on the judged days and in the reference weeks."""
    found, eligible = series.sum(name, scope), series.sum("eligible", scope)
    if found is None or eligible is None:
        return None
    sides = []
    for days in (now, before):
        known = days & np.isfinite(found) & np.isfinite(eligible)
        sides.append(float(found[known].sum() / max(eligible[known].sum(), 1.0)))
    return sides[0], sides[1]


def _mean(found: Any, days: Any) -> float:
    known = days & np.isfinite(found)
    return float(found[known].mean()) if known.any() else 0.0


def _predicted(series: MarketSeries, scope: Scope, now: Any, before: Any, clicks: float) -> float | None:
    value, sampled = series.sum("predicted_value", scope), series.sum("sampled", scope)
    if value is None or sampled is None:
        return None
    means = []
    for days in (now, before):
        known = days & np.isfinite(value) & (sampled > 0)
        if not known.any():
            return None
        means.append(float(value[known].sum() / sampled[known].sum()))
    return (means[0] - means[1]) * clicks


def _booked(findings: Sequence[Watched], scope: Scope) -> float:
    """Bookings per click over what they were, where that moved."""
    ratios = [
        f.now for f in _of(findings, scope, "same_day_bookings", "bookings_per_click") if f.moved and f.now is not None
    ]
    wrong = [f for f in _of(findings, scope, "far_below_rivals") if f.direction > 0]
    if not ratios and wrong and wrong[0].effect is not None:
        # A guest who finds another rate than was shown books a quarter as often (reference notes, price feed error).
        return 1.0 - 0.75 * min(wrong[0].effect, 1.0)
    return min(ratios, default=1.0)


def _kept(findings: Sequence[Watched], scope: Scope, series: MarketSeries, before: Any) -> float:
    """Value that early cancellations leave, over what they left: a lower bound of the loss, more cancel later."""
    moved = [f for f in _of(findings, scope, "early_cancellations") if f.moved and f.now is not None]
    early, direct = series.sum("early_cancelled"), series.whole.get("direct")
    bookings = series.sum("bookings")
    if not moved or early is None or bookings is None:
        return 1.0
    made = float(np.nansum(bookings[before])) + (float(np.nansum(direct[before])) if direct is not None else 0.0)
    share = min(float(np.nansum(early[before])) / max(made, 1.0), 0.5)
    return max(0.0, (1.0 - share * float(moved[0].now or 1.0)) / (1.0 - share))


def _of(findings: Sequence[Watched], scope: Scope, *columns: str) -> list[Watched]:
    own = [f for f in findings if f.column in columns and f.scope == scope]
    return own or [f for f in findings if f.column in columns and f.scope == MARKET]


def _change(micros: float, currency: str) -> str:
    return f"{_amount(abs(micros), currency)} {'lower' if micros < 0 else 'higher'}"


def _amount(micros: float, currency: str) -> str:
    return f"{currency} {micros / MICROS_PER_UNIT:,.2f}".strip()
