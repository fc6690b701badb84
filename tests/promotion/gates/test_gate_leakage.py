from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from ml.core.verdict import Verdict
from ml.evaluation.metrics import auc
from ml.promotion.evidence import Evidence
from ml.promotion.gates.leakage import Leakage, auc_standard_error

GATE = Leakage()


def with_model(good: Evidence, **changes: Any) -> Evidence:
    return replace(good, models=(replace(good.models[0], **changes),))


def with_order(good: Evidence, **changes: Any) -> Evidence:
    assert good.order is not None
    return replace(good, order=replace(good.order, **changes))


def test_passes_on_time_order_and_clean_columns(good: Evidence) -> None:
    result = GATE.judge(good)
    assert (result.verdict, result.number, result.threshold) == (Verdict.PASS, 0.0, 0.06)


@pytest.mark.parametrize("column", ["country", "Deposit_Type"])
def test_fails_on_a_leaky_column_whatever_the_case_of_its_letters(good: Evidence, column: str) -> None:
    result = GATE.judge(with_model(good, inputs=("lead_days", column)))
    assert result.verdict is Verdict.FAIL
    assert column in result.reason


def test_fails_on_a_feature_from_after_the_decision(good: Evidence) -> None:
    result = GATE.judge(with_order(good, rows_with_future_features=3))
    assert (result.verdict, result.number) == (Verdict.FAIL, 3.0)


def test_fails_when_judged_on_what_training_knew_by_a_second(good: Evidence) -> None:
    result = GATE.judge(with_order(good, trained_known_by=datetime(2025, 2, 25, 0, 0, 1, tzinfo=UTC)))
    assert (result.verdict, result.number) == (Verdict.FAIL, 1.0)


def test_fails_when_a_row_that_was_fitted_on_became_known_after_the_end_of_training(good: Evidence) -> None:
    """A split at random: half of what is judged was learned from, although the bundle names an earlier end."""
    result = GATE.judge(with_order(good, newest_fitted=datetime(2025, 2, 25, 0, 0, 1, tzinfo=UTC)))
    assert (result.verdict, result.number) == (Verdict.FAIL, 1.0)
    assert "fitted on" in result.reason


def test_holds_on_a_discrimination_too_good_to_be_true(good: Evidence) -> None:
    """0.10 above the champion; without a champion 0.14 above the baseline. Standard error 0.011."""
    against_champion = GATE.judge(with_model(good, auc=0.90))
    first = replace(with_model(good, auc=0.91, champion_auc=None), champion_generation=0)
    assert against_champion.verdict is Verdict.HOLD
    assert "too good" in against_champion.reason
    assert GATE.judge(first).verdict is Verdict.HOLD
    assert GATE.judge(with_model(first, auc=0.86)).verdict is Verdict.PASS


def test_holds_on_a_column_that_tells_the_outcome_by_itself_although_the_champion_profits_from_it_too(
    good: Evidence,
) -> None:
    corrected = with_model(
        good, auc=0.98, champion_auc=0.95, strongest_column="previous_cancellations", strongest_auc=0.96
    )
    result = GATE.judge(corrected)
    assert result.verdict is Verdict.HOLD
    assert "previous_cancellations" in result.reason
    assert GATE.judge(with_model(good, strongest_auc=0.80)).verdict is Verdict.PASS


def test_a_gain_that_chance_explains_is_believed(good: Evidence) -> None:
    """0.10 above the champion, on 40 positives: standard error 0.035."""
    assert GATE.judge(with_model(good, auc=0.90, positives=40)).verdict is Verdict.PASS


@pytest.mark.parametrize(
    "name", ["trained_known_by", "newest_fitted", "evaluated_known_from", "rows_with_future_features", "leaky_columns"]
)
def test_holds_when_the_order_is_not_known(good: Evidence, name: str) -> None:
    assert GATE.judge(with_order(good, **{name: None})).verdict is Verdict.HOLD


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": None},
        {"inputs": ()},
        {"auc": None},
        {"auc": float("nan")},
        {"champion_auc": None},
        {"positives": 0},
        {"strongest_auc": None},
    ],
    ids=str,
)
def test_holds_when_a_number_of_the_model_is_missing(good: Evidence, changes: dict[str, Any]) -> None:
    assert GATE.judge(with_model(good, **changes)).verdict is Verdict.HOLD


def test_a_leaky_column_fails_even_where_the_order_is_missing(good: Evidence) -> None:
    evidence = with_order(with_model(good, inputs=("country",)), rows_with_future_features=None)
    assert GATE.judge(evidence).verdict is Verdict.FAIL


def test_the_standard_error_is_that_of_repeated_samples() -> None:
    """Exponential scores, for which the formula is exact: means 4 and 1 make an AUC of 4 / (4 + 1)."""
    rng = np.random.default_rng(7)
    sampled = [
        auc(np.repeat([1, 0], [50, 150]), np.concatenate([rng.exponential(4, 50), rng.exponential(1, 150)]))
        for _ in range(2000)
    ]
    assert np.mean(sampled) == pytest.approx(0.8, abs=0.005)
    assert auc_standard_error(0.8, positives=50, negatives=150) == pytest.approx(np.std(sampled), rel=0.06)


@pytest.mark.parametrize(("positives", "negatives"), [(0, 10), (10, 0), (0, 0)])
def test_without_one_of_the_classes_there_is_no_standard_error(positives: int, negatives: int) -> None:
    assert np.isnan(auc_standard_error(0.8, positives=positives, negatives=negatives))


def test_one_row_of_a_class_has_a_standard_error() -> None:
    assert auc_standard_error(0.8, positives=1, negatives=10) > 0
    assert auc_standard_error(0.8, positives=10, negatives=1) > 0
