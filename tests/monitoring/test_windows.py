"""A limit follows the market's own past; one odd day is no shift; a lasting one is found early."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from monitoring.histograms import DailyHistogram, numeric_histogram
from monitoring.windows import WINDOWS, Windows, score, statistics, tamed

N_DAYS = WINDOWS.days_of_use


def histogram(
    *, shift: float = 0.0, last: int = 0, rows: int = 150, days: int = N_DAYS, seed: int = 0, wobble: float = 0.0
) -> DailyHistogram:
    """Normal values per day; the `last` days are moved by `shift`, and every day by its own random `wobble`."""
    rng = np.random.default_rng(seed)
    level = wobble * rng.normal(size=days)
    level[days - last :] += shift
    values = np.concatenate([rng.normal(at, 1.0, rows) for at in level])
    return numeric_histogram(pd.Series(values), np.repeat(np.arange(days), rows), days)


def test_a_market_that_does_not_change_is_within_its_limit() -> None:
    judged = score(histogram())
    assert not judged.exceeds
    assert judged.past == WINDOWS.past_days


@pytest.mark.parametrize(("shift", "days"), [(1.0, 1), (0.5, 3), (0.3, 7)])
def test_a_lasting_shift_exceeds_the_limit_within_days(shift: float, days: int) -> None:
    assert score(histogram(shift=shift, last=days)).exceeds


def test_the_limit_does_not_depend_on_the_number_of_rows() -> None:
    """A shift too small to matter stays one, however many rows show it."""
    for rows in (100, 4000):
        judged = score(histogram(shift=0.05, last=7, rows=rows))
        assert not judged.exceeds
        assert judged.limit == pytest.approx(WINDOWS.floor, abs=0.2)


def test_a_market_that_moves_by_itself_has_a_wider_limit() -> None:
    calm, lively = score(histogram()), score(histogram(wobble=0.5))
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
        judged = score(DailyHistogram(counts, histogram().values))
        assert not judged.exceeds, after


def test_a_day_with_many_more_rows_than_the_median_day_is_scaled_down() -> None:
    counts = np.full((40, 3), 10.0)
    counts[30] *= 50
    scaled = tamed(counts)
    assert scaled[30].sum() == pytest.approx(WINDOWS.burst * 30.0)
    assert scaled[31].tolist() == counts[31].tolist()


def test_too_short_a_past_gives_no_limit() -> None:
    judged = score(histogram(shift=3.0, last=3, days=WINDOWS.days_to_judge - 1))
    assert judged.limit is None
    assert judged.ratio is None
    assert not judged.exceeds
    assert score(histogram(shift=3.0, last=1, days=WINDOWS.days_to_judge)).exceeds


def test_a_short_past_is_given_more_room_than_a_long_one() -> None:
    windows = Windows(lengths=(7,), floor=0.0)
    room = {}
    for days in (windows.days_to_judge, windows.days_of_use):
        past = statistics(histogram(days=days), tamed(histogram(days=days).counts), 7)[:-7]
        room[days] = (score(histogram(days=days), windows).limit or 0) / np.nanmax(past)
    assert room[windows.days_of_use] == pytest.approx(windows.margin)
    assert windows.margin < room[windows.days_to_judge] <= windows.margin + windows.short_past_margin


def test_windows_that_share_a_day_with_the_judged_one_do_not_set_its_limit() -> None:
    """Otherwise a shift would excuse itself."""
    calm, shifted = score(histogram()), score(histogram(shift=2.0, last=7))
    by_length = Windows(lengths=(7,))
    assert score(histogram(shift=2.0, last=7), by_length).limit == pytest.approx(
        score(histogram(), by_length).limit or 0.0, rel=0.3
    )
    assert (shifted.ratio or 0) > 3 * (calm.ratio or 0)


def test_a_window_with_too_few_rows_is_not_judged() -> None:
    judged = score(histogram(rows=2))
    assert judged.ratio is None


def test_no_rows_at_all_are_no_shift() -> None:
    counts = np.zeros((N_DAYS, 4))
    assert not score(DailyHistogram(counts, np.arange(3.0))).exceeds
