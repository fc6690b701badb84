"""Spend: of single hours against what they usually cost, and of the day against its plan."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

import numpy as np

from ml.core.verdict import Verdict
from monitoring.findings import COLD_START
from monitoring.watchers.level import hold, reference_days
from monitoring.watchers.limits import WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import Floats, MarketSeries, Scope

CHECK = "spend"
VELOCITY = 2.5
"""An hour may cost so many times its forecast."""

PLAN_LOW, PLAN_HIGH = 0.5, 1.2
"""A day's spend over its plan, between which all is well: above, the partners' daily budgets should have stopped it."""

MANY, DEAR = 1.5, 1.3
"""So many times the usual clicks of an hour, and the usual cost of a click, are no evidence yet."""

LEAST_CLICKS = 15.0
"""Fewer clicks in an hour are chance, whatever they cost."""

SIGMAS = 5.0


def watch_spend(series: MarketSeries, day: date, limits: WatchLimits) -> list[Watched]:  # noqa: ARG001
    """The dearest hour of each part of the market against its forecast, and the day against its plan."""
    missing = series.why_missing("spend", "clicks")
    if missing:
        return [hold(CHECK, "hourly_spend", f"spend: {missing}")]
    return [*(_velocity(series, scope, limits) for scope in series.scopes), _plan(series)]


def _velocity(series: MarketSeries, scope: Scope, limits: WatchLimits) -> Watched:
    spend, clicks = series.hours("spend", scope), series.hours("clicks", scope)
    before = reference_days(series, limits) > 0
    if spend is None or clicks is None:
        return hold(CHECK, "hourly_spend", "spend by the hour: the source gives clicks no instants", scope)
    if before.sum() < limits.least_days:
        reason = f"spend by the hour in {scope}: {int(before.sum())} days are known, {limits.least_days} are needed"
        return hold(CHECK, "hourly_spend", reason, scope, why=COLD_START)
    # The hours' shape from four weeks, the level from the last one: a season moves both.
    clicked, daily = clicks.sum(axis=1), spend.sum(axis=1)
    usual_clicks = clicks[before].mean(axis=0) * _level(clicked, before)
    forecast = spend[before].mean(axis=0) * _level(daily, before)
    ratio = spend[-1] / np.maximum(forecast, 1.0)
    # Dear because of many clicks, or because each of many cost more than it ever did: either is evidence. An hour's clicks
    # stray further than counts do by themselves.
    most = MANY * usual_clicks
    many = (clicks[-1] - most) / np.sqrt(np.maximum(most + most**2 / 8.0, 1.0))
    price = (
        spend[-1] / np.maximum(clicks[-1], 1.0) / max(float(spend[before].sum() / max(clicks[before].sum(), 1.0)), 1.0)
    )
    dear = np.sqrt(clicks[-1]) * np.log(np.maximum(price / DEAR, 1e-9))
    sure = np.maximum(np.maximum(many, dear), 0.0)
    hit = (ratio > VELOCITY) & (clicks[-1] >= LEAST_CLICKS) & (sure >= SIGMAS)
    hour = (
        int(np.flatnonzero(hit)[0]) if hit.any() else int(np.argmax(np.where(clicks[-1] >= LEAST_CLICKS, ratio, 0.0)))
    )
    moved = bool(hit.any())
    start = datetime.combine(series.day, datetime.min.time(), tzinfo=UTC)
    reason = f"no hour of {scope} cost more than {VELOCITY} x its forecast"
    if moved:
        reason = (
            f"the hour from {hour:02d}:00 UTC cost {ratio[hour]:.1f} x its forecast in {scope} (limit {VELOCITY}), "
            f"with {clicks[-1][hour]:.0f} clicks where {usual_clicks[hour]:.0f} are usual"
        )
    return Watched(
        CHECK, str(scope), "hourly_spend", Verdict.FAIL if moved else Verdict.PASS, float(ratio[hour]), VELOCITY, reason,
        scope=scope, effect=math.log(max(float(ratio[hour]), 0.01)), evidence=float(sure[hour] / SIGMAS),
        now=float(spend[-1][hour]), before=float(forecast[hour]), since=series.day if moved else None,
        noticed_at=start + timedelta(hours=hour + 1) if moved else None, moved=moved,
    )  # fmt: skip


def _level(daily: Floats, before: np.ndarray) -> float:
    """The last week's level over that of the reference days, no lower than a fifth."""
    return max(float(np.nanmean(daily[-8:-1]) / max(float(daily[before].mean()), 1e-9)), 0.2)


def _plan(series: MarketSeries) -> Watched:
    planned, spend = series.whole.get("planned_spend"), series.need("spend")
    if planned is None or not np.isfinite(planned[-1]) or planned[-1] <= 0:
        why = series.why_missing("planned_spend") or f"nothing was expected of the bids of {series.day}"
        return hold(CHECK, "spend_over_plan", f"spend against plan: {why}", why=COLD_START)
    clicks = series.need("clicks")
    ratio = float(spend[-1] / planned[-1])
    # A day's cost strays by about its size over the root of its clicks.
    n = float(clicks[-1]) if np.isfinite(clicks[-1]) else 0.0
    limit = PLAN_HIGH if ratio > 1 else PLAN_LOW
    evidence = abs(math.log(max(ratio, 0.01) / limit)) * math.sqrt(max(n, 1.0)) / 3.0
    outside = not PLAN_LOW <= ratio <= PLAN_HIGH
    moved = outside and evidence >= 1
    reason = f"the day spent {ratio:.2f} of its plan" + (f", beyond {limit}" if moved else "")
    return Watched(
        CHECK, str(Scope()), "spend_over_plan", Verdict.FAIL if moved else Verdict.PASS, ratio, limit, reason,
        effect=math.log(max(ratio, 0.01)), evidence=evidence if outside else 0.0, now=float(spend[-1]),
        before=float(planned[-1]), since=series.day if moved else None, moved=moved,
    )  # fmt: skip
