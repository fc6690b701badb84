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
from monitoring.watchers.level import hold
from monitoring.watchers.limits import Level, WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import Floats, MarketSeries, Scope

CHECK, MEASURE = "completion", "same_day_bookings"

TOLERATED = 0.9
"""Bookings per click may fall by so much without a word: seasons do it."""

BETTING_DAYS, REFERENCE_DAYS = 14, 35
"""The bets run over the last so many days, against the rate of as many weeks before them."""

SLOW, SLOW_TOLERATED, SLOW_AT_LEAST = "bookings_per_click", 0.97, 0.85
"""All bookings of a day, late ones too, by the day: slower to stop, and more of them, so that a third less can be seen. The
fall must be larger than the second, and is told from the third on."""

_LATE_DAYS, _NEWEST_DAYS = 7, 2

LEAST_BOOKINGS = 30.0
"""Bookings in the reference weeks, below which the rate is not known."""

UNCREDITED_SIGMAS = 2.5
_UNCREDITED = Level(0.05)
"""Bookings without a click are only evidence of where lost ones went, so they need less of it."""


def watch_completion(series: MarketSeries, day: date, limits: WatchLimits) -> list[Watched]:  # noqa: ARG001
    """Same-day bookings of each part against its clicks, and bookings without a click, where lost ones would be found."""
    missing = series.why_missing("day0", "clicks")
    if missing:
        return [hold(CHECK, MEASURE, f"bookings on the day of the click: {missing}")]
    found = [_of_scope(series, scope, limits) for scope in series.scopes]
    late = series.why_missing("late")
    slow = (
        [hold(CHECK, SLOW, f"bookings of clicks: {late}")]
        if late
        else [_slow(series, scope, limits) for scope in series.scopes]
    )
    return [*found, *slow, _uncredited(series, limits)]


def _of_scope(series: MarketSeries, scope: Scope, limits: WatchLimits) -> Watched:
    day0, clicks = series.need("day0", scope), series.need("clicks", scope)
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
    recent = np.flatnonzero((age < BETTING_DAYS) & series.watched)
    count, expected, instants = _steps(series, scope, recent, before, day0, clicks * per_click)
    tolerated = TOLERATED * (1.0 - min(careful(events), 0.5))
    path = detector(count, expected, tolerated=tolerated, alternatives=[r for r in FALLS if r < 0.9 * tolerated])
    limit = limit_of(limits.years_between, 24.0)
    evidence = float(path[-1] / limit)
    since = _began(path)
    ratio = float(count[since:].sum() / max(expected[since:].sum(), 1e-9))
    effect = float(np.log(max(ratio, 0.01)))
    last = instants.index(next(one for one in instants if one[0].date() == series.day))
    today = float(count[last:].sum() / max(expected[last:].sum(), 1e-9))
    moved = evidence >= 1 and ratio < TOLERATED and today < TOLERATED  # what is over is no alarm any more
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


