"""The judge of a canary: counts of its arms in, PASS, FAIL or HOLD out, with every number. A pure function.

A gate fails when harm is shown, passes when it is shown that there is none beyond its limit, and holds else; the judge
says FAIL when one gate fails, PASS when all pass. What is missing, stale, damaged or contradicts itself is HOLD: the
judge that cannot see promotes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ml.core.verdict import Verdict, worst
from ml.evaluation.anytime import (
    Bounds,
    alpha_of,
    e_rate,
    mean_interval,
    p_value,
    quantile_interval,
    share_interval,
)
from ml.promotion.ramp import FastLimits, RampPolicy, RateLimit, SlowLimits
from ml.serving.arm_stats import BUCKET_TOPS_US, LOG_SCALE, AllStats, ArmCounts, Count, StatsKey, read_all
from ml.serving.arms import Arm


class StatsSource(Protocol):
    """Where the counts of the arms come from."""

    def read(self, key: StatsKey, now: datetime) -> AllStats:
        """The counts of one key; may raise, which the judge takes for blindness."""
        ...


@dataclass(frozen=True)
class FolderStats:
    """Counts of a bid service on this machine: the folder that its workers count in, and (`also`) where else they may."""

    folder: Path
    also: Path | None = None
    stale_after_us: int = 30_000_000

    def read(self, key: StatsKey, now: datetime) -> AllStats:
        """The sums of all workers."""
        at_us = int(now.timestamp() * 1_000_000)
        return read_all(self.folder, key, now_us=at_us, stale_after_us=self.stale_after_us, also=self.also)


@dataclass(frozen=True)
class Finding:
    """What one gate says: a number, the bounds in which it lies, its limit, and the requests behind it."""

    gate: str
    verdict: Verdict
    reason: str
    number: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    sample: int = 0
    p: float | None = None

    def as_json(self) -> dict[str, Any]:
        """For the ledger; numbers that are not finite become None."""
        numbers = {name: _finite(getattr(self, name)) for name in ("number", "low", "high", "limit", "p")}
        return {
            "gate": self.gate,
            "verdict": self.verdict.value,
            "reason": self.reason,
            **numbers,
            "sample": self.sample,
        }


@dataclass(frozen=True)
class Judgement:
    """The verdict on an analysis so far, why, and each gate; `requests` is the lesser of the two small arms'."""

    verdict: Verdict
    reason: str
    findings: tuple[Finding, ...] = ()
    requests: int = 0

    def as_json(self) -> dict[str, Any]:
        """For the ledger."""
        return {
            "verdict": self.verdict.value,
            "reason": self.reason,
            "requests": self.requests,
            "gates": [finding.as_json() for finding in self.findings],
        }


def judge(
    source: StatsSource,
    key: StatsKey,
    *,
    policy: RampPolicy,
    now: datetime,
    slow: Mapping[str, Any] | None = None,
    last_step: bool = False,
) -> Judgement:
    """Judge what was counted under a key. Never raises: a judge that fails is blind, and that is HOLD.

    Args:
        source: where the counts are.
        key: of this analysis; `key.analysis` (from 1) shares the error probability out over analyses.
        policy: the limits.
        now: the present instant.
        slow: what matured outcomes say (`ml.ledger.rollouts.measures`); None where nothing is known.
        last_step: whether the slow gates are asked.
    """
    try:
        stats = source.read(key, now)
        if (blind := _blindness(stats, key)) is not None:
            return Judgement(Verdict.HOLD, blind)
        found = _fast(stats, policy, key.analysis) + _loads(stats)
        if last_step and policy.slow is not None:
            found += slow_findings(slow, policy.slow)
        if stats.alive == 0:
            found.append(Finding("workers", Verdict.HOLD, "no worker of the bid service gives a sign of life"))
        if stats.damaged:
            found.append(Finding("workers", Verdict.HOLD, f"counters cannot be read: {', '.join(stats.damaged)}"))
        requests = min(stats.arms[arm][Count.REQUESTS] for arm in (Arm.BASELINE, Arm.CANARY))
    except Exception as error:  # noqa: BLE001  (blind, whatever the cause)
        return Judgement(Verdict.HOLD, f"the judge could not see: {type(error).__name__}: {error}")
    verdict = worst(finding.verdict for finding in found)
    reasons = [f"{finding.gate}: {finding.reason}" for finding in found if finding.verdict is verdict]
    reason = "every gate passes" if verdict is Verdict.PASS else "; ".join(reasons)
    return Judgement(verdict, reason, tuple(found), requests)


