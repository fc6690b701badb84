"""What matured outcomes say of a canary beside its baseline: calibration in money, and profit per request.

A click is worth what it earned less what it cost. Clicks of one hotel on one day are alike, so that they are one cluster; sums over
clusters are taken for normal (Wilks; delta method for the ratio). One looks again each day, and the error probability of 1 % is shared out
over the looks by 1 / (k (k + 1)): a harmless canary is called harmful with probability 1 % at most, however often one looks.
What passes is judged by narrower, `likely` bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

ALPHA: Final = 0.01
"""Of both gates and all looks together."""
LIKELY: Final = NormalDist().inv_cdf(0.95)
"""Standard errors to either side of what passes: a harmful canary passes with probability 5 % at most at a look."""
LEAST_CLUSTERS: Final = 20
"""Fewer hotels and days say nothing of how far a sum may lie off."""


def _none() -> Floats:
    return np.empty(0)


@dataclass(frozen=True)
class ArmOutcomes:
    """What came of an arm's requests.

    Attributes:
        requests: decided by the arm, whether anybody clicked or not.
        bookings: of its clicks.
        cluster: of each click, a name for hotel and day; shape (clicks,).
        cost: of each click, micros; shape (clicks,).
        earned: what its bookings earn, micros; shape (clicks,).
        promised: what the arm's model said that it would earn, micros, NaN where no model said anything; shape (clicks,).
    """

    requests: int = 0
    bookings: int = 0
    cluster: npt.NDArray[np.str_] = field(default_factory=lambda: np.empty(0, dtype=np.str_))
    cost: Floats = field(default_factory=_none)
    earned: Floats = field(default_factory=_none)
    promised: Floats = field(default_factory=_none)


def slow_measures(canary: ArmOutcomes, baseline: ArmOutcomes, *, look: int) -> dict[str, Any]:
    """The measures of `ml.ledger.rollouts.measure`: `bookings`, `calibration`, `profit`; a part that cannot be told is absent,
    and `why` says so.

    Args:
        canary: its outcomes.
        baseline: those of the champion loaded afresh.
        look: how often one has looked, this time included, from 1.
    """
    found: dict[str, Any] = {
        "bookings": canary.bookings,
        "clicks": len(canary.cost),
        "requests": canary.requests,
        "baseline_requests": baseline.requests,
        "look": look,
    }
    z = NormalDist().inv_cdf(1 - ALPHA / 4 / (look * (look + 1)))
    why = [*_calibration(found, canary, z), *_profit(found, canary, baseline, z)]
    return found | ({"why": "; ".join(why)} if why else {})


def _calibration(found: dict[str, Any], canary: ArmOutcomes, z: float) -> list[str]:
    """Promised over earned, of the clicks of which a model said something."""
    said = np.isfinite(canary.promised)
    promised, earned = _sums(canary.cluster[said], canary.promised[said], canary.earned[said])
    if len(earned) < LEAST_CLUSTERS or earned.sum() <= 0 or promised.sum() <= 0:
        return [
            f"calibration needs bookings from {LEAST_CLUSTERS} hotels and days, there are clicks from {len(earned)}"
        ]
    ratio = float(promised.sum() / earned.sum())
    # Of the logarithm, so that the bounds are as far apart either way.
    error = float(np.sqrt(((promised - ratio * earned) ** 2).sum())) / float(promised.sum())
    found["calibration"] = {
        "low": ratio * math.exp(-z * error),
        "likely_low": ratio * math.exp(-LIKELY * error),
        "mid": ratio,
        "likely_high": ratio * math.exp(LIKELY * error),
        "high": ratio * math.exp(z * error),
    }
    return []


def _profit(found: dict[str, Any], canary: ArmOutcomes, baseline: ArmOutcomes, z: float) -> list[str]:
    """Relative difference of profit per request to the baseline's."""
    (ours,), (theirs,) = (_sums(arm.cluster, arm.earned - arm.cost) for arm in (canary, baseline))
    if min(len(ours), len(theirs)) < LEAST_CLUSTERS or not (canary.requests and baseline.requests):
        return [f"profit needs clicks from {LEAST_CLUSTERS} hotels and days in both arms"]
    each = float(theirs.sum()) / baseline.requests
    if each <= 0:
        return ["the baseline earned nothing, so that there is nothing to compare profit with"]
    ratio = float(ours.sum()) / canary.requests / each
    spread = math.hypot(
        float(np.sqrt((ours**2).sum())) / canary.requests, ratio * float(np.sqrt((theirs**2).sum())) / baseline.requests
    )
    mid, error = ratio - 1, spread / each
    found["profit"] = {
        "low": mid - z * error,
        "likely_low": mid - LIKELY * error,
        "mid": mid,
        "likely_high": mid + LIKELY * error,
        "high": mid + z * error,
    }
    return []


def _sums(cluster: npt.NDArray[np.str_], *values: Floats) -> tuple[Floats, ...]:
    """Sums per cluster: shape (clusters,) each."""
    places = np.unique(cluster, return_inverse=True)[1].ravel()
    return tuple(np.bincount(places, weights=one).astype(np.float64) if len(one) else _none() for one in values)
