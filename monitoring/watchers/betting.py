"""Counts against what was expected of them, looked at after every hour for ever.

An e-detector (Shin, Ramdas, Rinaldo 2023) bets against "the counts are Poisson with a mean within the tolerance". At each
step t with count x and expectation m, and an alternative that the mean is r m against the tolerated q m, the bet pays

    exp(x ln(r / q) - m (r - q))

whose mean is at most 1 as long as nothing is wrong. Page's CUSUM lets it start anew at every step; the mean of several
alternatives is again an e-detector. Whatever the stopping rule, the mean time between false alarms at the level A is at
least A steps, so that a limit is a promise in years and does not depend on how often one looks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from monitoring.watchers.series import Floats

FALLS, RISES = (0.05, 0.3, 0.55, 0.75), (1.5, 2.2, 4.0)
"""Alternatives of the mean over what is expected: nearly all lost, most, half, some; and the other way."""


def detector(count: Floats, expected: Floats, *, tolerated: float, alternatives: Sequence[float]) -> Floats:
    """Logarithm of the e-detector after each step, shape (steps,).

    Args:
        count: shape (steps,); a step that is not finite, or of which nothing is expected, is left out.
        expected: shape (steps,).
        tolerated: mean over expectation that is no alarm: below 1 against falls, above 1 against rises.
        alternatives: what it may be instead, each further from 1.
    """
    x, m = (np.where(np.isfinite(count) & np.isfinite(expected), v, 0.0) for v in (count, expected))
    paths = []
    for rate in alternatives:
        steps = x * math.log(rate / tolerated) - m * (rate - tolerated)
        walk = np.cumsum(steps)
        # Page: the walk over its lowest point so far, the last step always played.
        lowest = np.minimum.accumulate(np.concatenate([[0.0], walk[:-1]]))
        paths.append(walk - lowest)
    found = np.logaddexp.reduce(np.stack(paths), axis=0) - math.log(len(paths))
    return np.asarray(found, dtype=np.float64)


def limit_of(years: float, steps_a_day: float) -> float:
    """The level, as a logarithm, at which false alarms are so many years apart at the mean.

    >>> round(limit_of(10, 1), 2)
    8.2
    """
    return math.log(years * 365.0 * steps_a_day)


def careful(events: float) -> float:
    """By which factor an expectation that rests on so many events may be off: one standard deviation and some more.

    >>> round(careful(100), 2)
    0.13
    """
    return 1.28 / math.sqrt(max(events, 1.0))
