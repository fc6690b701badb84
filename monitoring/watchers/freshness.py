"""Whether deliveries reach to the end of their day: a report that stops early is a day that looks quiet."""

from __future__ import annotations

from datetime import date

import numpy as np

from ml.core.verdict import Verdict
from monitoring.watchers.level import hold
from monitoring.watchers.limits import WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MarketSeries

CHECK, MEASURE = "freshness", "last_hour"
STALE_HOURS = 6.0
"""Performance may be so old (reference notes on monitoring: 6 hours)."""


def watch_freshness(series: MarketSeries, day: date, limits: WatchLimits) -> list[Watched]:  # noqa: ARG001
    """Hours between the last auction that was delivered and the end of the day, beyond what earlier days had."""
    last = series.whole.get("last_seen_hour")
    if last is None or not np.isfinite(last[-1]):
        return [hold(CHECK, MEASURE, f"freshness: {series.why_missing('last_seen_hour') or 'the day did not land'}")]
    before = last[:-1][series.usable[:-1] & np.isfinite(last[:-1])]
    usual = float(np.median(before)) if len(before) else 24.0
    late = usual - float(last[-1])
    moved = late > STALE_HOURS
    reason = f"the newest auction of the day is of {last[-1]:.1f} h UTC, {usual:.1f} h are usual"
    return [
        Watched(
            CHECK, "the market", MEASURE, Verdict.FAIL if moved else Verdict.PASS, max(late, 0.0), STALE_HOURS, reason,
            effect=-late / 24.0, evidence=max(late, 0.0) / STALE_HOURS, now=float(last[-1]), before=usual,
            since=series.day if moved else None, moved=moved,
        )
    ]  # fmt: skip
