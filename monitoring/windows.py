"""Recent days against the days before them, judged by how far such windows differed in the past.

Windows of a week, of three days and of one day end with the day judged: a long one sees a small shift, a
short one sees a large shift early. The statistic of a window is the smallest distance that remains when any
one of its days is left out, so that a single bursty day stays an oddity of that day. Its limit comes from
the same statistic of every earlier window of its length (an A/A comparison: nothing was wrong then, or it
has been told already), so that it does not depend on the number of rows and follows the market's own
season and bursts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from monitoring.distances import distance
from monitoring.histograms import DailyHistogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAVE_ONE_OUT_FROM = 3
"""Windows of so many days leave their oddest day out; shorter ones rest on being confirmed the next day."""


@dataclass(frozen=True)
class Windows:
    """Lengths in days, and how a limit follows from the past.

    Attributes:
        lengths: days judged together, longest first; the longest is whole weeks, so that both sides have the
            same mix of weekdays.
        reference_days: days before a window that it is held against.
        past_days: how many earlier windows say how much this market moves by itself.
        minimum_past: fewer earlier windows than this say nothing.
        floor: smallest distance worth an alarm.
        margin: how many times the largest earlier distance is still ordinary.
        short_past_margin: added to `margin` in full when hardly anything of the past is known.
        independent_windows: earlier windows that do not overlap, from which on the past is well known.
        burst: a day weighs at most this many times the median day.
        minimum_rows: a window with fewer rows is not judged.
    """

    lengths: tuple[int, ...] = (7, 3, 1)
    reference_days: int = 28
    past_days: int = 119
    minimum_past: int = 14
    floor: float = 0.1
    margin: float = 1.35
    short_past_margin: float = 0.65
    independent_windows: int = 12
    burst: float = 1.5
    minimum_rows: int = 50

    @property
    def longest(self) -> int:
        """Days of the longest window; windows that end so many days earlier share no day with it."""
        return max(self.lengths)

    @property
    def days_to_judge(self) -> int:
        """Days of rows, the judged one included, below which nothing can be judged."""
        return min(self.lengths) + self.longest + self.reference_days + self.minimum_past - 1

    @property
    def days_of_use(self) -> int:
        """Days of rows, the judged one included, beyond which more history changes nothing."""
        return 2 * self.longest + self.reference_days + self.past_days - 1


WINDOWS = Windows()


@dataclass(frozen=True)
class Score:
    """A column's distance and its limit, of the window in which it is largest against its limit.

    `days` is the window's length and `past` the number of earlier windows that the limit rests on. `limit` is
    None while too few of them are known, and `number` is NaN where the window has too few rows. `longest_limit`
    is the limit of the longest window, whichever was chosen.
    """

    number: float
    limit: float | None
    days: int
    past: int
    longest_limit: float | None = None

    @property
    def ratio(self) -> float | None:
        """Distance over limit; None where it cannot be told."""
        return None if self.limit is None or not np.isfinite(self.number) else self.number / self.limit

    @property
    def exceeds(self) -> bool:
        """Whether the distance is beyond its limit; never while that cannot be told."""
        return self.ratio is not None and self.ratio > 1.0


def score(histogram: DailyHistogram, windows: Windows = WINDOWS) -> Score:
    """Judge the windows that end with the histogram's last day."""
    counts = tamed(histogram.counts, windows)
    scores = [_score(histogram, counts, length, windows) for length in sorted(windows.lengths, reverse=True)]
    furthest = max(scores, key=lambda s: -1.0 if s.ratio is None else s.ratio)
    return replace(furthest, longest_limit=scores[0].limit)


def statistics(
    histogram: DailyHistogram, counts: NDArray[np.float64], length: int, windows: Windows = WINDOWS
) -> NDArray[np.float64]:
    """The statistic of the window of `length` days that ends on each day.

    Args:
        histogram: gives the distance its values.
        counts: rows per day and bin, shape (days, bins + 1).
        length: days in the window.
        windows: lengths and limits.

    Returns:
        Distances, shape (days,); NaN where there is no whole window, or one with too few rows.
    """
    before, n_days = windows.reference_days, len(counts)
    answer = np.full(n_days, np.nan)
    if n_days < length + before:
        return answer
    sums = np.concatenate([np.zeros((1, counts.shape[1])), counts.cumsum(axis=0)])
    ends = np.arange(length + before, n_days + 1)
    current = sums[ends] - sums[ends - length]
    reference = sums[ends - length] - sums[ends - length - before]
    apart = _without_oddest_day(histogram, counts, current, reference, ends, length)
    enough = (current.sum(axis=1) >= windows.minimum_rows) & (reference.sum(axis=1) >= windows.minimum_rows)
    answer[length + before - 1 :] = np.where(enough, apart, np.nan)
    return answer


def tamed(counts: NDArray[np.float64], windows: Windows = WINDOWS) -> NDArray[np.float64]:
    """Counts with days scaled down that have far more rows than the median day of the weeks that end with them."""
    totals = counts.sum(axis=1)
    medians = _median_days(totals, windows.longest + windows.reference_days)
    weights = np.minimum(1.0, windows.burst * medians / np.maximum(totals, 1.0))
    return np.asarray(counts * weights[:, None])


def _score(histogram: DailyHistogram, counts: NDArray[np.float64], length: int, windows: Windows) -> Score:
    series = statistics(histogram, counts, length, windows)
    known = series[: -windows.longest][-windows.past_days :]
    known = known[np.isfinite(known)]
    limit = None
    if len(known) >= windows.minimum_past:
        limit = max(windows.floor, float(known.max()) * _margin(len(known), windows))
    return Score(float(series[-1]), limit, length, len(known))


def _without_oddest_day(
    histogram: DailyHistogram,
    counts: NDArray[np.float64],
    current: NDArray[np.float64],
    reference: NDArray[np.float64],
    ends: NDArray[np.int64],
    length: int,
) -> NDArray[np.float64]:
    if length < LEAVE_ONE_OUT_FROM:
        return distance(histogram, current, reference)
    each_day = counts[ends[:, None] - length + np.arange(length)[None, :]]
    apart = distance(histogram, current[:, None] - each_day, reference[:, None])
    return np.asarray(np.where(np.isnan(apart), np.inf, apart).min(axis=1))


def _median_days(totals: NDArray[np.float64], span: int) -> NDArray[np.float64]:
    """Median of the days with rows among the `span` days that end with each day; 0 where none has any."""
    known = np.concatenate([np.full(span - 1, np.nan), np.where(totals > 0, totals, np.nan)])
    ending = np.sort(np.lib.stride_tricks.sliding_window_view(known, span), axis=1)  # NaN comes last
    count = np.isfinite(ending).sum(axis=1)
    each = np.arange(len(totals))
    middle = (ending[each, np.maximum(count - 1, 0) // 2] + ending[each, count // 2 % span]) / 2.0
    return np.asarray(np.where(count > 0, middle, 0.0))


def _margin(past: int, windows: Windows) -> float:
    """The largest of few past windows says less than the largest of many, so it is given more room."""
    known = min(1.0, past / (windows.longest * windows.independent_windows))
    return windows.margin + windows.short_past_margin * (1.0 - known)
