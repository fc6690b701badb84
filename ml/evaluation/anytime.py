"""Tests that may be looked at after every request: they hold at all moments together, so that peeking costs nothing.

A fixed test that is looked at 60 times sounds a false alarm in 28 % of harmless canaries. An e-process is a wager against
"no harm" that cannot win on average, at whatever moment one stops (Ville 1939); 1 / its value is a p-value for ever. What
is computed here needs the counts so far and nothing else, so that a judge that was killed goes on where it was.

Rate of the canary against the control (`e_rate`). Of m events in both arms, k are the canary's. If the canary has no
higher rate, each event is the canary's with probability at most t0 = rho n_c / (rho n_c + n_b), where n_c, n_b are the
requests and rho >= 1 is the ratio of rates that is tolerated. The wager mixes all t > t0 evenly:

    E = integral over t in (t0, 1) of t^k (1-t)^(m-k) dt / ((1 - t0) t0^k (1-t0)^(m-k))
      = B(k+1, m-k+1) (1 - I_t0(k+1, m-k+1)) / ((1 - t0) t0^k (1-t0)^(m-k))

B and I are the beta function and its regularised form. For arms of fixed shares E is a test supermartingale (Robbins 1970;
Ramdas, Gruenwald, Vovk, Shafer 2023, section 3); with t0 taken from the requests seen, k is hypergeometric, which every
convex function weighs less than the binomial (Hoeffding 1963, theorem 4), so E is an e-value at each look.

Share of one arm (`share_interval`). Events among n: E(p) = B(k+a, n-k+b) / (B(a, b) p^k (1-p)^(n-k)) is a test martingale if
the share is p; the interval is where E(p) < 1/alpha (Robbins 1970). With a = b = 1/2.

Quantile (`quantile_interval`). The number of latencies at or below the q-quantile is such a count with p = q; the interval
holds the values t whose count is not refused (Howard, Ramdas 2022, section 3).

Mean (`mean_interval`). The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas (2021): half-width
s sqrt(2 (n r^2 + 1) / (n^2 r^2) log(sqrt(n r^2 + 1) / alpha)), r chosen so that it is narrowest at a given n.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincc, betaln, xlog1py, xlogy

Ints = npt.NDArray[np.int64]

_STEPS = 200
"""Of a search, at most; each at least halves what is left."""


@dataclass(frozen=True)
class Bounds:
    """Where a number lies, for all moments together; may be infinite where too little was seen."""

    low: float
    high: float

    def over(self, other: Bounds) -> Bounds:
        """Bounds of the ratio of two positive numbers."""
        return Bounds(
            self.low / other.high if other.high > 0 else 0.0, self.high / other.low if other.low > 0 else math.inf
        )

    def less(self, other: Bounds) -> Bounds:
        """Bounds of the difference."""
        return Bounds(self.low - other.high, self.high - other.low)


def alpha_of(total: float, *, weight: float, analysis: int, planned: int) -> float:
    """The part of an error probability that one of several tests may spend in the n-th analysis (from 1).

    Bonferroni over tests, by their weights, and over analyses: the planned ones share nine tenths evenly, and restarts beyond
    them the rest, by 1 / (k (k+1)), which adds up however often it restarts.

    >>> alpha_of(0.01, weight=0.5, analysis=1, planned=3)
    0.0015
    >>> round(sum(alpha_of(0.01, weight=1.0, analysis=n, planned=3) for n in range(1, 9999)), 5)
    0.01
    """
    beyond = analysis - planned
    return total * weight * (0.9 / planned if beyond <= 0 else 0.1 / (beyond * (beyond + 1)))


def e_rate(canary_events: int, canary: int, control_events: int, control: int, *, tolerated: float = 1.0) -> float:
    """Logarithm of the wager that events are more frequent in the canary than `tolerated` x the control's rate.

    Above log(1/alpha) is harm, with error probability alpha over all moments.

    Args:
        canary_events: requests of the canary with the event, at most `canary`.
        canary: its requests.
        control_events: the same of the control.
        control: its requests.
        tolerated: ratio of the rates that is no harm.

    Returns:
        The logarithm; 0 (nothing won or lost) where an arm is empty or nothing happened.
    """
    events = canary_events + control_events
    if canary <= 0 or control <= 0 or events <= 0:
        return 0.0
    null = tolerated * canary / (tolerated * canary + control)
    a, b = canary_events + 1.0, control_events + 1.0
    upper = float(betaincc(a, b, null))
    if upper <= 0:
        return -math.inf
    won = float(betaln(a, b)) + math.log(upper) - math.log1p(-null)
    return won - float(xlogy(canary_events, null)) - float(xlog1py(control_events, -null))


def share_interval(events: int, requests: int, *, alpha: float) -> Bounds:
    """Where the share of requests with an event lies, with error probability alpha over all moments."""
    if requests <= 0:
        return Bounds(0.0, 1.0)
    k, n = float(events), float(requests)
    beyond = _log_beta(k + 0.5, n - k + 0.5) - _log_beta(0.5, 0.5) + math.log(alpha)
    low = 0.0 if events == 0 else _refused_at(k, n, beyond, side=-1)
    high = 1.0 if events == requests else _refused_at(k, n, beyond, side=1)
    return Bounds(low, high)


def _refused_at(k: float, n: float, beyond: float, *, side: int) -> float:
    """The share on one side of k / n at which the wager reaches its limit: the root of a convex function, by Newton's steps."""
    seen = k / n
    p = seen + side * math.sqrt(max(-2.0 * beyond, 1.0) * max(seen * (1 - seen), 0.5 / n) / n)
    inside, outside = seen, (1 - 2**-53 if side > 0 else 0.0)
    for _ in range(_STEPS):
        if not min(inside, outside) < p < max(inside, outside):
            p = (inside + outside) / 2 if outside else inside / 8
        won = beyond - (k * math.log(p) if k else 0.0) - ((n - k) * math.log1p(-p) if n > k else 0.0)
        if won > 0:
            outside = p
        else:
            inside = p
        step = won / ((n - k) / (1 - p) - k / p)
        if abs(step) <= 1e-13 * p + 1e-300:
            break
        p -= step
    return p


