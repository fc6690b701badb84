"""What moved, in numbers and in words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from monitoring.shift import History, history, shifts
from monitoring.windows import WINDOWS


def test_the_history_ends_with_the_day_and_starts_no_earlier_than_is_of_use(market: Any, day: Any) -> None:
    past = history(market.subject(day, history=200), day)
    assert past.n_days == WINDOWS.days_of_use
    assert past.days.min() == 0
    assert len(past.span(0, 0)) == 150
    assert len(past.rows) == 150 * WINDOWS.days_of_use


def test_days_without_rows_are_days_all_the_same(market: Any, day: Any) -> None:
    gone = day - timedelta(days=5)
    market.change(lambda rows: rows.iloc[:0], first=gone, last=gone)
    past = history(market.subject(day, history=30), day)
    assert past.n_days == 31
    assert len(past.span(5, 5)) == 0
    assert len(past.span(6, 6)) == 150


def test_rows_of_later_days_in_the_reference_are_not_used(market: Any, day: Any) -> None:
    """A repeat of an old day must not see what came after it."""
    later = market.subject(day)
    earlier = day - timedelta(days=10)
    subject = type(later)("bookings", market.of(earlier), later.reference, later.numeric, later.categorical)
    past = history(subject, earlier)
    assert len(past.span(0, 0)) == 150
    assert len(past.rows) == 150 * past.n_days


def test_the_predictions_stand_beside_the_columns_under_names_of_their_own(market: Any, day: Any) -> None:
    past = history(market.subject(day, predict=lambda rows: rows[["rate"]].assign(p=0.5)), day)
    assert list(past.rows.columns) == [
        "rate",
        "lead_days",
        "cancel_rate",
        "segment",
        "is_repeat",
        "predicted_rate",
        "p",
    ]


def test_a_number_tells_its_means_and_a_category_the_share_that_changed_most(market: Any, day: Any) -> None:
    def change(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(
            rate=rows["rate"] + 50.0, segment=np.where(rows["segment"] == "online", "groups", rows["segment"])
        )

    subject = market.change(change, first=day - timedelta(days=6)).subject(day)
    found = {shift.column: shift for shift in shifts(subject, history(subject, day))}
    rate, segment = found["rate"], found["segment"]
    assert rate.before is not None
    assert rate.now is not None
    assert abs(rate.now - rate.before - 50.0) < 8.0
    assert segment.category in {"online", "groups"}
    assert segment.before is not None
    assert segment.now is not None
    assert abs(abs(segment.now - segment.before) - 0.5) < 0.1
    assert rate.score.exceeds
    assert segment.score.exceeds


def test_the_furthest_beyond_its_limit_comes_first(market: Any, day: Any) -> None:
    subject = market.change(lambda rows: rows.assign(cancel_rate=0.9), first=day - timedelta(days=6)).subject(day)
    assert shifts(subject, history(subject, day))[0].column == "cancel_rate"


def test_a_column_of_nulls_is_no_error() -> None:
    from monitoring.subject import Subject

    rows = pd.DataFrame({"a": [np.nan] * 80, "b": [None] * 80})
    subject = Subject("s", rows, rows, ["a"], ["b"])
    found = shifts(subject, History(rows, np.repeat(np.arange(40), 2), 40))
    assert [shift.score.exceeds for shift in found] == [False, False]
