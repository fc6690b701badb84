"""Recent days against their references, judged by how far such windows lay apart in the past.

Windows of a week, of three days and of one day end with the day judged: a long one sees a small shift, a
short one sees a large shift early. The statistic of a window is the smallest distance that remains when any
one of its days is left out, so that a single bursty day stays an oddity of that day. Each reference
(`monitoring.references`) has a null distribution of its own (`monitoring.nulls`), from the same statistic of
every earlier window; the window is judged by the reference to which it is nearest, that is, by the largest
of their p-values. A column's p-value is the smallest of its windows' times their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from monitoring.discovery import RATE, Discovery
from monitoring.distances import distance
from monitoring.histograms import DailyHistogram
from monitoring.nulls import Null, null, own_spread
from monitoring.references import (
    AROUND_YEAR,
    HOLIDAY,
    RECENT,
    WEEKS,
    WEEKS_BACK,
    WHOLE,
    YEAR_DAYS,
    Reference,
    holiday_before,
    summed,
    weekdays_before,
    weeks_before,
    year_before,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAVE_ONE_OUT_FROM = 3
"""Windows of so many days leave their oddest day out; shorter ones rest on being confirmed on another day."""

EVENT = 0.5
"""A day that is scaled down by more than this is an event; windows shorter than the longest that hold one say nothing."""


@dataclass(frozen=True)
class Windows:
    """Lengths in days, how a limit follows from the past, and when a shift is drift.

    Attributes:
        lengths: days judged together; the longest is a whole week.
        past_days: how many earlier windows say how much this market moves from month to month by itself.
        year_past_days: how many earlier windows say how much it moves from year to year.
        minimum_past: fewer earlier windows than this say nothing.
        minimum_independent: nor do fewer that do not overlap.
        floor: smallest distance worth an alarm.
        rate: of the discoveries of a day, the share that may be false.
        confirm_days, confirm_of: a shift is drift once it was there on so many of so many judged days in a row.
        burst: a day weighs at most this many times the median day.
        minimum_rows: a window with fewer rows is not judged.
    """

    lengths: tuple[int, ...] = (7, 3, 1)
    past_days: int = 119
    year_past_days: int = 56
    minimum_past: int = 14
    minimum_independent: float = 2.0
    floor: float = 0.1
    rate: float = RATE
    confirm_days: int = 2
    confirm_of: int = 3
    burst: float = 1.5
    minimum_rows: int = 50

    @property
    def longest(self) -> int:
        """Days of the longest window; windows that end so many days earlier share no day with it."""
        return max(self.lengths)

    @property
    def reference_days(self) -> int:
        """Days before the longest window that it is held against."""
        return 7 * WEEKS_BACK

    @property
    def days_to_judge(self) -> int:
        """Days of rows, the judged one included, below which nothing can be judged."""
        return min(self.lengths) + self.longest + self.reference_days + self.minimum_past - 1

    @property
    def days_of_use(self) -> int:
        """Days of rows, the judged one included, beyond which this year's rows change nothing."""
        return 2 * self.longest + self.reference_days + self.past_days - 1

    @property
    def year_of_use(self) -> tuple[int, int]:
        """The oldest and the newest of last year's days that are of use, as days before the judged one."""
        around = max(AROUND_YEAR)
        return YEAR_DAYS + around + 2 * self.longest + self.year_past_days - 1, YEAR_DAYS - around - self.longest

    def of_use(self, age: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether rows so many days old change anything."""
        oldest, newest = self.year_of_use
        return (age >= 0) & ((age < self.days_of_use) | ((age >= newest) & (age <= oldest)))


WINDOWS = Windows()


@dataclass(frozen=True)
class Apart:
    """A window and one of its references: how far apart they are, and the null distribution of that.

    `own` is the relative spread of the past distances, NaN while too few are known; `independent` how many past
    windows do not overlap.
    """

    kind: str
    days: int
    number: float
    past: NDArray[np.float64]
    own: float
    independent: float
    reference: Reference
    null: Null | None = None

    @property
    def chance(self) -> float | None:
        """The p-value; None where it cannot be told."""
        return None if self.null is None or not np.isfinite(self.number) else self.null.chance(self.number)


@dataclass(frozen=True)
class Score:
    """A column's distance and its limit, of the window in which it is oddest.

    Attributes:
        number: the distance to the nearest reference; NaN where the window has too few rows.
        limit: the distance beyond which it is a discovery; None while that cannot be told.
        days: the window's length.
        past: the number of earlier windows that the limit rests on.
        longest_limit: the limit of the longest window against the last weeks, whichever was chosen.
        p: the chance of it when nothing is wrong, over all windows; None while it cannot be told.
        q: p-value adjusted for the other columns; None before `decided`, and for a column that nobody acts on.
        reference: kind of the nearest reference.
        offsets: the reference's days, as days before the judged one.
    """

    number: float
    limit: float | None
    days: int
    past: int
    longest_limit: float | None = None
    p: float | None = None
    q: float | None = None
    reference: str = WEEKS
    offsets: Sequence[int] = ()
    chosen: Null | None = None
    longest: Null | None = None
    tried: int = 1

    @property
    def ratio(self) -> float | None:
        """Distance over limit; None where it cannot be told."""
        return None if self.limit is None or not np.isfinite(self.number) else self.number / self.limit

    @property
    def exceeds(self) -> bool:
        """Whether the distance is beyond its limit; never while that cannot be told."""
        return self.ratio is not None and self.ratio > 1.0


def compared(histogram: DailyHistogram, last: date | None = None, windows: Windows = WINDOWS) -> list[Apart]:
    """Every window that ends with the histogram's last day, against each of its references.

    Args:
        histogram: rows per day and bin.
        last: the day judged, which says what holidays there are; None looks for none.
        windows: lengths and limits.

    Returns:
        One per window and reference, without null distributions yet.
    """
    counts = tamed(histogram.counts, windows)
    found = []
    for length in sorted(windows.lengths, reverse=True):
        references = [weeks_before(length), year_before(length)]
        references += [weekdays_before(length)] if length < 7 else []
        special = holiday_before(length, last) if last is not None else None
        for reference in [*references, *([special] if special else [])]:
            # How far a holiday lies from last year's is not seen often enough: it is as far as any days of a year ago.
            others = year_before(length) if reference.kind == HOLIDAY else reference
            days = windows.past_days if reference.kind in RECENT else windows.year_past_days
            ends = np.arange(len(counts) - windows.longest - days, len(counts) - windows.longest)
            past = statistics(histogram, counts, length, others, ends[ends >= 0], windows)
            past = past[np.isfinite(past)]
            now = statistics(histogram, counts, length, reference, np.array([len(counts) - 1]), windows)
            independent = len(past) / length
            enough = len(past) >= windows.minimum_past and independent >= windows.minimum_independent
            own = own_spread(past) if enough else float("nan")
            found.append(Apart(reference.kind, length, float(now[0]), past, own, independent, reference))
    return found


def with_nulls(columns: Sequence[Sequence[Apart]]) -> list[list[Apart]]:
    """The comparisons of all columns of a subject, each with its null distribution where the past allows one."""
    spreads: dict[tuple[str, int], float] = {}
    for key in {(apart.kind, apart.days) for column in columns for apart in column}:
        own = [a.own for column in columns for a in column if (a.kind, a.days) == key and np.isfinite(a.own)]
        spreads[key] = float(np.median(own)) if own else float("nan")
    return [[_with_null(apart, spreads[apart.kind, apart.days]) for apart in column] for column in columns]


def score(aparts: Sequence[Apart], windows: Windows = WINDOWS) -> Score:
    """The score of a column, its limit as if it were judged alone."""
    lengths = sorted({apart.days for apart in aparts}, reverse=True)
    nearest = [_nearest([apart for apart in aparts if apart.days == length]) for length in lengths]
    judged = [apart for apart in nearest if apart.chance is not None]
    longest = next(apart for apart in aparts if apart.days == lengths[0] and apart.kind == WEEKS)
    if not judged:
        first = nearest[-1]
        return Score(first.number, None, first.days, len(first.past), reference=first.kind)
    oddest = min(judged, key=lambda apart: (_chance(apart, windows), -apart.number))
    p = min(1.0, _chance(oddest, windows) * len(judged))
    found = Score(
        oddest.number,
        None,
        oddest.days,
        len(oddest.past),
        p=p,
        reference=oddest.kind,
        offsets=tuple(oddest.reference.offsets.tolist()),
        chosen=oddest.null,
        longest=longest.null,
        tried=len(judged),
    )
    return decided(found, Discovery(p, windows.rate), windows)


def decided(found: Score, discovery: Discovery, windows: Windows = WINDOWS) -> Score:
    """A score with the limit that the other columns of the day leave it."""
    if found.chosen is None:
        return found
    level = discovery.cutoff / found.tried
    limit = max(windows.floor, found.chosen.distance(level))
    longest = None if found.longest is None else max(windows.floor, found.longest.distance(level))
    return replace(found, limit=limit, longest_limit=longest, q=discovery.q)


def statistics(
    histogram: DailyHistogram,
    counts: NDArray[np.float64],
    length: int,
    reference: Reference,
    ends: NDArray[np.int64],
    windows: Windows = WINDOWS,
) -> NDArray[np.float64]:
    """The statistic of the windows of `length` days that end with the days `ends`.

    Args:
        histogram: gives the distance its values.
        counts: rows per day and bin, shape (days, bins + 1).
        length: days in the window.
        reference: what each is held against.
        ends: the windows' last days.
        windows: lengths and limits.

    Returns:
        Distances, shape (ends,); NaN where there is no whole window or reference, or too few rows in one.
    """
    answer = np.full(len(ends), np.nan)
    usable = ends >= length - 1
    if reference.kind in RECENT:
        usable &= ends >= reference.offsets.max()
    ends = ends[usable]
    if not len(ends):
        return answer
    each_day = counts[ends[:, None] - np.arange(length)[None, :]]
    current = each_day.sum(axis=1)
    before, there = summed(counts, reference, ends)
    apart = _without_oddest_day(histogram, each_day, current, before)
    enough = (current.sum(axis=1) >= windows.minimum_rows) & (before.sum(axis=1) >= windows.minimum_rows)
    if length < windows.longest:
        event = counts.sum(axis=1) < EVENT * histogram.counts.sum(axis=1)
        enough &= ~event[ends[:, None] - np.arange(length)[None, :]].any(axis=1)
    if reference.kind not in RECENT:
        enough &= there >= WHOLE
    answer[usable] = np.where(enough, apart, np.nan)
    return answer


def tamed(counts: NDArray[np.float64], windows: Windows = WINDOWS) -> NDArray[np.float64]:
    """Counts with days scaled down that have far more rows than the median day of the weeks that end with them."""
    totals = counts.sum(axis=1)
    medians = _median_days(totals, windows.longest + windows.reference_days)
    weights = np.minimum(1.0, windows.burst * medians / np.maximum(totals, 1.0))
    return np.asarray(counts * weights[:, None])


def _with_null(apart: Apart, others: float) -> Apart:
    if not np.isfinite(apart.own):
        return apart
    return replace(apart, null=null(apart.past, independent=apart.independent, others=others))


def _nearest(references: Sequence[Apart]) -> Apart:
    """The reference with the largest p-value; without one against the last weeks, nothing is judged."""
    weeks = next(apart for apart in references if apart.kind == WEEKS)
    if weeks.chance is None:
        return weeks
    return max(references, key=lambda apart: -1.0 if apart.chance is None else apart.chance)


def _chance(apart: Apart, windows: Windows) -> float:
    """The p-value; one for a distance that is not worth an alarm, however odd it is."""
    return 1.0 if apart.chance is None or apart.number <= windows.floor else apart.chance


def _without_oddest_day(
    histogram: DailyHistogram,
    each_day: NDArray[np.float64],
    current: NDArray[np.float64],
    reference: NDArray[np.float64],
) -> NDArray[np.float64]:
    if each_day.shape[1] < LEAVE_ONE_OUT_FROM:
        return distance(histogram, current, reference)
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
