"""A series survives its way through the ledger; one that is broken is left out, and costs no mail."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from monitoring.series import DAYS_KEPT, Series, charts_from, series_from
from tests.monitoring.sample_mails import series


def test_a_series_comes_back_as_it_was() -> None:
    made = series("clicks", "a day", 2_000, 0.7)
    back = series_from(json.loads(json.dumps(made.as_json(), allow_nan=False)))
    assert back is not None
    assert back.as_json() == made.as_json()
    assert (back.marked, list(back.days)) == (made.marked, list(made.days))


def test_what_is_no_number_becomes_a_gap() -> None:
    days = [date(2026, 3, 1), date(2026, 3, 2)]
    kept = Series("x", "", days, [math.nan, math.inf]).as_json()
    assert kept["values"] == [None, None]
    assert kept["low"] is None


GOOD: dict[str, Any] = Series("x", "", [date(2026, 3, 1), date(2026, 3, 2)], [1.0, 2.0]).as_json()


@pytest.mark.parametrize(
    "change",
    [
        {"values": [1.0]},
        {"values": None},
        {"values": ["a", "b"]},
        {"values": 7},
        {"low": [1.0]},
        {"days": ["yesterday", "today"]},
        {"days": ["2026-03-02", "2026-03-01"]},
        {"days": ["2026-03-02", "2026-03-02"]},
        {"days": None},
        {"marked": "never"},
        {"marked": 7},
    ],
    ids=str,
)
def test_a_series_that_is_broken_is_left_out(change: dict[str, Any]) -> None:
    assert series_from(GOOD | change) is None
    assert [one.name for one in charts_from([GOOD | change, GOOD])] == ["x"]


@pytest.mark.parametrize("kept", [None, "charts", 7, {"name": "x"}, [None, 7, "x", []]])
def test_what_are_no_charts_at_all_are_none(kept: Any) -> None:
    assert charts_from(kept) == []


def test_only_the_last_days_of_a_long_series_are_kept() -> None:
    days = [date(2020, 1, 1) + timedelta(days=n) for n in range(DAYS_KEPT * 3)]
    long = replace(Series("x", "", days, [float(n) for n in range(len(days))]), marked=days[-1])
    back = series_from(long.as_json())
    assert back is not None
    assert len(back.days) == len(back.values) == DAYS_KEPT
    assert back.values[-1] == len(days) - 1
