"""Report files: rows that came twice, and days that were delivered anew with other rows."""

from __future__ import annotations

import math
from datetime import date

import numpy as np

from ml.core.verdict import Verdict
from monitoring.watchers.level import hold
from monitoring.watchers.limits import WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MarketSeries

CHECK = "reports"
REPEATED_SHARE, LEAST_ROWS = 0.02, 20.0
"""Rows delivered twice count from this share of the day's on, and from so many."""

RESTATED_DAYS = 2
"""A day may be delivered anew as often as this: partners count until a day is final."""


def watch_reports(series: MarketSeries, day: date, limits: WatchLimits) -> list[Watched]:  # noqa: ARG001
    """Repeated rows and restatements of the day."""
    return [_repeated(series), _restated(series)]


def _repeated(series: MarketSeries) -> Watched:
    rows, repeated = series.whole.get("rows"), series.whole.get("repeated")
    if rows is None or repeated is None or not np.isfinite(rows[-1]):
        return hold(
            CHECK, "repeated_rows", f"rows delivered twice: {series.why_missing('rows', 'repeated') or 'not logged'}"
        )
    share = float(repeated[-1] / max(rows[-1], 1.0))
    moved = share > REPEATED_SHARE and repeated[-1] >= LEAST_ROWS
    reason = f"{repeated[-1]:.0f} of {rows[-1]:.0f} rows of clicks and bookings came twice"
    return Watched(
        CHECK, "the market", "repeated_rows", Verdict.FAIL if moved else Verdict.PASS, share, REPEATED_SHARE, reason,
        effect=math.log1p(share), evidence=float(repeated[-1] / LEAST_ROWS), now=share, before=0.0,
        since=series.day if moved else None, moved=bool(moved),
    )  # fmt: skip


def _restated(series: MarketSeries) -> Watched:
    restated = series.whole.get("restated")
    if restated is None or not np.isfinite(restated[-1]):
        return hold(CHECK, "restatements", f"restatements: {series.why_missing('restated') or 'not logged'}")
    moved = bool(restated[-1] > RESTATED_DAYS)
    reason = f"the day was delivered anew {restated[-1]:.0f} times with other rows"
    return Watched(
        CHECK, "the market", "restatements", Verdict.PASS, float(restated[-1]), float(RESTATED_DAYS), reason,
        effect=float(restated[-1]), evidence=float(restated[-1] / RESTATED_DAYS), now=float(restated[-1]), before=0.0,
        since=series.day if moved else None, moved=moved,
    )  # fmt: skip
