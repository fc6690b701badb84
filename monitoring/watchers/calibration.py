"""Does what the champion predicts of clicks come? A bet against it, on what each day should teach of clicks of every age.

A young cohort has shown a part of its bookings only. So each day's new bookings are held against what the champion and the
completion factors expect of that very day: whole cohorts need not be waited for, and nothing is counted twice. The bets
began when the champion was trained and never start anew, so that they may be looked at every day.
"""

from __future__ import annotations

import math
from datetime import date

import numpy as np

from ml.core.verdict import Verdict
from monitoring.findings import COLD_START
from monitoring.watchers.betting import process
from monitoring.watchers.level import hold
from monitoring.watchers.limits import WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MarketSeries, Scope

CHECK, MEASURE = "calibration_bets", "bookings_over_expected"
LOW, HIGH = 0.85, 1.15
"""Bookings over what was expected, between which all is well: seasons that the model does not know lie within."""

ALPHA = 0.001
"""Chance that a champion without fault is ever blamed, of one side and part of the market."""

LEAST_EXPECTED = 20.0


def watch_calibration(series: MarketSeries, day: date, limits: WatchLimits) -> list[Watched]:  # noqa: ARG001
    """Bookings of clicks since the champion was trained, over those that it expects."""
    missing = series.why_missing("champion_bookings", "expected_bookings")
    if missing:
        return [hold(CHECK, MEASURE, f"bookings over what the champion expects: {missing}", why=COLD_START)]
    return [_of_scope(series, scope) for scope in series.scopes]


def _of_scope(series: MarketSeries, scope: Scope) -> Watched:
    count, expected = series.sum("champion_bookings", scope), series.sum("expected_bookings", scope)
    assert count is not None
    assert expected is not None
    known = np.isfinite(count) & np.isfinite(expected) & series.usable
    came, promised = float(count[known].sum()), float(expected[known].sum())
    if promised < LEAST_EXPECTED:
        reason = f"bookings over what the champion expects in {scope}: {promised:.0f} expected so far, too few to judge"
        return hold(CHECK, MEASURE, reason, scope, why=COLD_START)
    less = process(count[known], expected[known], tolerated=LOW, alternatives=(0.3, 0.55, 0.7))[-1]
    more = process(count[known], expected[known], tolerated=HIGH, alternatives=(1.4, 1.8, 2.5))[-1]
    evidence = float(max(less, more) / math.log(1.0 / ALPHA))
    ratio = came / promised
    moved = evidence >= 1 and not LOW <= ratio <= HIGH
    reason = f"{came:.0f} bookings came in {scope} where the champion expects {promised:.0f} ({ratio:.2f})"
    limit = LOW if ratio < 1 else HIGH
    return Watched(
        CHECK, str(scope), MEASURE, Verdict.FAIL if moved else Verdict.PASS, ratio, limit,
        reason + (f", beyond {limit} with {evidence:.1f} x the evidence needed" if moved else ""), scope=scope,
        effect=math.log(max(ratio, 0.01)), evidence=evidence, now=ratio, before=1.0, moved=moved,
        since=series.days[int(np.flatnonzero(known)[0])] if moved else None,
    )  # fmt: skip
