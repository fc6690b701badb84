"""Money is exact and days are unambiguous."""

from __future__ import annotations

import doctest
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.core import digests, units, verdict
from ml.core.errors import UsageError


@pytest.mark.parametrize("module", [units, verdict, digests], ids=lambda module: module.__name__)
def test_every_example_in_the_docstrings_is_true(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted > 0
    assert result.failed == 0


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_micros_survive_the_way_to_a_person_and_back(micros: int) -> None:
    assert units.to_micros(units.from_micros(micros)) == micros


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), float("-inf")])
def test_an_amount_that_is_no_number_is_refused(amount: float) -> None:
    with pytest.raises(UsageError, match="not a finite number"):
        units.to_micros(amount)


@pytest.mark.parametrize("text", ["2016-1-1", "20160101", "2016-02-30", "yesterday", "", "2016-10-01T00:00"])
def test_only_a_whole_iso_day_is_a_market_day(text: str) -> None:
    with pytest.raises(UsageError, match="YYYY-MM-DD"):
        units.parse_day(text)


def test_a_day_is_known_when_the_next_one_starts() -> None:
    day = date(2016, 2, 29)
    assert units.known_by(day) == units.day_start(date(2016, 3, 1)) == datetime(2016, 3, 1, tzinfo=UTC)


def test_days_between_counts_both_ends_and_is_empty_backwards() -> None:
    assert len(units.days_between(date(2016, 2, 27), date(2016, 3, 1))) == 4
    assert units.days_between(date(2016, 3, 1), date(2016, 2, 27)) == []
