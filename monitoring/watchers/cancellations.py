"""Early cancellations: a wave of them shows within days, on bookings whose stays are months away."""

from __future__ import annotations

from datetime import date

import numpy as np

from ml.core.verdict import Verdict
from monitoring.findings import COLD_START, SMALL_MARKET
from monitoring.watchers.betting import RISES, careful, detector, limit_of
from monitoring.watchers.level import hold, reference_days
from monitoring.watchers.limits import WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MarketSeries, Scope

CHECK, MEASURE = "cancellations", "early_cancellations"
TOLERATED = 1.2
LEAST_EVENTS = 20.0
BETTING_DAYS, LATELY = 14, 4


def watch_cancellations(series: MarketSeries, day: date, limits: WatchLimits) -> list[Watched]:  # noqa: ARG001
    """Cancellations of bookings at most a week old, against those that bookings of their ages and lead times had before."""
    missing = series.why_missing("early_cancelled", "early_expected")
    if missing:
        return [hold(CHECK, MEASURE, f"early cancellations: {missing}")]
    return [_of_scope(series, scope, limits) for scope in series.scopes]


def _of_scope(series: MarketSeries, scope: Scope, limits: WatchLimits) -> Watched:
    count, expected = series.need("early_cancelled", scope), series.need("early_expected", scope)
    before = (reference_days(series, limits) > 0) & np.isfinite(count)
    if before.sum() < limits.least_days:
        reason = f"early cancellations in {scope}: {int(before.sum())} days are known, {limits.least_days} are needed"
        return hold(CHECK, MEASURE, reason, scope, why=COLD_START)
    events = float(count[before].sum())
    if events < LEAST_EVENTS or not np.isfinite(count[-1]):
        return hold(CHECK, MEASURE, f"early cancellations in {scope}: too few to judge", scope, why=SMALL_MARKET)
    # What is expected comes from the reference days of the market; a part of it has its own level among them.
    level = events / max(float(expected[before].sum()), 1e-9)
    tolerated = TOLERATED * (1.0 + careful(events))
    last = slice(-BETTING_DAYS, None)
    path = detector(
        count[last], level * expected[last], tolerated=tolerated, alternatives=[r for r in RISES if r > 1.1 * tolerated]
    )
    evidence = float(path[-1] / limit_of(limits.years_between, 1.0))
    low = np.flatnonzero(path <= 0)
    since = len(series.days) - len(path) + min(int(low[-1]) + 1 if len(low) else 0, len(path) - 1)
    now, usual = float(np.nansum(count[since:])), level * float(np.nansum(expected[since:]))
    ratio = now / max(usual, 1e-9)
    lately = float(np.nansum(count[-LATELY:]) / max(level * float(np.nansum(expected[-LATELY:])), 1e-9))
    moved = evidence >= 1 and ratio > TOLERATED and lately > TOLERATED  # what is over is no alarm any more
    reason = f"bookings in {scope} are cancelled as early and as often as before"
    if moved:
        reason = (
            f"{now:.0f} early cancellations in {scope} where {usual:.0f} were expected since {series.days[since]} "
            f"({ratio:.1f} x; {evidence:.1f} x the evidence needed)"
        )
    return Watched(
        CHECK, str(scope), MEASURE, Verdict.FAIL if moved else Verdict.PASS, ratio, TOLERATED, reason, scope=scope,
        effect=float(np.log(max(ratio, 0.01))), evidence=evidence, now=ratio, before=1.0,
        since=series.days[since] if moved else None, moved=moved,
    )  # fmt: skip