def slow_findings(measures: Mapping[str, Any] | None, limits: SlowLimits) -> list[Finding]:
    """Calibration and profit on matured outcomes; HOLD while they are not known or too few.

    `measures` is `{"bookings": n, "calibration": {"low", "mid", "high"}, "profit": {"low", "mid", "high"}}`; where one of the
    last two is not there, `why` says why. `likely_low` and `likely_high` within these bounds are what passes is judged by.
    """
    low, high = limits.calibration

    def calibration(one: Bounds, mid: float, likely: Bounds) -> Finding:
        fails, passes = one.low > high or one.high < low, low <= likely.low and likely.high <= high
        return _bounded("calibration", mid, one, high, fails=fails, passes=passes)

    def profit(one: Bounds, mid: float, likely: Bounds) -> Finding:
        fails, passes = one.high < limits.profit, likely.low >= limits.profit_unseen
        return _bounded("profit", mid, one, limits.profit, fails=fails, passes=passes)

    return [_slow(name, measures, limits, ask) for name, ask in (("calibration", calibration), ("profit", profit))]


def _slow(
    name: str, measures: Mapping[str, Any] | None, limits: SlowLimits, ask: Callable[[Bounds, float, Bounds], Finding]
) -> Finding:
    if measures is None:
        return Finding(name, Verdict.HOLD, "no outcome has matured yet", limit=None)
    try:
        bookings = int(measures["bookings"])
        part = measures[name]
        low, mid, high = (float(part[bound]) for bound in ("low", "mid", "high"))
        likely = Bounds(float(part.get("likely_low", low)), float(part.get("likely_high", high)))
    except (KeyError, TypeError, ValueError) as error:
        why = measures.get("why") or f"the measures are not complete: {error}"
        return Finding(name, Verdict.HOLD, str(why))
    ordered = low <= likely.low <= mid <= likely.high <= high
    if not (ordered and all(map(math.isfinite, (low, mid, high)))):
        return Finding(name, Verdict.HOLD, "the measures are not finite numbers in order")
    if bookings < limits.bookings:
        return Finding(name, Verdict.HOLD, f"{bookings} bookings are too few", mid, low, high, sample=bookings)
    return ask(Bounds(low, high), mid, likely)


def _blindness(stats: AllStats, key: StatsKey) -> str | None:
    """Why nothing at all can be judged; None where something can."""
    if stats.key != key:
        return "the counts are of another rollout"
    if not stats.workers:
        return "no worker of the bid service counts for this rollout"
    for arm in Arm:
        counts, latency = stats.arms[arm].counts, stats.arms[arm].latency
        requests = int(counts[Count.REQUESTS])
        if (counts < 0).any() or (latency < 0).any():
            return f"the counts of the {arm.name.lower()} are negative"
        # Each worker may be in the middle of a request, and a reader is not quick.
        if abs(int(latency.sum()) - requests) > 8 * len(stats.workers):
            return f"the counts of the {arm.name.lower()} contradict each other"
    return None


def _loads(stats: AllStats) -> list[Finding]:
    """What the living workers say of loading the candidate: FAIL where none of them can."""
    living = [worker.refused for worker in stats.workers if not worker.stale]
    refused = [why for why in living if why]
    if not refused:
        return []
    verdict = Verdict.FAIL if len(refused) == len(living) else Verdict.HOLD
    return [Finding("loads", verdict, f"{len(refused)} of {len(living)} workers cannot load it: {refused[0]}")]


