"""The verdict of a day: order of the parts, confirmation, importance, cold start, and what errors become."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.core.verdict import Verdict
from monitoring import judgement
from monitoring.drift import DriftResult
from monitoring.findings import QUIET, Finding, held
from monitoring.judgement import DriftVerdict, Explanation, Limits, judge_day
from monitoring.windows import WINDOWS
from tests.monitoring.conftest import Market

NO_OPINION = DriftResult({}, None)


@pytest.fixture(autouse=True)
def evidently_out_of_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own tests are elsewhere; here it would cost a second a call."""
    monkeypatch.setattr(judgement, "distances", lambda *_, **__: NO_OPINION)


def predict(rows: pd.DataFrame) -> pd.DataFrame:
    rate, cancel = rows["rate"].to_numpy(dtype=float), rows["cancel_rate"].to_numpy(dtype=float)
    return pd.DataFrame({"p_cancel": cancel, "net_value": rate * 3 * (1 - cancel)}, index=rows.index)


def matured(ratio: float) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    value = rng.lognormal(5, 0.3, 2000)
    return pd.DataFrame(
        {"day": np.arange(2000) % 28, "expected_micros": value * ratio, "realised_micros": rng.permutation(value)}
    )


SERVED = {"hotel_traffic": {"compared": 200, "equal": {"traffic_ctr_7d": 200}, "differing": []}}


def watcher(verdict: Verdict) -> Finding:
    return Finding("tracking", "bookings", "", verdict, 0.1, 0.5, "hardly a booking came on its day")