def _slow(series: MarketSeries, scope: Scope, limits: WatchLimits) -> Watched:
    day0, late, clicks = (series.need(name, scope) for name in ("day0", "late", "clicks"))
    says = f"bookings of clicks in {scope}"
    age = np.arange(len(series.days))[::-1]
    earlier = np.array([np.nanmean(clicks[max(0, n - _LATE_DAYS) : n]) if n else np.nan for n in range(len(clicks))])
    known = np.isfinite(day0) & np.isfinite(late) & np.isfinite(clicks) & np.isfinite(earlier)
    before = (age >= BETTING_DAYS) & (age < BETTING_DAYS + REFERENCE_DAYS) & series.usable & known
    events = float((day0 + late)[before].sum())
    if before.sum() < limits.least_days:
        reason = f"{says}: {int(before.sum())} days are known, {limits.least_days} are needed"
        return hold(CHECK, SLOW, reason, scope, why=COLD_START)
    if events < LEAST_BOOKINGS or not known[-1]:
        return hold(CHECK, SLOW, f"{says}: too few to judge", scope, why=SMALL_MARKET)
    expected = clicks * day0[before].sum() / max(clicks[before].sum(), 1.0)
    expected = expected + earlier * late[before].sum() / max(earlier[before].sum(), 1e-9)
    tolerated = SLOW_TOLERATED * (1.0 - min(careful(events), 0.5))
    last = slice(-BETTING_DAYS, None)
    usable = np.where(series.watched[last], 1.0, np.nan)
    path = detector(
        (day0 + late)[last] * usable,
        expected[last],
        tolerated=tolerated,
        alternatives=[r for r in FALLS if r < 0.9 * tolerated],
    )
    evidence = float(path[-1] / limit_of(limits.years_between, 1.0))
    since = len(clicks) - len(path) + _began(path)
    now, usual = float(np.nansum((day0 + late)[since:])), float(np.nansum(expected[since:]))
    ratio = now / max(usual, 1e-9)
    newest = slice(-_NEWEST_DAYS, None)
    lately = float(np.nansum((day0 + late)[newest]) / max(float(np.nansum(expected[newest])), 1e-9))
    moved = evidence >= 1 and ratio < SLOW_AT_LEAST and lately < SLOW_AT_LEAST
    reason = f"{says} are as many as clicks let expect"
    if moved:
        reason = (
            f"{now:.0f} {says} where {usual:.0f} were expected since {series.days[since]} ({ratio:.0%}; {evidence:.1f} x the "
            "evidence needed)"
        )
    return Watched(
        CHECK, str(scope), SLOW, Verdict.FAIL if moved else Verdict.PASS, ratio, SLOW_AT_LEAST, reason, scope=scope,
        effect=float(np.log(max(ratio, 0.01))), evidence=evidence, now=ratio, before=1.0,
        since=series.days[since] if moved else None, moved=moved,
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
    with np.errstate(divide="ignore"):
        logs = np.where(series.usable & (direct > 0), np.log(np.maximum(direct, 1.0)), np.nan)
    same = [logs[-1 - 7 * week] for week in range(1, 5) if 7 * week < len(logs) and np.isfinite(logs[-1 - 7 * week])]
    if len(same) < 3 or not np.isfinite(logs[-1]):
        return hold(
            CHECK, "uncredited", "bookings without a click: four weeks are needed to judge them", why=COLD_START
        )
    usual, count = float(np.exp(np.mean(same))), float(direct[-1])
    effect = float(np.log(count / usual))
    evidence = abs(effect) / _spread_of_weeks(logs) / UNCREDITED_SIGMAS
    moved = bool(evidence >= 1 and abs(effect) >= limits.level("uncredited", _UNCREDITED).effect)
    # As many as are missing elsewhere, about: more of them is another story.
    missing = _missing_today(series)
    moved = moved and missing > 0 and 0.4 * missing <= count - usual <= 3.0 * missing
    reason = f"{count:.0f} bookings without a click, {usual:.0f} on the same weekday before"
    return Watched(
        CHECK, "the market", "uncredited", Verdict.PASS, abs(effect), _UNCREDITED.effect, reason, effect=effect,
        evidence=float(evidence), now=count, before=usual, since=series.day if moved else None, moved=moved,
    )  # fmt: skip


def _spread_of_weeks(logs: Floats) -> float:
    """Standard deviation of a day against the same weekday of the four weeks before it, in the past; at least 4 %."""
    away = [logs[n] - np.nanmean(logs[[n - 7 * week for week in range(1, 5)]]) for n in range(28, len(logs) - 1)]
    known = np.array([one for one in away if np.isfinite(one)])
    return max(float(known.std()), 0.04) if len(known) >= 7 else 0.15


def _missing_today(series: MarketSeries) -> float:
    """Bookings on the day of their click that the judged day's clicks let expect, and that did not come."""
    day0, clicks = series.need("day0"), series.need("clicks")
    age = np.arange(len(series.days))[::-1]
    before = (age >= BETTING_DAYS) & series.usable & np.isfinite(day0) & np.isfinite(clicks)
    return float(clicks[-1] * day0[before].sum() / max(float(clicks[before].sum()), 1.0) - day0[-1])
