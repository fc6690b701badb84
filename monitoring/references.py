"""What a window is held against: the weeks before it, its own weekdays in them, and its weeks and holidays of last year.

Whoever moves as they did a year ago has not drifted, and whoever is as they were last month has not drifted either:
a window is judged by the reference to which it is nearest, each beside how far such windows lay apart before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEEKS, WEEKDAYS = "last four weeks", "last four same weekdays"
YEAR, HOLIDAY = "same weeks of last year", "same holiday of last year"
RECENT = frozenset({WEEKS, WEEKDAYS})

WEEKS_BACK = 4
YEAR_DAYS = 364
"""52 weeks: the same ISO week and the same weekday of last year."""

AROUND_YEAR = (-7, 0, 7)
"""The weeks beside it count too: a season comes a week earlier or later."""

WHOLE = 2.0 / 3.0
"""Share of a reference's days that must be there; with a larger hole it is not used."""

FIXED = frozenset({(1, 1), (1, 6), (5, 1), (8, 15), (11, 1), (12, 24), (12, 25), (12, 26), (12, 31)})
"""Month and day of holidays that much of Europe keeps."""

MOVING = (-2, 0, 1, 39, 49, 50)
"""Days from Easter Sunday: Good Friday, Easter, Easter Monday, Ascension, Whit Sunday and Whit Monday."""


@dataclass(frozen=True)
class Reference:
    """Days that a window is held against.

    Attributes:
        kind: `WEEKS`, `WEEKDAYS`, `YEAR` or `HOLIDAY`.
        offsets: how many days before the window's last day each of them lies, shape (days,).
    """

    kind: str
    offsets: NDArray[np.int64]


def weeks_before(length: int) -> Reference:
    """The four weeks before a window of `length` days."""
    return Reference(WEEKS, np.arange(length, length + 7 * WEEKS_BACK))


def weekdays_before(length: int) -> Reference:
    """The last four of each weekday of a window of `length` days, which are less than seven."""
    ages = np.arange(length)[None, :] + 7 * np.arange(1, WEEKS_BACK + 1)[:, None]
    return Reference(WEEKDAYS, ages.ravel())


def year_before(length: int) -> Reference:
    """The same weekdays of the same ISO weeks of last year, and of the weeks beside them."""
    ages = np.arange(length)[None, :] + YEAR_DAYS + np.array(AROUND_YEAR)[:, None]
    return Reference(YEAR, np.unique(ages))


def holiday_before(length: int, last: date) -> Reference | None:
    """Last year's holidays for those of the window that ends with `last`, the same weekdays for its other days.

    None where no day of the window is a holiday.
    """
    days = [last - timedelta(days=age) for age in range(length)]
    if not any(holiday(day) for day in days):
        return None
    matched = [last_years(day) or day - timedelta(days=YEAR_DAYS) for day in days]
    return Reference(HOLIDAY, np.array([(last - day).days for day in matched], dtype=np.int64))


def holiday(day: date) -> bool:
    """Whether a day is a holiday in much of Europe.

    >>> holiday(date(2026, 4, 6)), holiday(date(2026, 12, 25)), holiday(date(2026, 4, 8))
    (True, True, False)
    """
    return (day.month, day.day) in FIXED or (day - easter(day.year)).days in MOVING


def last_years(day: date) -> date | None:
    """The holiday of last year that a holiday matches; None for any other day.

    >>> last_years(date(2026, 4, 5)), last_years(date(2026, 12, 25)), last_years(date(2026, 4, 8))
    (datetime.date(2025, 4, 20), datetime.date(2025, 12, 25), None)
    """
    if (day.month, day.day) in FIXED:
        return day.replace(year=day.year - 1)
    from_easter = (day - easter(day.year)).days
    return easter(day.year - 1) + timedelta(days=from_easter) if from_easter in MOVING else None


def easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (Meeus, Jones and Butcher).

    >>> easter(2024), easter(2026)
    (datetime.date(2024, 3, 31), datetime.date(2026, 4, 5))
    """
    golden, century, rest = year % 19, *divmod(year, 100)
    leap, left = divmod(century, 4)
    moon = (19 * golden + century - leap - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    weekday = (32 + 2 * left + 2 * (rest // 4) - moon - rest % 4) % 7
    late = (golden + 11 * moon + 22 * weekday) // 451
    month, day = divmod(moon + weekday - 7 * late + 114, 31)
    return date(year, month, day + 1)


def summed(
    counts: NDArray[np.float64], reference: Reference, ends: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The reference's rows for windows that end with the days `ends`.

    Args:
        counts: rows per day and bin, shape (days, bins).
        reference: which days.
        ends: last day of each window, shape (windows,).

    Returns:
        Rows per window and bin, shape (windows, bins), and the share of the reference's days that had any, (windows,).
    """
    # Cumulative sums over runs of neighbouring days would be faster; windows are few and short.
    total = np.zeros((len(ends), counts.shape[1]))
    there = np.zeros(len(ends))
    filled = counts.sum(axis=1) > 0
    for offset in reference.offsets:
        days = ends - offset
        inside = days >= 0
        if inside.all():  # most are, and it takes no copies
            total += counts[days]
            there += filled[days]
            continue
        total[inside] += counts[days[inside]]
        there[inside] += filled[days[inside]]
    return total, there / max(len(reference.offsets), 1)