def dearer(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(rate=rows["rate"] * 1.5)


def test_a_day_like_the_others_passes_every_part(market: Any, day: Any) -> None:
    subject = market.subject(day, predict=predict)
    verdict = judge_day([subject], day=day, matured=matured(1.0), served=SERVED, watched=[watcher(Verdict.PASS)])
    assert verdict.verdict is Verdict.PASS
    assert verdict.parts == dict.fromkeys(judgement.PARTS, Verdict.PASS)
    assert verdict.reasons == []
    assert not verdict.held


def test_a_day_that_is_not_whole_is_held_and_judged_no_further(market: Any, day: Any) -> None:
    market.change(lambda rows: rows.assign(rate=np.inf), first=day)
    verdict = judge_day([market.subject(day, predict=predict)], day=day, matured=matured(9.0))
    assert verdict.verdict is Verdict.FAIL
    assert verdict.held
    assert set(verdict.parts) == {"completeness"}
    assert verdict.shifts == []


def test_a_shift_is_watched_on_its_first_day_and_drift_on_its_second(market: Any, day: Any) -> None:
    market.change(dearer, first=day - timedelta(days=3))
    first = judge_day([market.subject(day)], day=day)
    assert first.parts["drift"] is Verdict.PASS
    assert [shift.name for shift in first.exceeding] == ["bookings.rate"]
    reasons = [f.reason for f in first.findings["drift"] if f.column == "rate"]
    assert "confirmed if it is still there tomorrow" in reasons[0]
    second = judge_day([market.subject(day)], day=day, exceeded_before=frozenset({"bookings.rate"}))
    assert second.parts["drift"] is Verdict.FAIL
    assert second.confirmed("drift") == ["bookings.rate"]
    assert not second.held


def test_a_shift_on_two_of_three_days_is_drift_though_the_day_between_was_quiet(market: Any, day: Any) -> None:
    market.change(dearer, first=day - timedelta(days=3))
    two_days_ago, yesterday = ["bookings.rate"], []  # type: ignore[var-annotated]
    verdict = judge_day([market.subject(day)], day=day, exceeded_before=[*two_days_ago, *yesterday])
    assert verdict.confirmed("drift") == ["bookings.rate"]
    patient = Limits(windows=replace(WINDOWS, confirm_days=3))
    once = judge_day([market.subject(day)], day=day, exceeded_before=two_days_ago, limits=patient)
    twice = judge_day([market.subject(day)], day=day, exceeded_before=two_days_ago * 2, limits=patient)
    assert (once.parts["drift"], twice.parts["drift"]) == (Verdict.PASS, Verdict.FAIL)


def test_a_first_year_and_a_last_year_with_a_hole_are_told(market: Any, day: Any) -> None:
    assert "last year is not known yet" in judge_day([market.subject(day)], day=day).notes[0]
    then = day - timedelta(days=364)
    known = market.subject(day, history=WINDOWS.year_of_use[0])
    assert judge_day([known], day=day).notes == []
    market.change(lambda rows: rows.iloc[:0], first=then - timedelta(days=9), last=then)
    (note,) = judge_day([market.subject(day, history=WINDOWS.year_of_use[0])], day=day).numbers()["notes"]
    assert note == "bookings: last year has a hole, 11 of 21 days of these weeks are known; they are not used"


def test_ten_times_the_rows_have_the_same_verdict(day: Any) -> None:
    """A change of prices by a hundredth is certain with enough rows, and no drift with any number of them."""
    for factor, verdict in ((1.01, Verdict.PASS), (1.5, Verdict.FAIL)):
        for rows in (150, 1_500):
            market = Market(rows=rows)
            market.change(lambda frame, by=factor: frame.assign(rate=frame["rate"] * by), first=day - timedelta(days=3))
            judged = judge_day([market.subject(day)], day=day, exceeded_before=["bookings.rate"])
            assert judged.parts["drift"] is verdict, (factor, rows)


def test_without_a_report_nobody_asks_evidently_and_the_verdict_is_the_same(
    market: Any, day: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    market.change(dearer, first=day - timedelta(days=3))
    asked = judge_day([market.subject(day)], day=day)
    monkeypatch.setattr(judgement, "distances", None)
    bare = judge_day([market.subject(day)], day=day, report=False)
    assert bare.numbers() == asked.numbers()


def test_a_report_keeps_what_a_page_draws(market: Any, day: Any) -> None:
    market.change(dearer, first=day - timedelta(days=6))
    columns = {column["column"]: column for column in judge_day([market.subject(day)], day=day).numbers()["columns"]}
    rate, segment = columns["rate"], columns["segment"]
    assert rate["distance"] == rate["score"] > rate["limit"]
    assert rate["q"] <= WINDOWS.rate < segment["q"]
    assert rate["reference"] == "last four weeks"
    assert len(rate["shape"]["at"]) == len(rate["shape"]["now"]) == len(rate["shape"]["reference"]) <= 24
    assert rate["shape"]["at"] == sorted(rate["shape"]["at"])
    assert set(segment["shape"]["at"]) == {"groups", "online", "direct"}
    for column in columns.values():
        assert sum(column["shape"]["now"]) == pytest.approx(1.0, abs=0.01)


def test_another_column_yesterday_confirms_nothing_today(market: Any, day: Any) -> None:
    market.change(dearer, first=day - timedelta(days=3))
    verdict = judge_day([market.subject(day)], day=day, exceeded_before=frozenset({"bookings.segment"}))
    assert verdict.parts["drift"] is Verdict.PASS


def test_only_columns_that_carry_the_gain_are_a_reason_to_act(market: Any, day: Any) -> None:
    market.change(dearer, first=day - timedelta(days=3))
    seen = frozenset({"bookings.rate"})
    shares = {"rate": 0.02, "lead_days": 0.6, "cancel_rate": 0.35, "segment": 0.02, "is_repeat": 0.01}
    unimportant = judge_day([market.subject(day, importance=shares)], day=day, exceeded_before=seen)
    assert unimportant.parts["drift"] is Verdict.PASS
    assert unimportant.exceeding == []
    shares |= {"rate": 0.6, "lead_days": 0.02}
    important = judge_day([market.subject(day, importance=shares)], day=day, exceeded_before=seen)
    assert important.parts["drift"] is Verdict.FAIL


def test_predictions_are_watched_whatever_moved_them(market: Any, day: Any) -> None:
    """Two columns that nobody calls important move the predictions: that matters."""
    market.change(dearer, first=day - timedelta(days=3))
    subject = market.subject(day, importance={"lead_days": 1.0}, predict=predict)
    verdict = judge_day([subject], day=day, exceeded_before=frozenset({"bookings.net_value"}), matured=matured(1.0))
    assert verdict.parts["drift"] is Verdict.PASS
    assert verdict.parts["predictions"] is Verdict.FAIL
    assert verdict.verdict is Verdict.FAIL


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_prediction_that_is_no_number_fails(market: Any, day: Any, value: float) -> None:
    def broken(rows: pd.DataFrame) -> pd.DataFrame:
        answers = predict(rows)
        answers.iloc[-1, 0] = value
        return answers

    verdict = judge_day([market.subject(day, predict=broken)], day=day)
    assert verdict.parts["predictions"] is Verdict.FAIL


def test_a_champion_that_cannot_score_holds_and_the_features_are_judged_all_the_same(market: Any, day: Any) -> None:
    def broken(rows: pd.DataFrame) -> pd.DataFrame:
        raise RuntimeError("feature names differ")

    verdict = judge_day([market.subject(day, predict=broken)], day=day)
    assert verdict.parts["predictions"] is Verdict.HOLD
    assert verdict.parts["drift"] is Verdict.PASS
    assert "RuntimeError: feature names differ" in " ".join(verdict.reasons)


def test_one_prediction_too_few_holds(market: Any, day: Any) -> None:
    verdict = judge_day([market.subject(day, predict=lambda rows: predict(rows).iloc[1:])], day=day)
    assert verdict.parts["predictions"] is Verdict.HOLD


def test_an_exception_in_evidently_holds(market: Any, day: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def broken(*args: object, **options: object) -> DriftResult:
        asked.append(options)
        return DriftResult({}, None, held("drift_error", "bookings", "bookings: drift could not be computed (boom)"))

    monkeypatch.setattr(judgement, "distances", broken)
    verdict = judge_day([market.subject(day, predict=predict)], day=day, matured=matured(1.0))
    assert len(asked) == 1
    assert verdict.parts["drift"] is Verdict.HOLD
    assert verdict.verdict is Verdict.HOLD
    assert verdict.reasons == ["bookings: drift could not be computed (boom)"]


@pytest.mark.parametrize("history", [0, 10, 47])
def test_a_cold_start_holds_and_says_what_is_missing(market: Any, day: Any, history: int) -> None:
    verdict = judge_day([market.subject(day, history=history)], day=day)
    assert verdict.verdict is Verdict.HOLD
    assert f"bookings: {history + 1} days are known, 49 are needed to judge drift" in verdict.reasons
    unsure = [f for findings in verdict.findings.values() for f in findings if f.verdict is Verdict.HOLD]
    assert {f.check for f in unsure} <= QUIET


def test_as_soon_as_there_is_enough_history_drift_is_judged(market: Any, day: Any) -> None:
    assert judge_day([market.subject(day, history=48)], day=day).parts["drift"] is Verdict.PASS


def test_without_a_champion_predictions_and_calibration_wait(market: Any, day: Any) -> None:
    verdict = judge_day([market.subject(day)], day=day)
    assert verdict.parts["drift"] is Verdict.PASS
    assert verdict.parts["predictions"] is Verdict.HOLD
    assert verdict.parts["calibration"] is Verdict.HOLD


def test_nothing_to_watch_is_no_pass(day: Any) -> None:
    assert judge_day([], day=day).verdict is Verdict.HOLD


def test_calibration_that_is_off_fails_the_day_without_holding_it(market: Any, day: Any) -> None:
    verdict = judge_day([market.subject(day, predict=predict)], day=day, matured=matured(1.5))
    assert verdict.parts["calibration"] is Verdict.FAIL
    assert verdict.verdict is Verdict.FAIL
    assert not verdict.held


def test_one_bursty_day_is_no_drift_on_any_of_the_days_after_it(market: Any, day: Any) -> None:
    """A group books four times as many rooms as all others together, all alike, on one day."""
    burst = day - timedelta(days=2)

    def group(rows: pd.DataFrame) -> pd.DataFrame:
        booked = rows.sample(600, replace=True, random_state=0).assign(segment="groups", lead_days=200, rate=70.0)
        return pd.concat([rows, booked], ignore_index=True)

    market.change(group, first=burst, last=burst)
    before: frozenset[str] = frozenset()
    for n in range(9):
        verdict = judge_day(
            [market.subject(burst + timedelta(days=n))], day=burst + timedelta(days=n), exceeded_before=before
        )
        assert verdict.parts["drift"] is Verdict.PASS, n
        before = frozenset(shift.name for shift in verdict.exceeding)


def test_two_subjects_are_judged_together_and_told_apart(market: Any, day: Any) -> None:
    market.change(dearer, first=day - timedelta(days=3))
    bookings = market.subject(day)
    clicks = replace(bookings, name="clicks", numeric=["lead_days"], categorical=["segment"])
    verdict = judge_day([bookings, clicks], day=day, exceeded_before=frozenset({"bookings.rate", "clicks.lead_days"}))
    assert verdict.confirmed("drift") == ["bookings.rate"]
    assert {shift.subject for shift in verdict.shifts} == {"bookings", "clicks"}


def test_the_numbers_are_small_json_and_the_same_twice(market: Any, day: Any) -> None:
    subject = market.subject(day, predict=predict)
    first, again = (judge_day([subject], day=day, matured=matured(1.0)).numbers() for _ in range(2))
    assert first == again
    text = json.dumps(first, allow_nan=False)
    assert len(text) < 12_000
    assert {column["name"] for column in first["columns"]} >= {"bookings.rate", "bookings.net_value"}


def test_evidently_is_given_our_limits_and_what_it_sees_otherwise_is_told(
    market: Any, day: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from monitoring.drift import ColumnDrift

    given: dict[str, Any] = {}

    def opinion(
        current: pd.DataFrame, reference: pd.DataFrame, columns: Any, categorical: Any, **options: Any
    ) -> DriftResult:
        given.update(options, current=current, reference=reference, categorical=categorical)
        return DriftResult({"rate": ColumnDrift("rate", "wasserstein", 0.9, options["thresholds"]["rate"])}, b"<html>")

    monkeypatch.setattr(judgement, "distances", opinion)
    market.change(dearer, first=day, last=day)
    verdict = judge_day([market.subject(day - timedelta(days=1))], day=day - timedelta(days=1))
    assert given["thresholds"]["rate"] >= 0.1
    assert set(given["categorical"]) == {"segment", "is_repeat"}
    assert len(given["current"]) == 7 * 150
    assert len(given["reference"]) == 28 * 150
    assert verdict.reports == {"bookings": b"<html>"}
    (told,) = [f for f in verdict.findings["drift"] if f.check == "second_opinion"]
    assert told.column == "rate"
    assert told.verdict is Verdict.PASS


def test_what_the_watchers_found_counts_also_on_a_day_that_is_not_whole(market: Any, day: Any) -> None:
    market.change(lambda rows: rows.assign(rate=np.inf), first=day)
    verdict = judge_day([market.subject(day)], day=day, watched=[watcher(Verdict.FAIL)])
    assert verdict.parts["watchers"] is Verdict.FAIL
    assert verdict.numbers()["watchers"][0]["reason"] == "hardly a booking came on its day"


def test_causes_and_costs_stand_beside_the_shifts_they_explain(market: Any, day: Any) -> None:
    def explain(verdict: DriftVerdict) -> Explanation:
        assert verdict.shifts
        cause = {"cause": "drift:rivals", "share": 1.0, "evidence": ["our price moved against theirs"]}
        return Explanation([cause], {"bookings.rate": {"spend_micros": 5}})

    numbers = judge_day([market.subject(day)], day=day, explain=explain).numbers()
    assert numbers["diagnosis"][0]["cause"] == "drift:rivals"
    by_name = {column["name"]: column["impact"] for column in numbers["columns"]}
    assert by_name["bookings.rate"] == {"spend_micros": 5}
    assert by_name["bookings.segment"] is None


def test_a_verdict_that_cannot_be_explained_is_told_and_keeps_its_shifts(market: Any, day: Any) -> None:
    def broken(verdict: DriftVerdict) -> Explanation:
        raise RuntimeError("no series")

    verdict = judge_day([market.subject(day)], day=day, explain=broken)
    assert "the causes could not be told (RuntimeError: no series)" in verdict.reasons
    assert verdict.shifts
