"""Does what the champion predicts of clicks come? A bet against it, on what each day should teach of clicks of every age.

A young cohort has shown a part of its bookings only. So each day's new bookings are held against what the champion and the
completion factors expect of that very day: whole cohorts need not be waited for, and nothing is counted twice. The bets
may be looked at every day for ever (`monitoring.watchers.betting`).
"""

from __future__ import annotations

import math
from datetime import date

import numpy as np

from ml.core.verdict import Verdict
from monitoring.findings import COLD_START
from monitoring.watchers.betting import detector, limit_of
from monitoring.watchers.level import hold
from monitoring.watchers.limits import WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MarketSeries, Scope

CHECK, MEASURE = "calibration_bets", "bookings_over_expected"
LOW, HIGH = 0.85, 1.15
"""Bookings over what was expected, between which all is well: seasons that the model does not know lie within."""

YEARS_BETWEEN = 10.0
"""A champion without fault is blamed once in so many years at the mean, for one side and part of the market."""

LEAST_EXPECTED = 20.0


def watch_calibration(series: MarketSeries, day: date, limits: WatchLimits) -> list[Watched]:  # noqa: ARG001
    """Bookings of clicks since the champion was trained, over those that it expects."""
    missing = series.why_missing("champion_bookings", "expected_bookings")
    if missing:
        return [hold(CHECK, MEASURE, f"bookings over what the champion expects: {missing}", why=COLD_START)]
    return [_of_scope(series, scope) for scope in series.scopes]


def _of_scope(series: MarketSeries, scope: Scope) -> Watched:
    count, expected = series.need("champion_bookings", scope), series.need("expected_bookings", scope)
    known = np.isfinite(count) & np.isfinite(expected) & series.usable
    came, promised = float(count[known].sum()), float(expected[known].sum())
    if promised < LEAST_EXPECTED:
        reason = f"bookings over what the champion expects in {scope}: {promised:.0f} expected so far, too few to judge"
        return hold(CHECK, MEASURE, reason, scope, why=COLD_START)
    paths = (
        detector(count[known], expected[known], tolerated=LOW, alternatives=(0.3, 0.55, 0.7)),
        detector(count[known], expected[known], tolerated=HIGH, alternatives=(1.4, 1.8, 2.5)),
    )
    path = max(paths, key=lambda one: one[-1])
    evidence = float(path[-1] / limit_of(YEARS_BETWEEN, 1.0))
    low = np.flatnonzero(path <= 0)
    since = min(int(low[-1]) + 1 if len(low) else 0, len(path) - 1)
    came, promised = float(count[known][since:].sum()), float(expected[known][since:].sum())
    ratio = came / max(promised, 1e-9)
    moved = evidence >= 1 and not LOW <= ratio <= HIGH
    reason = f"{came:.0f} bookings came in {scope} since {series.days[int(np.flatnonzero(known)[since])]} where the champion expects {promised:.0f} ({ratio:.2f})"
    limit = LOW if ratio < 1 else HIGH
    return Watched(
        CHECK, str(scope), MEASURE, Verdict.FAIL if moved else Verdict.PASS, ratio, limit,
        reason + (f", beyond {limit} with {evidence:.1f} x the evidence needed" if moved else ""), scope=scope,
        effect=math.log(max(ratio, 0.01)), evidence=evidence, now=ratio, before=1.0, moved=moved,
        since=series.days[int(np.flatnonzero(known)[since])] if moved else None,
    )  # fmt: skip
