"""Does the money come that the model promised? Predicted against realised net value on mature rows.

A booking is mature when its planned check-out has passed: then its cancellation and its stay are both
certain. Choosing rows by when their outcome became known would favour cancellations, which are known earlier.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ml.core.units import known_by
from ml.core.verdict import Verdict
from monitoring.findings import COLD_START, Finding, held
from monitoring.subject import numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAY, EXPECTED, REALISED = "day", "expected_micros", "realised_micros"
"""Columns of mature rows: the day on which a row matured, and net value in micros as expected and as it came."""


@dataclass(frozen=True)
class CalibrationLimits:
    """When predicted over realised is off.

    Attributes:
        low, high: the ratios between which all is well.
        minimum_rows, minimum_days: below these nothing is judged.
        widest: an interval wider than this share of the ratio judges nothing.
        confidence: of the two-sided interval.
        resamples: bootstrap resamples of whole days, because rows of one day are alike.
    """

    low: float = 0.9
    high: float = 1.1
    minimum_rows: int = 200
    minimum_days: int = 7
    widest: float = 0.5
    confidence: float = 0.95
    resamples: int = 2_000


CALIBRATION = CalibrationLimits()


@dataclass(frozen=True)
class Calibration:
    """Predicted over realised net value, its interval, and how many rows of how many days it rests on.

    The numbers are None where nothing could be judged.
    """

    finding: Finding
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    rows: int = 0
    days: int = 0


def mature_rows(bookings: pd.DataFrame, *, day: date, window_days: int = 28) -> pd.DataFrame:
    """Bookings whose planned check-out fell into the last `window_days` market days up to `day`.

    Args:
        bookings: `check_in`, `los_nights`, `outcome` (`cancelled`, `stayed` or `open`) and their other columns.
        day: the market day that is judged.
        window_days: length of the window in days.

    Returns:
        Those rows with `day` added; an outcome that is still `open` is left out, having no value yet.
    """
    ends = bookings["check_in"] + pd.to_timedelta(bookings["los_nights"], unit="D")
    limit = known_by(day)
    inside = (ends < limit) & (ends >= limit - timedelta(days=window_days)) & (bookings["outcome"] != "open")
    return bookings[inside].assign(**{DAY: ends[inside].dt.floor("D")})


def calibration(
    matured: pd.DataFrame | None, *, seed: int, subject: str = "bookings", limits: CalibrationLimits = CALIBRATION
) -> Calibration:
    """Judge predicted against realised net value.

    Args:
        matured: columns `day`, `expected_micros` and `realised_micros`; None while there is no champion.
        seed: of the bootstrap.
        subject: what the rows are.
        limits: what is off.

    Returns:
        FAIL when the whole interval lies outside the limits, HOLD when there is too little to judge.
    """
    if matured is None:
        return Calibration(held(COLD_START, subject, f"{subject}: calibration waits for a champion"))
    expected, realised = numbers(matured[EXPECTED]), numbers(matured[REALISED])
    known = np.isfinite(expected) & np.isfinite(realised)
    day_codes, days = pd.factorize(matured.loc[known, DAY], sort=True)
    rows = int(known.sum())
    if rows < limits.minimum_rows or len(days) < limits.minimum_days:
        reason = f"{subject}: {rows} mature rows on {len(days)} days, too few to judge calibration"
        return Calibration(held(COLD_START, subject, reason), rows=rows, days=len(days))
    promised = np.bincount(day_codes, weights=expected[known], minlength=len(days)).astype(np.float64)
    came = np.bincount(day_codes, weights=realised[known], minlength=len(days)).astype(np.float64)
    if came.sum() <= 0:
        reason = f"{subject}: the mature rows realised nothing, calibration cannot be judged"
        return Calibration(held(COLD_START, subject, reason), rows=rows, days=len(days))
    ratio = float(promised.sum() / came.sum())
    low, high = _interval(promised, came, seed=seed, limits=limits)
    return Calibration(_finding(subject, ratio, low, high, rows, limits), ratio, low, high, rows, len(days))


def _interval(
    expected: NDArray[np.float64],
    realised: NDArray[np.float64],
    *,
    seed: int,
    limits: CalibrationLimits,
) -> tuple[float, float]:
    """Percentile interval of the ratio of sums over days drawn with replacement."""
    picked = np.random.default_rng(seed).integers(len(expected), size=(limits.resamples, len(expected)))
    below = realised[picked].sum(axis=1)
    ratios = expected[picked].sum(axis=1) / np.where(below > 0, below, np.nan)
    tail = (1.0 - limits.confidence) / 2.0
    low, high = np.nanquantile(ratios, [tail, 1.0 - tail])
    return float(low), float(high)


def _finding(subject: str, ratio: float, low: float, high: float, rows: int, limits: CalibrationLimits) -> Finding:
    text = f"predicted / realised net value {ratio:.2f} ({low:.2f} to {high:.2f}, {rows} mature rows)"
    # First of all: a few huge stays make an interval that is wide and yet too narrow, on either side of 1.
    if high - low > limits.widest * ratio:
        reason = f"{subject}: {text}, too uncertain to judge"
        return Finding("calibration", subject, "", Verdict.HOLD, ratio, None, reason)
    if high < limits.low or low > limits.high:
        side, limit = ("below", limits.low) if high < limits.low else ("above", limits.high)
        return Finding("calibration", subject, "", Verdict.FAIL, ratio, limit, f"{subject}: {text}, {side} {limit}")
    return Finding("calibration", subject, "", Verdict.PASS, ratio, None, f"{subject}: {text}")
