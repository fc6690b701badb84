"""Every guard has a day that passes it and a day that does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.core.verdict import Verdict
from monitoring.completeness import LIMITS, guards, kind
from monitoring.findings import QUIET, Finding, verdict_of
from monitoring.histograms import DailyHistogram


def found(findings: list[Finding], check: str, column: str = "") -> Finding:
    (one,) = [f for f in findings if f.check == check and f.column == column]
    return one


def blanked(column: str, share: float, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame[column] = frame[column].astype(object if value is None else float)
        frame.loc[frame.index[: round(share * len(frame))], column] = value
        return frame.astype({column: "float64"}) if column != "segment" else frame

    return change


def test_a_day_like_the_others_passes_every_guard(market: Any, day: date) -> None:
    findings = guards(market.subject(day), day)
    assert {f.verdict for f in findings} == {Verdict.PASS}
    assert {f.check for f in findings} == {
        "minimum_rows",
        "rows",
        "freshness",
        "dtype",
        "null_share",
        "nonfinite_share",
        "constant",
        "swapped",
    }


@pytest.mark.parametrize("column", ["rate", "cancel_rate", "segment"])
def test_sixty_percent_nulls_in_one_feature_fail(market: Any, day: date, column: str) -> None:
    market.change(blanked(column, 0.6, None), first=day)
    finding = found(guards(market.subject(day), day), "null_share", column)
    assert finding.verdict is Verdict.FAIL
    assert finding.number == pytest.approx(0.6)
    assert f"60% of {column} is null" in finding.reason


@pytest.mark.parametrize("column", ["rate", "lead_days"])
def test_a_number_that_always_varied_and_is_the_same_in_every_row_fails_and_only_on_the_first_day(
    market: Any, day: date, column: str
) -> None:
    market.change(lambda frame: frame.assign(**{column: frame[column].median()}), first=day)
    finding = found(guards(market.subject(day), day), "constant", column)
    assert finding.verdict is Verdict.FAIL
    assert f"{column} is one number in every row" in finding.reason
    after = day + timedelta(days=1)
    assert found(guards(market.subject(after), after), "constant", column).verdict is Verdict.PASS, "it may be so now"


def test_a_number_that_is_nearly_always_the_same_may_be_so_in_every_row_of_a_day(market: Any, day: date) -> None:
    """With 97 % at one value a day of 150 rows without another is no damage."""
    rare = lambda frame: frame.assign(rate=np.where(np.arange(len(frame)) % 33 == 5, 2.0, 1.0))  # noqa: E731
    market.change(rare, first=date.min, last=day - timedelta(days=1))
    market.change(lambda frame: frame.assign(rate=1.0), first=day)
    assert found(guards(market.subject(day), day), "constant", "rate").verdict is Verdict.PASS


def test_a_number_that_varied_a_little_is_not_called_constant(market: Any, day: date) -> None:
    market.change(lambda frame: frame.assign(rate=frame["rate"].round(-2)), first=day)
    assert found(guards(market.subject(day), day), "constant", "rate").verdict is Verdict.PASS


def test_a_feature_that_is_often_empty_may_stay_so(market: Any, day: date) -> None:
    """The limit follows the column's own recent days: 30 % nulls every day is its nature."""
    market.change(blanked("cancel_rate", 0.3, None), first=date.min)
    subject = market.subject(day)
    assert found(guards(subject, day), "null_share", "cancel_rate").verdict is Verdict.PASS
    worse = replace(subject, current=blanked("cancel_rate", 0.9, None)(subject.current.copy()))
    assert found(guards(worse, day), "null_share", "cancel_rate").verdict is Verdict.FAIL


def test_thirty_percent_infinities_fail(market: Any, day: date) -> None:
    market.change(blanked("rate", 0.3, np.inf), first=day)
    findings = guards(market.subject(day), day)
    assert found(findings, "nonfinite_share", "rate").verdict is Verdict.FAIL
    assert found(findings, "nonfinite_share", "lead_days").verdict is Verdict.PASS


def test_a_missing_column_fails_and_is_named(market: Any, day: date) -> None:
    market.change(lambda frame: frame.drop(columns="rate"), first=day)
    finding = found(guards(market.subject(day), day), "missing_column", "rate")
    assert finding.verdict is Verdict.FAIL
    assert "rate is missing" in finding.reason