def _fast(stats: AllStats, policy: RampPolicy, analysis: int) -> list[Finding]:
    limits, planned = policy.fast, len(policy.steps)
    canary, baseline = stats.arms[Arm.CANARY], stats.arms[Arm.BASELINE]
    champion = _together(stats.arms[Arm.STABLE], baseline)
    few = [
        f"{name} {arm[Count.REQUESTS]}"
        for name, arm in (("canary", canary), ("baseline", baseline))
        if arm[Count.REQUESTS] < limits.requests
    ]
    if few:
        return [Finding("requests", Verdict.HOLD, f"too few requests: {', '.join(few)} of {limits.requests}")]

    def spends(weight: float | None) -> float:
        mine = limits.weight if weight is None else weight
        return alpha_of(limits.alpha, weight=mine, analysis=max(analysis, 1), planned=planned)

    alpha = spends(None)
    gates: list[tuple[str, Callable[[], Finding]]] = [
        (one.name, lambda one=one: _rate(one, canary, baseline if one.afresh else champion, limits, spends(one.weight)))  # type: ignore[misc]
        for one in limits.rates
    ]
    gates += [
        ("latency", lambda: _latency(canary, baseline, limits, alpha)),
        ("bids", lambda: _bids(canary, champion, limits, alpha)),
        ("spend", lambda: _spend(canary, champion, limits, alpha)),
    ]
    return [_guarded(name, ask) for name, ask in gates]


def _guarded(name: str, ask: Callable[[], Finding]) -> Finding:
    try:
        found = ask()
    except (ArithmeticError, ValueError) as error:
        return Finding(name, Verdict.HOLD, f"it could not be computed: {error}")
    if found.number is None or math.isnan(found.number):
        return Finding(name, Verdict.HOLD, f"there is no number: {found.reason}")
    return found


def _rate(limit: RateLimit, canary: ArmCounts, control: ArmCounts, limits: FastLimits, alpha: float) -> Finding:
    k, n = canary[limit.count], canary[Count.REQUESTS]
    j, m = control[limit.count], control[Count.REQUESTS]
    won = e_rate(k, n, j, m, tolerated=limit.tolerated)
    told = ""
    if limit.tried and canary[Count.TRIED]:
        # Half of the stake on each: a mean of wagers is a wager. Nobody was tried on a request that came too late to be
        # decided, so that those leave the control.
        all_k, all_n = k + canary[Count.TRIED_ERRORS], n + canary[Count.TRIED]
        seen = e_rate(all_k, all_n, j, max(m - control[Count.LATE], j), tolerated=limit.tolerated)
        won = float(np.logaddexp(won, seen)) - math.log(2)
        told = f", {canary[Count.TRIED_ERRORS] / canary[Count.TRIED]:.3%} of {canary[Count.TRIED]} that it was only tried on"
    worse = share_interval(k, n, alpha=limits.beta).less(share_interval(j, m, alpha=limits.beta))
    verdict = Verdict.FAIL if won >= -math.log(alpha) else Verdict.PASS if worse.high <= limit.margin else Verdict.HOLD
    reason = f"{k / n:.3%} of the canary's requests, {j / m:.3%} of the champion's{told}"
    return Finding(
        limit.name, verdict, reason, k / n - j / m, worse.low, worse.high, limit.margin, sample=n, p=p_value(won)
    )


def _latency(canary: ArmCounts, baseline: ArmCounts, limits: FastLimits, alpha: float) -> Finding:
    def ratio(error: float) -> Bounds:
        ours, theirs = (
            quantile_interval(arm.latency, BUCKET_TOPS_US, limits.quantile, alpha=error) for arm in (canary, baseline)
        )
        return ours.over(theirs)

    shown, likely = ratio(alpha), ratio(limits.beta)
    number = _quantile(canary, limits.quantile) / _quantile(baseline, limits.quantile)
    return _bounded(
        "latency",
        number,
        likely,
        limits.latency_ratio,
        fails=shown.low > limits.latency_ratio,
        passes=likely.high <= limits.latency_ratio,
        sample=canary[Count.REQUESTS],
    )


