"""How a candidate comes to power: steps of a ramp, limits of its judge, patience; typed values with one digest."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Any

from ml.core.digests import Digest, digest_json
from ml.serving.arm_stats import Count
from ml.serving.arms import Shares

OTHER_GATES = 3
"""Fast gates besides the rates: latency, bids, spend."""


@dataclass(frozen=True)
class Step:
    """One step of a ramp; it ends with PASS after this time and this many requests of the canary and of the baseline.

    Attributes:
        answers: whether the candidate answers its share; else it is tried on as many requests and answers none (shadow).
        shares: of the keys.
        requests: of each of the two small arms, at least.
        watched: under watch, at least.
    """

    name: str
    answers: bool
    shares: Shares
    requests: int
    watched: timedelta


@dataclass(frozen=True)
class RateLimit:
    """A share of requests that a candidate may not make worse.

    Attributes:
        name: of the gate.
        count: which requests.
        tolerated: ratio to the control's share that is no harm.
        margin: how much higher the share may at most be shown to be, absolutely, for PASS.
        afresh: compare with the baseline alone, because loading a model afresh may cause such requests.
        weight: its part of the error probability; those that have none share what is left with the other gates.
        tried: whether requests tell too that the candidate was only tried on (`ml.serving.arms.beside`).
    """

    name: str
    count: Count
    tolerated: float
    margin: float
    afresh: bool = False
    weight: float | None = None
    tried: bool = False


@dataclass(frozen=True)
class FastLimits:
    """Limits of what is known at once. `alpha`: of rolling back a harmless candidate, over all gates, looks and steps.

    Attributes:
        beta: of passing a step without cause, per gate.
        requests: of each small arm below which nothing is judged.
        quantile: which latency is compared, and the ratio to the baseline's at most.
        bid_ratio: lowest and highest ratio of mean bids (geometric, per request) to the champion's.
        spend_ratio: highest ratio of expected spend per request to the champion's.
    """

    alpha: float = 0.01
    beta: float = 0.05
    requests: int = 200
    rates: tuple[RateLimit, ...] = (
        RateLimit("errors", Count.ERRORS, tolerated=1.0, margin=0.01, weight=0.5, tried=True),
        RateLimit("deadline", Count.LATE, tolerated=1.25, margin=0.01, afresh=True),
        RateLimit("no_bid", Count.NO_BID, tolerated=1.1, margin=0.05),
        RateLimit("fallback", Count.FALLBACK, tolerated=1.0, margin=0.01),
        RateLimit("defaults", Count.DEFAULTS, tolerated=1.25, margin=0.05),
        RateLimit("out_of_range", Count.OUT_OF_RANGE, tolerated=1.0, margin=0.01),
    )
    quantile: float = 0.99
    latency_ratio: float = 1.5
    bid_ratio: tuple[float, float] = (0.8, 1.25)
    spend_ratio: float = 1.25

    @property
    def weight(self) -> float:
        """The part of the error probability of a gate that has none of its own."""
        own = [one.weight for one in self.rates if one.weight is not None]
        return (1 - sum(own)) / (len(self.rates) - len(own) + OTHER_GATES)


@dataclass(frozen=True)
class SlowLimits:
    """Limits of what matured outcomes tell; see `ml.ledger.rollouts.measure`.

    Attributes:
        calibration: lowest and highest ratio of promised to realised value.
        profit: relative difference of profit to the baseline's; shown to be below it fails.
        profit_unseen: a loss larger than this has to be ruled out. To rule out what fails would take a hundred thousand bookings.
        bookings: at least, of the canary. Of a conversion of 3 %, 200 bookings are 6,700 clicks; to see a change of the
            click rate by -10 % at 1 % takes 93,000 impressions of the canary, and 941,000 at 0.1 %.
    """

    calibration: tuple[float, float] = (0.8, 1.25)
    profit: float = -0.02
    profit_unseen: float = -0.15
    bookings: int = 200


@dataclass(frozen=True)
class RampPolicy:
    """A ramp with its limits.

    Attributes:
        steps: in order.
        fast: limits of the fast gates, at every step.
        slow: limits of the slow gates, at the last step; None asks for none.
        max_hold: for how long without a break the judge may not be able to tell; then the candidate is rolled back.
        every: time between two ticks, as meant.
        gap: time between two ticks above which the time in between was not watched.
        stale_after: since a worker's last sign of life.
        cooldown: after a rollback, before the next candidate starts.
        max_automatic: rollbacks by the judge within `freeze_within`; with the last of them nothing moves by itself any more.
    """

    steps: tuple[Step, ...]
    fast: FastLimits = FastLimits()
    slow: SlowLimits | None = None
    max_hold: timedelta = timedelta(hours=6)
    every: timedelta = timedelta(seconds=5)
    gap: timedelta = timedelta(minutes=2)
    stale_after: timedelta = timedelta(seconds=30)
    cooldown: timedelta = timedelta(hours=1)
    max_automatic: int = 3
    freeze_within: timedelta = timedelta(days=30)

    def as_json(self) -> dict[str, Any]:
        """Every limit by name."""
        found = _plain(self)
        return dict(found)

    def digest(self) -> Digest:
        """The policy's identity: another limit, another digest."""
        return digest_json(self.as_json())


RAMP = RampPolicy(
    steps=(
        Step("shadow", False, Shares(0.05, 0.05), requests=5_000, watched=timedelta(minutes=10)),
        Step("canary 5 %", True, Shares(0.05, 0.05), requests=10_000, watched=timedelta(minutes=20)),
        Step("canary 25 %", True, Shares(0.25, 0.25), requests=50_000, watched=timedelta(minutes=30)),
    )
)
"""What a candidate goes through where the setting `rollout` is `canary`."""


def ramp_for(slow_hours: int) -> RampPolicy:
    """The ramp of the settings: with slow gates, which may take so many hours, or (0) without."""
    if not slow_hours:
        return RAMP
    return RampPolicy(RAMP.steps, slow=SlowLimits(), max_hold=timedelta(hours=slow_hours))


def _plain(value: Any) -> Any:
    if isinstance(value, IntEnum):
        return value.name
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    return value
