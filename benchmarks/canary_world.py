"""A simulated bid service for the judge of canaries: counts of three arms as time goes by, and twenty ways to be blind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ml.core.errors import StoreUnavailable
from ml.promotion.ramp import RAMP
from ml.serving.arm_stats import (
    BUCKET_TOPS_US,
    LOG_SCALE,
    AllStats,
    ArmCounts,
    Count,
    StatsKey,
    Worker,
)
from ml.serving.arms import ALL_STABLE, Arm, Shares


@dataclass(frozen=True)
class Service:
    """What requests meet at one arm: shares of requests with an event, and log-normal bids, spend and latency."""

    errors: float = 0.002
    late: float = 0.003
    no_bid: float = 0.2
    defaults: float = 0.05
    fallback: float = 0.002
    out_of_range: float = 0.0002
    bid_log_mean: float = 12.5
    bid_log_sd: float = 0.8
    spend_log_mean: float = 8.0
    spend_log_sd: float = 1.2
    latency_ms: float = 1.2
    latency_log_sd: float = 0.5


@dataclass
class World:
    """Requests at a rate, split into arms; `read` is what a `StatsSource` gives.

    Attributes:
        rate: requests a second, of all arms.
        services: what each arm is like.
        shares: of the small arms; `next_analysis` changes them and begins at zero.
    """

    rate: float
    services: Mapping[Arm, Service]
    seed: int
    shares: Shares = ALL_STABLE
    workers: tuple[Worker, ...] = (Worker(1, 0, 0, stale=False), Worker(2, 0, 0, stale=False))
    _rng: np.random.Generator = field(init=False)
    _counts: dict[Arm, npt.NDArray[np.float64]] = field(init=False)
    _latency: dict[Arm, npt.NDArray[np.int64]] = field(init=False)
    _odds: dict[Arm, npt.NDArray[np.float64]] = field(init=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._odds = {arm: _bucket_odds(service) for arm, service in self.services.items()}
        self.next_analysis(self.shares)

    def next_analysis(self, shares: Shares, *, tried: float = 0.0) -> None:
        """Other shares, and counts from zero; `tried` is the share of requests that the canary is tried on beside its own."""
        self.shares, self.tried = shares, tried
        self._counts = {arm: np.zeros(len(Count)) for arm in Arm}
        self._latency = {arm: np.zeros(len(BUCKET_TOPS_US), dtype=np.int64) for arm in Arm}

    def serve(self, seconds: float) -> None:
        """Let this many seconds of requests come."""
        small = {Arm.BASELINE: self.shares.baseline, Arm.CANARY: self.shares.canary}
        for arm in Arm:
            share = small.get(arm, 1 - self.shares.baseline - self.shares.canary)
            self._add(arm, int(self._rng.poisson(self.rate * share * seconds)))
        tried = int(self._rng.poisson(self.rate * self.tried * seconds))
        self._counts[Arm.CANARY][Count.TRIED] += tried
        self._counts[Arm.CANARY][Count.TRIED_ERRORS] += self._rng.binomial(tried, self.services[Arm.CANARY].errors)

    def read(self, key: StatsKey, now: datetime) -> AllStats:  # noqa: ARG002  (the source's signature)
        """The counts so far."""
        arms = {arm: ArmCounts(self._counts[arm].astype(np.int64), self._latency[arm].copy()) for arm in Arm}
        return AllStats(key, arms, self.workers)

    def _add(self, arm: Arm, n: int) -> None:
        service, rng, counts = self.services[arm], self._rng, self._counts[arm]
        if not n:
            return
        events = {
            Count.ERRORS: service.errors, Count.LATE: service.late, Count.NO_BID: service.no_bid,
            Count.DEFAULTS: service.defaults, Count.FALLBACK: service.fallback,
            Count.OUT_OF_RANGE: service.out_of_range,
        }  # fmt: skip
        counts[Count.REQUESTS] += n
        counts[Count.CANDIDATES] += 20 * n
        for name, share in events.items():
            counts[name] += rng.binomial(n, share)
        with_bids = int(rng.binomial(n, 1 - service.no_bid))
        # Mean and variance of a normal sample are independent, so that this is exact.
        mean = rng.normal(service.bid_log_mean, service.bid_log_sd / np.sqrt(max(with_bids, 1)))
        spread = service.bid_log_sd**2 * rng.chisquare(max(with_bids - 1, 1))
        counts[Count.WITH_BIDS] += with_bids
        counts[Count.LOG_BID] += with_bids * mean * LOG_SCALE
        counts[Count.LOG_BID_SQUARED] += (with_bids * mean**2 + spread) * LOG_SCALE
        counts[Count.BID_MICROS] += with_bids * np.exp(mean)
        sums = _spends(service.spend_log_mean, service.spend_log_sd)
        at = int(rng.integers(0, sums.shape[1] - n))
        spent, squared = sums[:, at + n] - sums[:, at]
        counts[Count.SPEND_MICROS] += spent
        counts[Count.SPEND_SQUARED] += squared
        self._latency[arm] += rng.multinomial(n, self._odds[arm])


@lru_cache(maxsize=4)
def _spends(log_mean: float, log_sd: float) -> npt.NDArray[np.float64]:
    """Running sums of spend and of its square (of thousandths): a stretch of n is a sample of n requests."""
    spend = np.random.default_rng(0).lognormal(log_mean, log_sd, 4_000_000)
    return np.stack([np.concatenate([[0.0], values.cumsum()]) for values in (spend, (spend / 1_000) ** 2)])


def even(rate: float, seed: int, *, service: Service | None = None) -> World:
    """A world in which the candidate is the champion."""
    same = service or Service()
    return World(rate, dict.fromkeys(Arm, same), seed)


def worse(rate: float, seed: int, **changed: float) -> World:
    """A world whose candidate differs."""
    world = even(rate, seed).services
    return World(rate, {**world, Arm.CANARY: replace(world[Arm.CANARY], **changed)}, seed)


def _bucket_odds(service: Service) -> npt.NDArray[np.float64]:
    from scipy.stats import norm

    ends = norm.cdf(np.log(BUCKET_TOPS_US / (service.latency_ms * 1_000)) / service.latency_log_sd)
    odds = np.diff(ends, prepend=0.0)
    return np.asarray(odds / odds.sum())


@dataclass
class Blind:
    """A source that hides something of a world, and a clock that may jump; the judge must not promote on it."""

    name: str
    world: World
    hide: Callable[[AllStats], object]

    def read(self, key: StatsKey, now: datetime) -> AllStats:
        """What is left to see."""
        return self.hide(self.world.read(key, now))  # type: ignore[return-value]  # some are no such thing


def _arm(stats: AllStats, arm: Arm, counts: object = None, latency: object = None) -> AllStats:
    old = stats.arms[arm]
    new = ArmCounts(
        old.counts if counts is None else counts,  # type: ignore[arg-type]
        old.latency if latency is None else latency,  # type: ignore[arg-type]
    )
    return replace(stats, arms={**stats.arms, arm: new})


def _with(stats: AllStats, arm: Arm, **values: float) -> AllStats:
    counts = stats.arms[arm].counts.astype(float)
    for name, value in values.items():
        counts[Count[name.upper()]] = value
    return _arm(stats, arm, counts)


def _raise(error: Exception) -> AllStats:
    raise error


def _nothing(stats: AllStats, arm: Arm) -> AllStats:
    old = stats.arms[arm]
    return _arm(stats, arm, np.zeros_like(old.counts), np.zeros_like(old.latency))


BLIND: Mapping[str, Callable[[AllStats], object]] = {
    "no counts at all": lambda _: None,
    "the counts cannot be read": lambda _: _raise(StoreUnavailable("the folder cannot be read")),
    "the source hangs up": lambda _: _raise(ConnectionResetError()),
    "the source is out of memory": lambda _: _raise(MemoryError()),
    "no worker": lambda s: replace(s, workers=()),
    "every worker is stale": lambda s: replace(s, workers=tuple(replace(w, stale=True) for w in s.workers)),
    "a file is damaged": lambda s: replace(s, damaged=("arms-1-1-1-x.i64",)),
    "the canary is empty": lambda s: _nothing(s, Arm.CANARY),
    "the baseline is empty": lambda s: _nothing(s, Arm.BASELINE),
    "both small arms are empty": lambda s: _nothing(_nothing(s, Arm.CANARY), Arm.BASELINE),
    "counts of another rollout": lambda s: replace(s, key=replace(s.key, rollout=s.key.rollout + 1)),
    "counts of another generation": lambda s: replace(s, key=replace(s.key, generation=s.key.generation + 1)),
    "counts of the analysis before": lambda s: replace(s, key=replace(s.key, analysis=s.key.analysis - 1)),
    "sums that are no numbers": lambda s: _with(s, Arm.CANARY, log_bid=np.nan),
    "sums that are infinite": lambda s: _with(s, Arm.CANARY, log_bid_squared=np.inf),
    "negative counts": lambda s: _with(s, Arm.CANARY, errors=-1),
    "no latency": lambda s: _arm(s, Arm.CANARY, latency=np.zeros_like(s.arms[Arm.CANARY].latency)),
    "an arm without bids": lambda s: _with(s, Arm.CANARY, with_bids=0, log_bid=0, log_bid_squared=0),
    "an arm is missing": lambda s: replace(s, arms={Arm.STABLE: s.arms[Arm.STABLE]}),
    "few requests": lambda s: replace(s, arms={arm: _few(s.arms[arm]) for arm in Arm}),
}
"""Twenty ways in which a judge can be blind."""

CLOCKS: Mapping[str, Callable[[datetime, int], datetime]] = {
    "the clock jumps ahead every time": lambda at, n: at + timedelta(hours=n),
    "the clock goes back": lambda at, n: at - timedelta(seconds=60 * n),
    "the clock stands still": lambda at, n: at - n * RAMP.every,
}
"""Clocks that a judge must not promote by: from the true instant and the number of the tick."""


def _few(arm: ArmCounts) -> ArmCounts:
    return ArmCounts(arm.counts // 1_000_000, np.zeros_like(arm.latency))