def _bids(canary: ArmCounts, control: ArmCounts, limits: FastLimits, alpha: float) -> Finding:
    def difference(error: float) -> Bounds:
        ours, theirs = (
            mean_interval(
                arm[Count.WITH_BIDS],
                arm[Count.LOG_BID] / LOG_SCALE,
                arm[Count.LOG_BID_SQUARED] / LOG_SCALE,
                alpha=error / 2,
            )
            for arm in (canary, control)
        )
        return ours.less(theirs)

    low, high = (math.log(limit) for limit in limits.bid_ratio)
    shown, likely = difference(alpha), difference(limits.beta)
    if not (canary[Count.WITH_BIDS] and control[Count.WITH_BIDS]):
        return Finding("bids", Verdict.HOLD, "an arm has no bid")
    mean = [arm[Count.LOG_BID] / LOG_SCALE / arm[Count.WITH_BIDS] for arm in (canary, control)]
    return _bounded(
        "bids",
        math.exp(mean[0] - mean[1]),
        Bounds(_exp(likely.low), _exp(likely.high)),
        limits.bid_ratio[1],
        fails=shown.low > high or shown.high < low,
        passes=low <= likely.low and likely.high <= high,
        sample=canary[Count.WITH_BIDS],
    )


def _spend(canary: ArmCounts, control: ArmCounts, limits: FastLimits, alpha: float) -> Finding:
    if canary[Count.SPEND_MICROS] == control[Count.SPEND_MICROS] == 0:
        return Finding("spend", Verdict.PASS, "nothing is expected to be spent", 0.0, limit=limits.spend_ratio)
    if control[Count.SPEND_MICROS] == 0:
        return Finding("spend", Verdict.HOLD, "the champion is expected to spend nothing")

    def per_request(arm: ArmCounts, error: float) -> Bounds:
        units = arm[Count.SPEND_MICROS] / 1_000
        found = mean_interval(arm[Count.REQUESTS], units, float(arm[Count.SPEND_SQUARED]), alpha=error / 2)
        return Bounds(max(found.low, 0.0), found.high)

    def ratio(error: float) -> Bounds:
        return per_request(canary, error).over(per_request(control, error))

    shown, likely = ratio(alpha), ratio(limits.beta)
    number = (canary[Count.SPEND_MICROS] / canary[Count.REQUESTS]) / (
        control[Count.SPEND_MICROS] / control[Count.REQUESTS]
    )
    return _bounded(
        "spend",
        number,
        likely,
        limits.spend_ratio,
        fails=shown.low > limits.spend_ratio,
        passes=likely.high <= limits.spend_ratio,
        sample=canary[Count.REQUESTS],
    )


def _bounded(
    gate: str, number: float, bounds: Bounds, limit: float, *, fails: bool, passes: bool, sample: int = 0
) -> Finding:
    verdict = Verdict.FAIL if fails else Verdict.PASS if passes else Verdict.HOLD
    reason = f"{number:.3f}, within {bounds.low:.3f} to {bounds.high:.3f}, limit {limit}"
    return Finding(gate, verdict, reason, number, bounds.low, bounds.high, limit, sample=sample)


def _together(*arms: ArmCounts) -> ArmCounts:
    return ArmCounts(_sum(arm.counts for arm in arms), _sum(arm.latency for arm in arms))


def _sum(arrays: Iterable[Any]) -> Any:
    return np.sum(list(arrays), axis=0)


def _quantile(arm: ArmCounts, q: float) -> float:
    below = np.cumsum(arm.latency)
    return float(BUCKET_TOPS_US[int(np.searchsorted(below, q * below[-1]))])


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
