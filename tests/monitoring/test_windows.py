"""A limit follows the market's own past; one odd day is no shift; a lasting one is found early."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from monitoring.histograms import DailyHistogram, numeric_histogram
from monitoring.references import HOLIDAY, WEEKS, YEAR
from monitoring.windows import WINDOWS, Apart, Score, Windows, compared, score, tamed, with_nulls

N_DAYS = WINDOWS.days_of_use
TWO_YEARS = 460


def judged(found: DailyHistogram, windows: Windows = WINDOWS, last: date | None = None) -> Score:
    """The score of a column that is watched alone."""
    (aparts,) = with_nulls([compared(found, last, windows)])
    return score(aparts, windows)


def against(found: DailyHistogram, kind: str, days: int, last: date | None = None) -> Apart:
    (aparts,) = with_nulls([compared(found, last)])
    return next(apart for apart in aparts if apart.kind == kind and apart.days == days)


def histogram(
    *, shift: float = 0.0, last: int = 0, rows: int = 150, days: int = N_DAYS, seed: int = 0, wobble: float = 0.0
) -> DailyHistogram:
    """Normal values per day; the `last` days are moved by `shift`, and every day by its own random `wobble`."""
    rng = np.random.default_rng(seed)
    level = wobble * rng.normal(size=days)
    level[days - last :] += shift
    values = np.concatenate([rng.normal(at, 1.0, rows) for at in level])
    return numeric_histogram(pd.Series(values), np.repeat(np.arange(days), rows), days)


def season(
    *, days: int = TWO_YEARS, rows: int = 300, seed: int = 0, last: int = 0, shift: float = 0.0
) -> DailyHistogram:
    """A year of ups and downs by more than a standard deviation a month, the `last` days moved besides."""
    rng = np.random.default_rng(seed)
    level = 6.0 * np.sin(2 * np.pi * np.arange(days) / 364.0) + 0.05 * rng.normal(size=days)
    level[days - last :] += shift
    values = np.concatenate([rng.normal(at, 1.0, rows) for at in level])
    return numeric_histogram(pd.Series(values), np.repeat(np.arange(days), rows), days)


def test_a_market_that_does_not_change_is_within_its_limit() -> None:
    found = judged(histogram())
    assert not found.exceeds
    assert found.past == WINDOWS.past_days
    assert found.p is not None
    assert found.p > WINDOWS.rate


@pytest.mark.parametrize(("shift", "days"), [(1.0, 1), (0.5, 3), (0.3, 7)])
def test_a_lasting_shift_exceeds_the_limit_within_days(shift: float, days: int) -> None:
    found = judged(histogram(shift=shift, last=days))
    assert found.exceeds
    assert found.p is not None
    assert found.p <= WINDOWS.rate


@pytest.mark.parametrize(("shift", "exceeds"), [(0.0, False), (0.04, False), (0.6, True)])
def test_ten_times_the_rows_give_the_same_verdict(shift: float, exceeds: bool) -> None:
    """A test on rows would call the small shift certain; here it stays below what is worth an alarm."""
    for rows in (300, 3_000):
        assert judged(histogram(shift=shift, last=7, rows=rows, wobble=0.02)).exceeds is exceeds, rows


def test_a_market_that_moves_by_itself_has_a_wider_limit() -> None:
    calm, lively = judged(histogram()), judged(histogram(wobble=0.5))
    assert calm.limit is not None
    assert lively.limit is not None
    assert lively.limit > 1.5 * calm.limit
    assert not lively.exceeds


def test_one_odd_day_exceeds_nothing_from_the_next_day_on() -> None:
    """A burst is an oddity of its day: the windows that follow leave their oddest day out."""
    for after in range(1, 8):
        counts = histogram().counts.copy()
        burst = np.zeros(counts.shape[1])
        burst[-2] = 2_000.0
        counts[-1 - after] += burst
        assert not judged(DailyHistogram(counts, histogram().values)).exceeds, after


def test_a_season_that_comes_every_year_is_no_drift() -> None:
    """Against last month the market has moved; against the same weeks of last year it has not."""
    found = season()
    last_weeks, last_year = against(found, WEEKS, 7), against(found, YEAR, 7)
    assert last_weeks.number > 3 * last_year.number
    assert not judged(found).exceeds


def test_a_shift_on_top_of_the_season_is_drift() -> None:
    assert judged(season(last=7, shift=3.0)).exceeds


def test_a_reference_year_with_a_hole_is_not_used_and_one_with_a_gap_is() -> None:
    found = season()
    for gone, usable in ((7, True), (15, False)):
        counts = found.counts.copy()
        middle = len(counts) - 1 - 364 - 3
        counts[middle - gone // 2 : middle - gone // 2 + gone] = 0.0
        number = against(DailyHistogram(counts, found.values), YEAR, 7).number
        assert np.isfinite(number) == usable, gone


def test_a_holiday_is_held_against_last_years_wherever_its_weekday_is() -> None:
    """Christmas of 2025 is a Thursday, that of 2024 was a Wednesday: 365 days before it, not 364."""
    christmas = date(2025, 12, 25)
    days = TWO_YEARS
    rng = np.random.default_rng(1)
    level = np.zeros(days)
    level[[days - 1, days - 1 - 365]] = 4.0
    values = np.concatenate([rng.normal(at, 1.0, 300) for at in level])
    found = numeric_histogram(pd.Series(values), np.repeat(np.arange(days), 300), days)
    assert against(found, HOLIDAY, 1, christmas).number < 0.2
    assert against(found, WEEKS, 1, christmas).number > 1.0
    assert judged(found).exceeds
    assert not judged(found, last=christmas).exceeds


def test_a_day_with_many_more_rows_than_the_median_day_is_scaled_down() -> None:
    counts = np.full((40, 3), 10.0)
    counts[30] *= 50
    scaled = tamed(counts)
    assert scaled[30].sum() == pytest.approx(WINDOWS.burst * 30.0)
    assert scaled[31].tolist() == counts[31].tolist()


def test_too_short_a_past_gives_no_limit() -> None:
    found = judged(histogram(shift=3.0, last=3, days=WINDOWS.days_to_judge - 1))
    assert found.limit is None
    assert found.p is None
    assert found.ratio is None
    assert not found.exceeds
    assert judged(histogram(shift=3.0, last=1, days=WINDOWS.days_to_judge)).exceeds


def test_a_short_past_is_given_more_room_than_a_long_one() -> None:
    short, long = (against(histogram(days=days), WEEKS, 7).null for days in (WINDOWS.days_to_judge, N_DAYS))
    assert short is None or long is None or short.scale > long.scale
    assert long is not None


def test_windows_that_share_a_day_with_the_judged_one_do_not_set_its_limit() -> None:
    """Otherwise a shift would excuse itself."""
    calm, shifted = against(histogram(), WEEKS, 7), against(histogram(shift=2.0, last=7), WEEKS, 7)
    assert calm.null is not None
    assert shifted.null is not None
    assert shifted.null.distance(0.001) == pytest.approx(calm.null.distance(0.001), rel=0.3)
    assert shifted.number > 3 * calm.number


def test_a_window_with_too_few_rows_is_not_judged() -> None:
    assert judged(histogram(rows=2)).ratio is None