def test_a_column_that_changed_its_type_fails(market: Any, day: date) -> None:
    market.change(lambda frame: frame.assign(rate=frame["rate"].map("{:.2f} EUR".format)), first=day)
    finding = found(guards(market.subject(day), day), "dtype", "rate")
    assert finding.verdict is Verdict.FAIL
    assert "rate holds text where it held number before" in finding.reason


def test_whole_numbers_and_fractions_are_one_type(market: Any, day: date) -> None:
    market.change(lambda frame: frame.assign(lead_days=frame["lead_days"].astype("Int64")), first=day)
    assert found(guards(market.subject(day), day), "dtype", "lead_days").verdict is Verdict.PASS


def test_a_new_column_holds_and_is_named(market: Any, day: date) -> None:
    market.change(lambda frame: frame.assign(surprise=1), first=day)
    finding = found(guards(market.subject(day), day), "new_column", "surprise")
    assert finding.verdict is Verdict.HOLD


@pytest.mark.parametrize("rows", [0, 5])
def test_hardly_any_rows_hold(market: Any, day: date, rows: int) -> None:
    market.change(lambda frame: frame.iloc[:rows], first=day)
    findings = guards(market.subject(day), day)
    assert found(findings, "minimum_rows").verdict is Verdict.HOLD
    assert found(findings, "rows").verdict is Verdict.HOLD
    assert verdict_of(findings) is Verdict.HOLD


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.4, Verdict.HOLD), (0.9, Verdict.PASS), (2.0, Verdict.PASS), (4.0, Verdict.HOLD)]
)
def test_the_row_count_may_breathe_but_not_halve_nor_quadruple(
    market: Any, day: date, share: float, verdict: Verdict
) -> None:
    market.change(lambda frame: frame.sample(frac=share, replace=share > 1, random_state=1), first=day)
    assert found(guards(market.subject(day), day), "rows").verdict is verdict


def test_quiet_sundays_are_no_alarm(market: Any) -> None:
    """Every Sunday has a third of the rows: a Sunday like that passes, a Wednesday like that does not."""

    def quiet(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.iloc[::3] if frame["known_at"].iloc[0].dayofweek == 6 else frame

    market.change(quiet, first=date.min)
    sunday, wednesday = date(2026, 5, 17), date(2026, 5, 20)
    subject = market.subject(sunday)
    assert found(guards(subject, sunday), "rows").verdict is Verdict.PASS
    subject = market.subject(wednesday)
    thinned = replace(subject, current=subject.current.iloc[::3].iloc[:-2])
    assert found(guards(thinned, wednesday), "rows").verdict is Verdict.HOLD


def test_without_earlier_days_the_row_count_is_not_judged_and_nobody_is_woken(market: Any, day: date) -> None:
    findings = guards(market.subject(day, history=0), day)
    assert verdict_of(findings) is Verdict.HOLD
    assert {f.check for f in findings if f.verdict is Verdict.HOLD} <= QUIET


def test_a_reference_without_any_column_is_a_cold_start(market: Any, day: date) -> None:
    subject = replace(market.subject(day, history=0), reference=pd.DataFrame())
    findings = guards(subject, day)
    assert {f.check for f in findings if f.verdict is not Verdict.PASS} <= QUIET


def test_a_small_market_is_told_without_waking_anybody(market: Any, day: date) -> None:
    market.rows = 6
    findings = guards(market.subject(day), day)
    assert {f.check for f in findings if f.verdict is Verdict.HOLD} == {"small_market"}


def test_only_recent_days_say_what_is_usual(market: Any, day: date) -> None:
    """A day of nulls long ago does not widen the limit of today."""
    long_ago = day - timedelta(days=LIMITS.recent_days + 1)
    market.change(blanked("rate", 0.9, None), first=long_ago, last=long_ago)
    market.change(blanked("rate", 0.6, None), first=day)
    assert found(guards(market.subject(day), day), "null_share", "rate").verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.Series([1, 2], dtype="Int64"), "number"),
        (pd.Series([True, None], dtype="boolean"), "truth"),
        (pd.Series([True, None], dtype=object), "truth"),
        (pd.Series(["a", "b"], dtype="category"), "text"),
        (pd.Series([1, 2], dtype="category"), "number"),
        (pd.to_datetime(pd.Series(["2026-01-01"]), utc=True), "time"),
        (pd.Series([None, np.nan], dtype=object), ""),
        (pd.Series(["a", 1], dtype=object), "mixed"),
    ],
)
def test_kinds_do_not_depend_on_storage(values: pd.Series, expected: str) -> None:
    assert kind(values) == expected


