"""Off-policy estimates: what another policy would have earned, from the log of one that bid partly at random.

Every estimate is a mean over logged opportunities, weighted by how much likelier the other policy would have done
what was done. Where the weights come from:

* `density_weights`: the log holds the density of each jittered bid; the other policy has a density too.
* `kernel_weights`: the other policy is deterministic; bids near its own stand for it.
* `landscape_weights`: nothing was jittered. Whether a fixed bid wins is chance, because the rivals' bids are; so
  the landscape's probability of winning is the propensity, and won or lost is the action (arXiv 2512.03354).
  The reward must then depend on the bid through winning alone, as clicks, bookings and values do. The price of a
  second-price auction does not: take from the value so estimated the price that the landscape expects.

| estimate | mean of | source |
|---|---|---|
| IPS | w r | Horvitz and Thompson 1952 |
| SNIPS | w r / mean w | Swaminathan and Joachims, NIPS 2015 |
| DR | q(target) + w (r - q(logged)) | Dudik, Langford and Li, ICML 2011 |
| SWITCH-DR | the same with w = 0 where w is above a threshold | Wang, Agarwal and Dudik, ICML 2017 |

with w the weight, r the reward and q a model of the reward. Weights alone are noisy, and a model alone is biased:
ask several and see whether they agree. With an effective sample size, (sum w)^2 / sum w^2, below 10 % of the rows
there is no number at all: the estimate is HOLD.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ml.core.errors import PermanentError, UsageError
from ml.core.verdict import Verdict
from ml.evaluation.interval import Interval
from ml.evaluation.paired import paired_bootstrap, ratio_bootstrap

Floats: TypeAlias = npt.NDArray[np.float64]

LEAST_ESS_SHARE = 0.10
"""An effective sample size below this share of the rows is refused."""

BLOCKS = 100
"""Rows without blocks of their own are resampled in so many runs of neighbours."""


@dataclass(frozen=True)
class Weights:
    """How much likelier than the logging policy another one was to do what was done, shape (rows,), mean near 1."""

    values: Floats

    @property
    def ess(self) -> float:
        """Effective sample size, (sum w)^2 / sum w^2; 0 where every weight is 0."""
        largest = float(self.values.max(initial=0.0))
        scaled = self.values / largest if largest else self.values
        squares = float(np.square(scaled).sum())
        return float(scaled.sum()) ** 2 / squares if squares else 0.0

    @property
    def mean(self) -> float:
        """Near 1 where the densities are right; far from it, the log was not made as it says."""
        return float(self.values.mean())

    @property
    def largest_share(self) -> float:
        """Share of all weight that one row has."""
        total = float(self.values.sum())
        return float(self.values.max()) / total if total else 0.0


@dataclass(frozen=True)
class Estimate:
    """An off-policy estimate with what it rests on.

    Attributes:
        verdict: PASS: the value may be used. HOLD: it was refused, `value` and `interval` are None.
        value: mean reward per opportunity under the other policy, in the unit of the rewards.
        interval: of the value, by bootstrap over blocks.
        ess: effective sample size, in rows.
        mean_weight: near 1 where the densities are right.
        largest_share: share of all weight that one row has.
        rows: number of opportunities logged.
        reason: why it was refused, in one sentence; empty if it was not.
        terms: contribution of each row, whose mean is the value (for SNIPS to first order); None when refused.
    """

    verdict: Verdict
    value: float | None
    interval: Interval | None
    ess: float
    mean_weight: float
    largest_share: float
    rows: int
    reason: str = ""
    terms: Floats | None = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """All but the terms."""
        return {
            "verdict": self.verdict.value,
            "value": self.value,
            "interval": self.interval.as_json() if self.interval else None,
            "ess": self.ess,
            "mean_weight": self.mean_weight,
            "largest_share": self.largest_share,
            "rows": self.rows,
            "reason": self.reason,
        }


def log_normal_density(multiplier: npt.ArrayLike, *, sd: float, centre: npt.ArrayLike = 1.0) -> Floats:
    """Density, per unit of log multiplier, of a jitter exp(N(log centre, sd^2)); shape of the multipliers."""
    if not sd > 0:
        raise UsageError(f"a jitter of sd {sd} is none", next="give a standard deviation above 0")
    z = (np.log(np.asarray(multiplier, np.float64)) - np.log(np.asarray(centre, np.float64))) / sd
    return np.asarray(np.exp(-0.5 * z * z) / (sd * math.sqrt(2 * math.pi)), np.float64)


def density_weights(target: npt.ArrayLike, logged: npt.ArrayLike) -> Weights:
    """Weights of a policy that jitters too.

    Args:
        target: its density at the logged action, shape (rows,), 0 or more.
        logged: the logging policy's density there, in the same unit, shape (rows,), above 0.
    """
    above, below = _column(target, "target density"), _column(logged, "logged density")
    _same_rows(above, below)
    _all(above >= 0, above, "target density", "0 or more")
    _all(below > 0, below, "logged density", "above 0")
    return _weights(above, below)


def kernel_weights(
    log_target: npt.ArrayLike, log_action: npt.ArrayLike, logged: npt.ArrayLike, *, bandwidth: float
) -> Weights:
    """Weights of a deterministic policy: an Epanechnikov kernel around its own action.

    Args:
        log_target: log of the action that it would take, shape (rows,).
        log_action: log of the logged action, shape (rows,).
        logged: density of the logged action per unit of its log, shape (rows,), above 0.
        bandwidth: half width of the kernel, in units of the log, above 0. Wider is steadier and more biased; half
            of the jitter's standard deviation is a fair start.
    """
    if not (bandwidth > 0 and math.isfinite(bandwidth)):
        raise UsageError(f"a bandwidth of {bandwidth} is none", next="give a bandwidth above 0")
    aim, action = _column(log_target, "log target"), _column(log_action, "log action")
    _same_rows(aim, action)
    distance = (aim - action) / bandwidth
    return density_weights(np.maximum(0.75 * (1 - distance * distance), 0.0) / bandwidth, logged)


def landscape_weights(won: npt.ArrayLike, *, target: npt.ArrayLike, logged: npt.ArrayLike) -> Weights:
    """Weights of a policy from the probabilities of winning at its bids and at the logged ones.

    Args:
        won: whether the logged bid won, 0 or 1, shape (rows,).
        target: the landscape's probability of winning at the bid of the other policy, shape (rows,), 0 to 1.
        logged: the same at the logged bid; where it is 0 nothing was won, where it is 1 nothing was lost.
    """
    wins, aim, chance = _column(won, "won"), _column(target, "win probability"), _column(logged, "win probability")
    _same_rows(wins, aim, chance)
    _all((wins == 0) | (wins == 1), wins, "won", "0 or 1")
    for probability in (aim, chance):
        _all((probability >= 0) & (probability <= 1), probability, "win probability", "between 0 and 1")
    above, below = np.where(wins == 1, aim, 1 - aim), np.where(wins == 1, chance, 1 - chance)
    _all(below > 0, chance, "win probability", "one under which the logged outcome can happen")
    return _weights(above, below)


def place_weights(place: npt.ArrayLike, *, target: npt.ArrayLike, logged: npt.ArrayLike) -> Weights:
    """`landscape_weights` where more than won and lost can happen: the place in a list, 0 for not shown.

    Args:
        place: what the logged bid reached, whole numbers from 0, shape (rows,).
        target: the landscape's probability of each place at the bid of the other policy (its mean over a random one),
            shape (rows, places), each row a distribution.
        logged: the same at the logged bid; above 0 for what was reached.
    """
    reached = np.asarray(place, dtype=np.int64).ravel()
    aim, chance = (np.asarray(table, dtype=np.float64) for table in (target, logged))
    if not (aim.ndim == 2 and aim.shape == chance.shape and len(aim) == len(reached)):
        shapes = ", ".join(str(column.shape) for column in (reached, aim, chance))
        raise UsageError(f"places and their probabilities do not match: {shapes}", next="give one row for each place")
    _all((reached >= 0) & (reached < aim.shape[1]), reached.astype(np.float64), "place", f"of 0 to {aim.shape[1] - 1}")
    for table in (aim, chance):
        sums = table.sum(axis=1)
        _all(
            (table >= 0).all(axis=1) & (np.abs(sums - 1) < 1e-6), sums, "sum of probabilities", "1, of numbers above 0"
        )
    rows = np.arange(len(reached))
    return density_weights(aim[rows, reached], chance[rows, reached])


def ips(reward: npt.ArrayLike, weights: Weights, *, seed: int, blocks: npt.ArrayLike | None = None) -> Estimate:
    """Inverse propensity score: unbiased, noisy.

    Args:
        reward: of each opportunity, shape (rows,), finite.
        weights: of the same rows.
        seed: of the resampling.
        blocks: what each row is resampled with, its day or cell; None for runs of neighbouring rows.
    """
    return _estimate(weights.values * _rewards(reward, weights), weights, seed, blocks)


def snips(reward: npt.ArrayLike, weights: Weights, *, seed: int, blocks: npt.ArrayLike | None = None) -> Estimate:
    """Self-normalised IPS: a little biased, far steadier, exact where the reward is constant. Args as `ips`."""
    rewards = _rewards(reward, weights)
    refused = _refusal(weights)
    if refused is not None:
        return refused
    interval = ratio_bootstrap(weights.values * rewards, weights.values, _blocks(blocks, len(rewards)), seed=seed)
    terms = interval.mid + weights.values * (rewards - interval.mid) / weights.mean
    return _passed(weights, interval, terms)


def doubly_robust(
    reward: npt.ArrayLike,
    weights: Weights,
    *,
    model_target: npt.ArrayLike,
    model_logged: npt.ArrayLike,
    seed: int,
    blocks: npt.ArrayLike | None = None,
) -> Estimate:
    """Doubly robust: unbiased if the weights or the model are right. Args as `ips`, and:

    Args:
        model_target: the model's reward under the other policy's action (its mean over a random one), shape (rows,).
        model_logged: the model's reward under the logged action, shape (rows,); it must not be fitted on these rows.
    """
    return switch_dr(
        reward,
        weights,
        model_target=model_target,
        model_logged=model_logged,
        threshold=math.inf,
        seed=seed,
        blocks=blocks,
    )


def switch_dr(
    reward: npt.ArrayLike,
    weights: Weights,
    *,
    model_target: npt.ArrayLike,
    model_logged: npt.ArrayLike,
    threshold: float,
    seed: int,
    blocks: npt.ArrayLike | None = None,
) -> Estimate:
    """Doubly robust where the weight is at most `threshold`, the model alone where it is above. Args as there."""
    if not threshold >= 0:
        raise UsageError(f"a weight threshold of {threshold} is none", next="give 0 or more")
    rewards = _rewards(reward, weights)
    aim, action = _column(model_target, "model reward"), _column(model_logged, "model reward")
    _same_rows(rewards, aim, action)
    used = np.where(weights.values <= threshold, weights.values, 0.0)
    return _estimate(aim + used * (rewards - action), weights, seed, blocks)


def difference(ours: Estimate, theirs: Estimate, *, seed: int, blocks: npt.ArrayLike | None = None) -> Interval | None:
    """The first estimate minus the second, from the same rows, with its interval; None where one was refused."""
    if ours.terms is None or theirs.terms is None:
        return None
    _same_rows(ours.terms, theirs.terms)
    return paired_bootstrap(ours.terms, theirs.terms, _blocks(blocks, ours.rows), seed=seed)


def _estimate(terms: Floats, weights: Weights, seed: int, blocks: npt.ArrayLike | None) -> Estimate:
    refused = _refusal(weights)
    if refused is not None:
        return refused
    return _passed(weights, ratio_bootstrap(terms, np.ones(len(terms)), _blocks(blocks, len(terms)), seed=seed), terms)


def _passed(weights: Weights, interval: Interval, terms: Floats) -> Estimate:
    if not interval.finite:
        return _held(
            weights, f"{interval.blocks} block(s) of rows give no interval: log at least two, with some weight"
        )
    ess, share = weights.ess, weights.largest_share
    return Estimate(Verdict.PASS, interval.mid, interval, ess, weights.mean, share, len(terms), terms=terms)


def _held(weights: Weights, reason: str) -> Estimate:
    rows = len(weights.values)
    return Estimate(Verdict.HOLD, None, None, weights.ess, weights.mean, weights.largest_share, rows, reason)


def _refusal(weights: Weights) -> Estimate | None:
    rows = len(weights.values)
    if weights.ess >= LEAST_ESS_SHARE * rows:
        return None
    return _held(
        weights,
        f"the effective sample size {weights.ess:.0f} is below {LEAST_ESS_SHARE:.0%} of {rows} rows: "
        "the log says too little of this policy; log more jitter, or ask of a policy nearer to the logged one",
    )


def _weights(above: Floats, below: Floats) -> Weights:
    with np.errstate(over="ignore"):
        values = above / below
    _all(np.isfinite(values), below, "logged density", "large enough to divide by")
    return Weights(values)


def _blocks(blocks: npt.ArrayLike | None, rows: int) -> npt.NDArray[Any]:
    return np.arange(rows) * BLOCKS // rows if blocks is None else np.asarray(blocks)


def _rewards(reward: npt.ArrayLike, weights: Weights) -> Floats:
    rewards = _column(reward, "reward")
    _same_rows(rewards, weights.values)
    return rewards


def _column(values: npt.ArrayLike, what: str) -> Floats:
    column = np.asarray(values, np.float64).ravel()
    if not len(column):
        raise UsageError(f"there is no {what}: the log is empty", next="give at least one row")
    _all(np.isfinite(column), column, what, "a finite number")
    return column


def _all(right: npt.NDArray[np.bool_], values: Floats, what: str, allowed: str) -> None:
    if not right.all():
        at = int(np.flatnonzero(~right)[0])
        raise PermanentError(f"the {what} of row {at} is {values[at]:g}, not {allowed}", next="correct the log")


def _same_rows(*columns: Floats) -> None:
    if len({len(column) for column in columns}) != 1:
        lengths = ", ".join(str(len(column)) for column in columns)
        raise UsageError(f"columns of different lengths are no log: {lengths}", next="give one value per row in each")
