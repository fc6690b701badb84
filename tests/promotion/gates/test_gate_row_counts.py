from __future__ import annotations

from dataclasses import replace

import pytest

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence, RowCount
from ml.promotion.gates.row_counts import RowCounts

GATE = RowCounts()


def judged(good: Evidence, rows: int | None, expected: float | None) -> tuple[Verdict, str]:
    result = GATE.judge(replace(good, row_counts=(RowCount("opportunities", rows=rows, expected=expected, days=7),)))
    return result.verdict, result.reason


@pytest.mark.parametrize("rows", [7_100, 10_000, 12_900])
def test_passes_about_as_many_rows_as_expected(good: Evidence, rows: int) -> None:
    assert judged(good, rows, 10_000.0)[0] is Verdict.PASS


@pytest.mark.parametrize("rows", [5_000, 15_000])
def test_holds_a_week_that_is_unlike_the_season(good: Evidence, rows: int) -> None:
    assert judged(good, rows, 10_000.0)[0] is Verdict.HOLD


def test_fails_a_week_of_which_most_rows_are_lost(good: Evidence) -> None:
    assert judged(good, 2_000, 10_000.0)[0] is Verdict.FAIL


def test_a_small_or_young_table_is_reported_and_does_not_hold(good: Evidence) -> None:
    assert judged(good, 20, 100.0)[0] is Verdict.PASS
    assert judged(good, 20, None)[0] is Verdict.PASS


def test_the_noise_of_counting_is_no_outage(good: Evidence) -> None:
    """400 expected, 270 counted: a third less, and less than two standard errors beyond the limit."""
    assert judged(good, 270, 400.0)[0] is Verdict.PASS


@pytest.mark.parametrize("counts", [None, ()], ids=["not measured", "no table"])
def test_holds_without_counts(good: Evidence, counts: tuple[RowCount, ...] | None) -> None:
    assert GATE.judge(replace(good, row_counts=counts)).verdict is Verdict.HOLD
