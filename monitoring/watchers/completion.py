"""Bookings that arrive on the day of their click, hour by hour: what a tracking outage stops first.

Late bookings of earlier clicks go on arriving for weeks after conversions are lost, so a rate of bookings per click sinks
slowly. Those of the same day stop at once.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np

from ml.core.verdict import Verdict
from monitoring.findings import COLD_START, SMALL_MARKET
from monitoring.watchers.betting import FALLS, careful, detector, limit_of
from monitoring.watchers.level import Ratio, hold, watch_ratio
from monitoring.watchers.limits import Level, WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import Floats, MarketSeries, Scope

CHECK, MEASURE = "completion", "same_day_bookings"

TOLERATED = 0.9
"""Bookings per click may fall by so much without a word: seasons do it."""

BETTING_DAYS, REFERENCE_DAYS = 14, 35
"""The bets run over the last so many days, against the rate of as many weeks before them."""

LEAST_BOOKINGS = 30.0
"""Bookings in the reference weeks, below which the rate is not known."""

_DIRECT = Ratio("completion", "uncredited", "direct", "", Level(0.03, 2.5, 20.0, 0.01), "bookings without a click",
                alarms=False)  # fmt: skip


def watch_completion(series: MarketSeries, day: date, limits: WatchLimits) -> list[Watched]:  # noqa: ARG001
    """Same-day bookings of each part against its clicks, and bookings without a click, where lost ones would be found."""
    missing = series.why_missing("day0", "clicks")
    if missing:
        return [hold(CHECK, MEASURE, f"bookings on the day of the click: {missing}")]
    found = [_of_scope(series, scope, limits) for scope in series.scopes]
    return [*found, _uncredited(series, limits)]


def _of_scope(series: MarketSeries, scope: Scope, limits: WatchLimits) -> Watched:
    day0, clicks = series.sum("day0", scope), series.sum("clicks", scope)
    assert day0 is not None
    assert clicks is not None
    age = np.arange(len(series.days))[::-1]
    known = np.isfinite(day0) & np.isfinite(clicks)
    before = (age >= BETTING_DAYS) & (age < BETTING_DAYS + REFERENCE_DAYS) & series.usable & known
    if before.sum() < limits.least_days:
        reason = f"bookings on the day of the click in {scope}: {int(before.sum())} days are known, {limits.least_days} needed"
        return hold(CHECK, MEASURE, reason, scope, why=COLD_START)
    events, per_click = float(day0[before].sum()), float(day0[before].sum() / max(clicks[before].sum(), 1.0))
    if events < LEAST_BOOKINGS:
        reason = f"bookings on the day of the click in {scope}: {events:.0f} in five weeks, too few to judge"
        return hold(CHECK, MEASURE, reason, scope, why=SMALL_MARKET)
    if not known[-1]:
        return hold(CHECK, MEASURE, f"{series.day} did not land", scope)
    recent = np.flatnonzero((age < BETTING_DAYS) & series.usable | (age == 0))
    count, expected, instants = _steps(series, scope, recent, before, day0, clicks * per_click)
    tolerated = TOLERATED * (1.0 - min(careful(events), 0.5))
    path = detector(count, expected, tolerated=tolerated, alternatives=[r for r in FALLS if r < 0.9 * tolerated])
    limit = limit_of(limits.years_between, 24.0)
    evidence = float(path[-1] / limit)
    since = _began(path)
    ratio = float(count[since:].sum() / max(expected[since:].sum(), 1e-9))
    effect = float(np.log(max(ratio, 0.01)))
    moved = evidence >= 1 and ratio < TOLERATED
    crossed = int(np.flatnonzero(path >= limit)[np.flatnonzero(path >= limit) >= since][0]) if moved else None
    now, usual = count[since:].sum(), expected[since:].sum()
    reason = f"bookings on the day of the click in {scope} are as many as clicks let expect"
    if moved:
        reason = (
            f"{now:.0f} bookings on the day of the click in {scope} where {usual:.1f} were expected since "
            f"{instants[since][0]:%Y-%m-%d %H:%M} ({ratio:.0%}; {evidence:.1f} x the evidence needed)"
        )
    return Watched(
        CHECK, str(scope), MEASURE, Verdict.FAIL if moved else Verdict.PASS, ratio, TOLERATED, reason, scope=scope,
        effect=effect, evidence=evidence, now=ratio, before=1.0, since=instants[since][0].date() if moved else None,
        noticed_at=instants[crossed][1] if crossed is not None else None, moved=moved,
    )  # fmt: skip


def _steps(
    series: MarketSeries, scope: Scope, recent: np.ndarray, before: np.ndarray, day0: Floats, expected: Floats
) -> tuple[Floats, Floats, list[tuple[datetime, datetime]]]:
    """Counts and expectations by the hour where hours are known, else by the day, each with its beginning and end."""
    starts = [datetime.combine(series.days[n], datetime.min.time(), tzinfo=UTC) for n in recent]
    hours = series.hours("day0", scope)
    if hours is None:
        return day0[recent], expected[recent], [(at, at + timedelta(days=1)) for at in starts]
    share = hours[before].sum(axis=0) + 0.25
    share = share / share.sum()
    instants = [(at + timedelta(hours=h), at + timedelta(hours=h + 1)) for at in starts for h in range(24)]
    return hours[recent].ravel(), np.outer(expected[recent], share).ravel(), instants


def _began(path: Floats) -> int:
    """The step after the detector last stood at nothing."""
    low = np.flatnonzero(path <= 0)
    return min(int(low[-1]) + 1 if len(low) else 0, len(path) - 1)


def _uncredited(series: MarketSeries, limits: WatchLimits) -> Watched:
    """Bookings without a click against the same weekdays of the weeks before: evidence, and no reason for an alarm."""
    direct = series.whole.get("direct")
    if direct is None:
        return hold(CHECK, "uncredited", f"bookings without a click: {series.why_missing('direct')}")
    ones = np.ones_like(direct)
    level = Level(_DIRECT.limit.effect, _DIRECT.limit.sigmas, 1.0, _DIRECT.limit.floor)
    alone = MarketSeries(
        series.days, (Scope(),), {"direct": direct[None], "day": ones[None]}, held=series.held
    )
    ratio = Ratio(CHECK, "uncredited", "direct", "day", level, "bookings without a click", alarms=False)
    return watch_ratio(ratio, alone, limits)[0]
