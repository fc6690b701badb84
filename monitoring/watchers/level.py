"""A ratio of two sums against its own past weeks: how far it moved, and whether it moves so far by itself.

The limit has two parts, and both must be passed: the size of the move, and its distance in standard deviations of the
reference days' own spread. More rows make the second easier to pass, never the first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.core.verdict import Verdict
from monitoring.findings import COLD_START, SMALL_MARKET
from monitoring.watchers.limits import Level, WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import Floats, MarketSeries, Scope

WINDOWS = ((1, 1.25), (3, 1.0))
"""Days judged together, and by how much their limit in standard deviations is raised: one odd day says less than three."""

_MAD_TO_SD = 1.4826


@dataclass(frozen=True)
class Ratio:
    """What is watched.

    Attributes:
        check: name of the watcher.
        measure: name of the ratio.
        top, bottom: names of the sums it is made of.
        limit: when it counts as moved, unless the limits say otherwise.
        says: the ratio in words, as in "our price over the cheapest rival's".
        is_log: the top is a sum of logarithms already, so that the ratio itself is compared.
        is_share: differences of the ratio itself are compared: where it is near 0, its logarithm says nothing.
        alarms: a move of it is a reason to tell people; else it is evidence of a cause.
        nothing: least value of the ratio that is told apart from 0.
    """

    check: str
    measure: str
    top: str
    bottom: str
    limit: Level
    says: str
    is_log: bool = False
    is_share: bool = False
    alarms: bool = True
    nothing: float = 0.01


def watch_ratio(ratio: Ratio, series: MarketSeries, limits: WatchLimits) -> list[Watched]:
    """A finding for each part of the market; one HOLD where the source does not provide it."""
    missing = series.why_missing(ratio.top, ratio.bottom)
    if missing:
        return [hold(ratio.check, ratio.measure, f"{ratio.says}: {missing}")]
    return [_of_scope(ratio, series, scope, limits) for scope in series.scopes]


def hold(check: str, measure: str, reason: str, scope: Scope | None = None, *, why: str = "missing") -> Watched:
    """Nothing can be told: `why` is `missing`, or one of the quiet reasons of `monitoring.findings`."""
    scope = scope or Scope()
    return Watched(
        why if why != "missing" else check, str(scope), measure, Verdict.HOLD, None, None, reason, scope=scope
    )


def reference_days(series: MarketSeries, limits: WatchLimits) -> Floats:
    """1 on the days that the last one is held against, else 0; shape (days,)."""
    age = np.arange(len(series.days))[::-1]
    inside = (age >= limits.gap_days + 1) & (age <= limits.gap_days + limits.reference_days)
    return np.asarray(inside & series.usable, dtype=np.float64)


def _of_scope(ratio: Ratio, series: MarketSeries, scope: Scope, limits: WatchLimits) -> Watched:
    limit = limits.level(ratio.measure, ratio.limit)
    top, bottom = series.need(ratio.top, scope), series.need(ratio.bottom, scope)
    known = np.isfinite(top) & np.isfinite(bottom) & (bottom >= limit.least)
    plain = np.divide(top, bottom, out=np.full(len(top), np.nan), where=known & (bottom > 0))
    return judge_level(ratio, plain, series, scope, limits)


def judge_level(ratio: Ratio, plain: Floats, series: MarketSeries, scope: Scope, limits: WatchLimits) -> Watched:
    """The finding of a ratio by day, shape (days,), NaN where too little was seen."""
    limit = limits.level(ratio.measure, ratio.limit)
    values = plain if ratio.is_log or ratio.is_share else np.log(np.maximum(plain, ratio.nothing))
    before = values[(reference_days(series, limits) > 0) & np.isfinite(values)]
    if not np.isfinite(values[-1]):
        reason = f"{ratio.says} in {scope} cannot be told of {series.day}: too little was seen"
        return hold(ratio.check, ratio.measure, reason, scope, why=SMALL_MARKET)
    if len(before) < limits.least_days:
        reason = f"{ratio.says} in {scope}: {len(before)} days are known, {limits.least_days} are needed"
        return hold(ratio.check, ratio.measure, reason, scope, why=COLD_START)
    base = float(np.median(before))
    spread = max(_MAD_TO_SD * float(np.median(np.abs(before - base))), limit.floor)
    effect, evidence, days = max(
        (_window(values, base, spread, len(before), limit, k, more) for k, more in WINDOWS), key=lambda x: x[1]
    )
    moved = evidence >= 1 and abs(effect) >= limit.effect
    now, was = (_told(ratio, base + part) for part in (effect, 0.0))
    over = "" if days == 1 else f" over {days} days"
    reason = f"{ratio.says}, {scope}: {now:.3g}{over}, {was:.3g} before"
    reason += (
        f" (moved by {abs(effect):.2f}, limit {limit.effect:g}; {evidence:.1f} x the evidence needed)" if moved else ""
    )
    return Watched(
        ratio.check, str(scope), ratio.measure, Verdict.FAIL if moved and ratio.alarms else Verdict.PASS,
        abs(effect), limit.effect, reason, scope=scope, effect=effect, evidence=evidence, now=now, before=was,
        since=series.days[_since(values, base, effect)] if moved else None, moved=moved,
    )  # fmt: skip


def _window(
    values: Floats, base: float, spread: float, n: int, limit: Level, days: int, more: float
) -> tuple[float, float, int]:
    """How far the last days lie from the base, how sure that is over what is needed, and how many days these are."""
    last = values[-days:]
    if not np.isfinite(last).all():
        return 0.0, 0.0, days
    away = last - base
    if days > 1 and not ((away > 0).all() or (away < 0).all()):
        return float(away.mean()), 0.0, days
    # Days are alike, so three of them are not three times the evidence of one.
    sd = spread * np.sqrt((1.0 + (days - 1) * _ALIKE) / days + 1.0 / n)
    return float(away.mean()), float(abs(away.mean()) / sd / (limit.sigmas * more)), days


_ALIKE = 0.25
"""Correlation of the spread of neighbouring days that is reckoned with."""


def _since(values: Floats, base: float, effect: float) -> int:
    """The first of the last days that lie at least half as far out on the same side."""
    place = len(values) - 1
    while (
        place > 0 and np.isfinite(values[place - 1]) and (values[place - 1] - base) * np.sign(effect) >= abs(effect) / 2
    ):
        place -= 1
    return place


def _told(ratio: Ratio, value: float) -> float:
    """The ratio as people read it."""
    return value if ratio.is_share else float(np.exp(value))
