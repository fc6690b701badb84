from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence
from ml.promotion.gates.label_maturity import LabelMaturity

GATE = LabelMaturity()


def with_model(good: Evidence, **changes: Any) -> Evidence:
    return replace(good, models=(replace(good.models[0], **changes),))


def test_passes_when_every_row_is_certain_or_corrected(good: Evidence) -> None:
    result = GATE.judge(good)
    assert (result.verdict, result.number, result.sample) == (Verdict.PASS, 1.0, 10_000)


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"corrected_rows": 1_000}, 0.9),
        ({"certain_rows": 4_000, "corrected_rows": 6_000}, 0.4),
        ({"corrected_rows": 3_000}, 1.1),
    ],
    ids=["open rows taken as they are", "hardly anything certain", "more rows than there are"],
)
def test_fails_on_immature_training_rows(good: Evidence, changes: dict[str, Any], number: float) -> None:
    result = GATE.judge(with_model(good, **changes))
    assert (result.verdict, result.number) == (Verdict.FAIL, pytest.approx(number))


@pytest.mark.parametrize(
    "changes",
    [{"training_rows": 900, "certain_rows": 900}, {"evaluation_rows": 299}, {"positives": 29}, {"positives": 1_980}],
    ids=["training", "evaluation", "positives", "negatives"],
)
def test_holds_while_there_are_too_few_rows(good: Evidence, changes: dict[str, Any]) -> None:
    result = GATE.judge(with_model(good, **changes))
    assert result.verdict is Verdict.HOLD
    assert "are needed" in result.reason


@pytest.mark.parametrize("name", ["training_rows", "certain_rows", "corrected_rows", "evaluation_rows", "positives"])
def test_holds_when_a_number_is_missing(good: Evidence, name: str) -> None:
    assert GATE.judge(with_model(good, **{name: None})).verdict is Verdict.HOLD


@pytest.mark.parametrize(
    "changes",
    [
        {"certain_rows": 5_000, "corrected_rows": 4_500},
        {"training_rows": 1_000, "certain_rows": 1_000, "corrected_rows": 0},
        {"evaluation_rows": 300, "positives": 30},
    ],
    ids=str,
)
def test_a_limit_itself_is_enough(good: Evidence, changes: dict[str, Any]) -> None:
    assert GATE.judge(with_model(good, **changes)).verdict is Verdict.PASS


def test_a_rare_outcome_is_named_as_what_there_is_too_little_of(good: Evidence) -> None:
    assert GATE.judge(with_model(good, positives=29)).reason == (
        "value: 29 positive evaluation rows (of the rarer outcome); 30 are needed"
    )
    assert GATE.judge(with_model(good, evaluation_rows=299)).reason == "value: 299 evaluation rows; 300 are needed"
