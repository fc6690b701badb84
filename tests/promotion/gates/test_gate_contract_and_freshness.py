from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence
from ml.promotion.gates.contract_and_freshness import ContractAndFreshness

GATE = ContractAndFreshness()
DAY = date(2025, 3, 10)


def with_inputs(good: Evidence, **changes: Any) -> Evidence:
    assert good.inputs is not None
    return replace(good, inputs=replace(good.inputs, **changes))


def test_passes_when_data_and_features_reach_the_day(good: Evidence) -> None:
    result = GATE.judge(good)
    assert (result.verdict, result.number, result.sample) == (Verdict.PASS, 0.0, 69)


@pytest.mark.ml_test_score("monitor4")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"last_day": DAY - timedelta(days=2)}, "the data are 2 days behind 2025-03-10"),
        ({"watermark": DAY - timedelta(days=1)}, "the features are 1 days behind 2025-03-10"),
    ],
    ids=["stale data", "stale features"],
)
def test_fails_on_stale_inputs(good: Evidence, changes: dict[str, Any], reason: str) -> None:
    result = GATE.judge(with_inputs(good, **changes))
    assert result.verdict is Verdict.FAIL
    assert result.reason == reason


@pytest.mark.parametrize("kind", ["missing_days", "held_days"])
def test_fails_on_a_recent_missing_or_held_day_but_not_on_an_old_one(good: Evidence, kind: str) -> None:
    recent = GATE.judge(with_inputs(good, **{kind: (DAY - timedelta(days=6),)}))
    old = GATE.judge(with_inputs(good, **{kind: (DAY - timedelta(days=7),)}))
    assert recent.verdict is Verdict.FAIL
    assert "2025-03-04" in recent.reason
    assert (old.verdict, old.number) == (Verdict.PASS, pytest.approx(1 / 69))


def test_fails_when_too_many_old_days_are_missing(good: Evidence) -> None:
    days = tuple(DAY - timedelta(days=n) for n in range(20, 24))
    result = GATE.judge(with_inputs(good, missing_days=days))
    assert (result.verdict, result.threshold) == (Verdict.FAIL, 0.05)


def test_fails_when_rows_of_a_held_day_were_used_however_old(good: Evidence) -> None:
    days = tuple(DAY - timedelta(days=n) for n in range(40, 45))
    result = GATE.judge(with_inputs(good, held_days=days[:1], unfit_days_used=days))
    assert result.verdict is Verdict.FAIL
    assert "2025-01-29, 2025-01-28, 2025-01-27 and 2 more" in result.reason


@pytest.mark.parametrize(
    "name", ["data_digest", "first_day", "last_day", "missing_days", "held_days", "unfit_days_used", "watermark"]
)
def test_holds_when_a_number_is_missing(good: Evidence, name: str) -> None:
    result = GATE.judge(with_inputs(good, **{name: None}))
    assert result.verdict is Verdict.HOLD
    assert "not measured" in result.reason


def test_holds_without_any_evidence_and_without_any_day(good: Evidence) -> None:
    assert GATE.judge(replace(good, inputs=None)).verdict is Verdict.HOLD
    assert GATE.judge(with_inputs(good, first_day=DAY + timedelta(days=1))).verdict is Verdict.HOLD


def test_the_share_of_unfit_days_may_reach_its_limit(good: Evidence) -> None:
    days = tuple(DAY - timedelta(days=n) for n in (10, 11))
    evidence = with_inputs(good, first_day=DAY - timedelta(days=39), missing_days=days)
    result = GATE.judge(evidence)
    assert (result.verdict, result.number) == (Verdict.PASS, 0.05)


def test_one_day_is_enough_to_be_judged(good: Evidence) -> None:
    assert GATE.judge(with_inputs(good, first_day=DAY)).verdict is Verdict.PASS


def test_three_days_are_named_in_full(good: Evidence) -> None:
    days = tuple(DAY - timedelta(days=n) for n in range(3))
    assert GATE.judge(with_inputs(good, held_days=days)).reason.endswith("2025-03-10, 2025-03-09, 2025-03-08")


def test_data_are_blamed_where_data_and_features_are_as_late(good: Evidence) -> None:
    late = DAY - timedelta(days=1)
    assert GATE.judge(with_inputs(good, last_day=late, watermark=late)).reason.startswith("the data are")