def test_being_shown_less_often_is_no_broken_delivery_and_half_a_delivery_is(market: Any, day: date) -> None:
    """Of traffic only the offers that our own bids won are looked at; what was delivered is counted apart."""
    before = {day - timedelta(days=n): 10_000 for n in range(1, 57)}
    shown = market.subject(day)
    shown = replace(shown, current=shown.current.head(30), volume={**before, day: 10_100})
    assert found(guards(replace(shown, volume=None), day), "rows").verdict is Verdict.HOLD
    assert found(guards(shown, day), "rows").verdict is Verdict.PASS
    halved = found(guards(replace(shown, volume={**before, day: 4_000}), day), "rows")
    assert (halved.verdict, halved.number) == (Verdict.HOLD, 4_000)


def test_a_delivery_that_was_cut_off_in_the_afternoon_is_no_whole_day(market: Any, day: date) -> None:
    until = pd.Timestamp(day, tz="UTC") + pd.Timedelta(hours=15)
    market.change(lambda rows: rows[rows["known_at"] < until], first=day)
    assert found(guards(market.subject(day), day), "freshness").verdict is Verdict.HOLD


def test_a_source_that_always_delivers_at_noon_is_fresh(market: Any, day: date) -> None:
    def noon(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(known_at=rows["known_at"].dt.floor("D") + pd.Timedelta(hours=12))

    market.change(noon, first=date.min)
    assert found(guards(market.subject(day), day), "freshness").verdict is Verdict.PASS


def test_a_fall_of_rows_that_came_last_year_too_is_no_lost_delivery(market: Any, day: date) -> None:
    """Half the rows from one day to the next: odd by the last weeks, usual by the same weeks of last year."""
    subject = market.subject(day)
    level = {day - timedelta(days=n): 10_000 for n in range(1, 57)} | {day: 4_000}
    fell = {day - timedelta(days=364 + n): 4_000 if n < 8 else 10_000 for n in range(-7, 57)}
    alone = found(guards(replace(subject, volume=level), day), "rows")
    seasonal = found(guards(replace(subject, volume={**level, **fell}), day), "rows")
    assert alone.verdict is Verdict.HOLD
    assert seasonal.verdict is Verdict.PASS


def test_a_column_counted_where_it_lies_is_judged_on_all_rows(market: Any, day: date) -> None:
    """The rows at hand are whole; half of all that were delivered are null."""
    subject = market.subject(day)
    counts = np.zeros((60, 3))
    counts[:, 0] = 1_000.0
    counts[-1] = [500.0, 0.0, 500.0]
    tally = DailyHistogram(counts, np.array([1.0, 2.0]), (), np.zeros(60))
    assert found(guards(subject, day), "null_share", "rate").verdict is Verdict.PASS
    counted = guards(replace(subject, tallies={"rate": tally}), day)
    assert found(counted, "null_share", "rate").verdict is Verdict.FAIL
    infinite = replace(tally, nonfinite=counts[:, -1])
    assert (
        found(guards(replace(subject, tallies={"rate": infinite}), day), "nonfinite_share", "rate").verdict
        is Verdict.FAIL
    )


def test_a_number_counted_where_it_lies_that_is_one_value_fails(market: Any, day: date) -> None:
    subject = market.subject(day)
    counts = np.zeros((60, 4))
    counts[:, :3] = 400.0, 300.0, 300.0
    varied = DailyHistogram(counts.copy(), np.array([1.0, 2.0, 3.0]), (), np.zeros(60))
    counts[-1] = [0.0, 900.0, 0.0, 100.0]
    stuck = DailyHistogram(counts, np.array([1.0, 2.0, 3.0]), (), np.zeros(60))
    for tally, verdict in ((varied, Verdict.PASS), (stuck, Verdict.FAIL)):
        assert found(guards(replace(subject, tallies={"rate": tally}), day), "constant", "rate").verdict is verdict