def _log_beta(a: float, b: float) -> float:
    """For single numbers ten times as fast as scipy's."""
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def quantile_interval(counts: Ints, ends: Ints, q: float, *, alpha: float) -> Bounds:
    """Where a quantile lies, from counts of values per bucket.

    Args:
        counts: values in each bucket, shape (buckets,).
        ends: the buckets' ends in ascending order, shape (buckets,); the first begins at 0.
        q: which quantile, 0 to 1.
        alpha: error probability over all moments, of both sides together.

    Returns:
        Ends of buckets; (0, inf) where too little was seen.
    """
    n = int(counts.sum())
    if n == 0:
        return Bounds(0.0, math.inf)
    below: list[int] = np.cumsum(counts).tolist()
    limit, half = -math.log(alpha), _log_beta(0.5, 0.5)

    def refused(place: int) -> bool:
        k = below[place]
        won = _log_beta(k + 0.5, n - k + 0.5) - half - k * math.log(q) - (n - k) * math.log1p(-q)
        return won >= limit

    # The further from the quantile, the more is refused: so each end is found by halving.
    first_above = bisect_right(below, q * n)
    low = bisect_left(range(bisect_left(below, q * n)), True, key=lambda place: not refused(place))
    high = first_above + bisect_left(range(first_above, len(below)), True, key=refused)
    return Bounds(float(ends[low - 1]) if low else 0.0, float(ends[high]) if high < len(below) else math.inf)


def mean_interval(n: int, total: float, total_squared: float, *, alpha: float, narrowest_at: int = 5_000) -> Bounds:
    """Where a mean lies, from a count, a sum and a sum of squares, with error probability alpha over all moments.

    Asymptotic: of use from some hundred values on. Everything is possible below 2 values.
    """
    if n < 2:
        return Bounds(-math.inf, math.inf)
    mean = total / n
    spread = math.sqrt(max(total_squared / n - mean * mean, 0.0) * n / (n - 1))
    # The r that is best at n' solves a transcendental equation; this is its usual approximation (same paper, appendix B).
    log = -2 * math.log(alpha)
    r2 = (log + math.log(log + 1)) / narrowest_at
    half = spread * math.sqrt(2 * (n * r2 + 1) / (n * n * r2) * math.log(math.sqrt(n * r2 + 1) / alpha))
    return Bounds(mean - half, mean + half)


def p_value(log_e: float) -> float:
    """The p-value, valid at every moment, of the logarithm of a wager."""
    return min(1.0, math.exp(min(0.0, -log_e)))
