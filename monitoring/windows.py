"""Recent days against the days before them, judged by how far such windows differed in the past.

The statistic of a window is the smallest distance that remains when any one of its days is left out, so
that a single bursty day is no alarm. Its limit comes from the same statistic of every earlier window (an
A/A comparison: nothing was wrong then, or it has been told already), so that it does not depend on the
number of rows and follows the market's own season and bursts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from monitoring.distances import distance
from monitoring.histograms import DailyHistogram

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Windows:
    """Lengths in days, and how a limit follows from the past.

    Attributes:
        current_days: days judged together; whole weeks keep the mix of weekdays equal on both sides.
        reference_days: days before them that they are held against.
        past_days: how many earlier windows say how much this market moves by itself.
        minimum_past: fewer earlier windows than this say nothing.
        floor: smallest distance worth an alarm.
        margin: how many times the largest earlier distance is still ordinary.
        short_past_margin: added to `margin` in full when hardly anything of the past is known.
        independent_windows: earlier windows that do not overlap, from which on the past is well known.
        burst: a day weighs at most this many times the median day.
        minimum_rows: fewer rows in the judged days than this cannot be judged.
    """

    current_days: int = 7
    reference_days: int = 28
    past_days: int = 119
    minimum_past: int = 14
    floor: float = 0.1
    margin: float = 1.25
    short_past_margin: float = 0.75
    independent_windows: int = 12
    burst: float = 1.5
    minimum_rows: int = 100

    @property
    def days_to_judge(self) -> int:
        """Days of rows below which nothing can be judged."""
        return 2 * self.current_days + self.reference_days + self.minimum_past - 1

    @property
    def days_of_use(self) -> int:
        """Days of rows beyond which more history changes nothing."""
        return 2 * self.current_days + self.reference_days + self.past_days - 1


WINDOWS = Windows()


@dataclass(frozen=True)
class Score:
    """A column's distance and its limit; `limit` is None while too little of the past is known.

    `past` is how many earlier windows the limit rests on.
    """

    number: float
    limit: float | None
    past: int

    @property
    def exceeds(self) -> bool:
        """Whether the distance is beyond its limit; never while there is none."""
        return self.limit is not None and self.number > self.limit

    @property
    def ratio(self) -> float | None:
        """Distance over limit."""
        return None if self.limit is None else self.number / self.limit


def score(histogram: DailyHistogram, windows: Windows = WINDOWS) -> Score:
    """Judge the window that ends with the histogram's last day."""
    past = statistics(histogram, windows)
    known = past[: -windows.current_days][-windows.past_days :]
    known = known[np.isfinite(known)]
    limit = None
    if len(known) >= windows.minimum_past:
        limit = max(windows.floor, float(known.max()) * _margin(len(known), windows))
    return Score(float(past[-1]), limit, len(known))


def statistics(histogram: DailyHistogram, windows: Windows = WINDOWS) -> NDArray[np.float64]:
    """The statistic of the window that ends on each day, shape (days,); NaN where there is no whole window."""
    length, before = windows.current_days, windows.reference_days
    counts = _tamed(histogram.counts, windows)
    n_days = len(counts)
    answer = np.full(n_days, np.nan)
    if n_days < length + before:
        return answer
    sums = np.concatenate([np.zeros((1, counts.shape[1])), counts.cumsum(axis=0)])
    ends = np.arange(length + before, n_days + 1)
    current = sums[ends] - sums[ends - length]
    reference = sums[ends - length] - sums[ends - length - before]
    each_day = counts[ends[:, None] - length + np.arange(length)[None, :]]
    apart = distance(histogram, current[:, None] - each_day, reference[:, None])
    answer[length + before - 1 :] = np.where(np.isnan(apart), np.inf, apart).min(axis=1)
    answer[np.isinf(answer)] = np.nan
    return answer


def _tamed(counts: NDArray[np.float64], windows: Windows) -> NDArray[np.float64]:
    """Scale down days with far more rows than the median day of the weeks that end with them."""
    totals = counts.sum(axis=1)
    span = windows.current_days + windows.reference_days
    medians = np.array([_median_day(totals[max(0, end - span + 1) : end + 1]) for end in range(len(totals))])
    weights = np.minimum(1.0, windows.burst * medians / np.maximum(totals, 1.0))
    return np.asarray(counts * weights[:, None])


def _median_day(totals: NDArray[np.float64]) -> float:
    with_rows = totals[totals > 0]
    return float(np.median(with_rows)) if len(with_rows) else 0.0


def _margin(past: int, windows: Windows) -> float:
    """The largest of few past windows says less than the largest of many, so it is given more room."""
    known = min(1.0, past / (windows.current_days * windows.independent_windows))
    return windows.margin + windows.short_past_margin * (1.0 - known)
