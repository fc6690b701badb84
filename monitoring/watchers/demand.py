"""Demand: auctions against the season, and where they are of hotels that were not there before.

The season alone is no finding. Where last year's same weeks are known, they say how far the season moves; else a day is held
against the same weekdays of the last four weeks, and only a break that no season makes in so short a time counts.
"""

from __future__ import annotations

import math
from datetime import date

import numpy as np

from ml.core.verdict import Verdict
from monitoring.findings import COLD_START
from monitoring.watchers.level import Ratio, hold, watch_ratio
from monitoring.watchers.limits import Level, WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import Floats, MarketSeries, Scope

CHECK = "demand"
WEEKS = 4
WITH_LAST_YEAR, WITHOUT = 0.25, 0.40
"""Smallest logarithm of auctions over what was expected that is worth a word, with the same weeks of last year and without."""

SIGMAS = 4.0
_NEW = Ratio(CHECK, "new_hotels", "new_hotels", "eligible", Level(0.02, 5.0, 100.0, 0.002),
             "the share of auctions of hotels that are new", is_share=True)  # fmt: skip


def watch_demand(series: MarketSeries, day: date, limits: WatchLimits) -> list[Watched]:  # noqa: ARG001
    """Auctions of each part against the season, over three days, and new hotels."""
    missing = series.why_missing("eligible")
    if missing:
        return [hold(CHECK, "eligible", f"auctions: {missing}")]
    found = [_of_scope(series, scope) for scope in series.scopes]
    return [*found, *[one for one in watch_ratio(_NEW, series, limits) if one.scope == Scope()]]


def _of_scope(series: MarketSeries, scope: Scope) -> Watched:
    eligible = series.need("eligible", scope)
    away, sure, year = _away(series, eligible)
    recent = away[-3:]
    if not np.isfinite(recent).all():
        reason = f"auctions in {scope}: {WEEKS} whole weeks before are needed to judge them"
        return hold(CHECK, "eligible", reason, scope, why=COLD_START)
    effect = float(recent.mean())
    limit = WITH_LAST_YEAR if year else WITHOUT
    evidence = abs(effect) / sure / SIGMAS if ((recent > 0).all() or (recent < 0).all()) else 0.0
    moved = evidence >= 1 and abs(effect) >= limit
    against = "the season, as last year's same weeks had it" if year else "the same weekdays of the last four weeks"
    reason = f"auctions in {scope} are {math.exp(effect):.2f} x those of {against}"
    return Watched(
        CHECK, str(scope), "eligible", Verdict.FAIL if moved else Verdict.PASS, abs(effect), limit, reason, scope=scope,
        effect=effect, evidence=evidence, now=float(eligible[-1]), before=float(eligible[-1] / math.exp(recent[-1])),
        since=series.days[-3] if moved else None, moved=moved,
    )  # fmt: skip


def _away(series: MarketSeries, eligible: Floats) -> tuple[Floats, float, bool]:
    """Logarithm of auctions over those expected by day, the spread of it in the past, and whether last year was known."""
    with np.errstate(divide="ignore"):
        logs = np.where(series.usable & (eligible > 0), np.log(np.maximum(eligible, 1e-9)), np.nan)
    last_year = series.whole.get("last_year")
    year = last_year is not None and bool(np.isfinite(last_year[-3:]).all())
    if year and last_year is not None:
        logs = logs - np.log(np.maximum(last_year, 1.0))
    expected = np.full(len(logs), np.nan)
    for n in range(7 * WEEKS, len(logs)):
        same = logs[[n - 7 * week for week in range(1, WEEKS + 1)]]
        same = same[np.isfinite(same)]
        expected[n] = float(np.median(same)) if len(same) >= 2 else np.nan
    away = logs - expected
    past = away[:-3][np.isfinite(away[:-3])]
    spread = 1.4826 * float(np.median(np.abs(past - np.median(past)))) if len(past) >= 7 else 0.1
    return away, max(spread, 0.03), year
