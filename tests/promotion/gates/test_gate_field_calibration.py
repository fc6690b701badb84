from __future__ import annotations

from dataclasses import replace

import pytest

from ml.core.verdict import Verdict
from ml.evaluation.two_way import Estimate
from ml.promotion.evidence import Evidence, FieldEvidence
from ml.promotion.gates.field_calibration import FieldCalibration

GATE = FieldCalibration()


def field(ratio: float, error: float = 0.02, *, events: float = 500.0, label: str = "a") -> FieldEvidence:
    return FieldEvidence("device", label, 900, events, ratio * 100.0, 100.0, Estimate(ratio, error, 13, 40, 14, 900))


def judged(good: Evidence, *fields: FieldEvidence) -> Verdict:
    return GATE.judge(replace(good, models=(replace(good.models[0], fields=fields),))).verdict


def test_passes_slices_that_get_what_was_promised(good: Evidence) -> None:
    assert judged(good, field(1.03), field(0.97, label="b")) is Verdict.PASS


@pytest.mark.ml_test_score("model7")
@pytest.mark.parametrize("ratio", [1.4, 0.6])
def test_fails_a_slice_that_is_shown_to_be_outside_though_the_sum_is_right(good: Evidence, ratio: float) -> None:
    assert judged(good, field(ratio), field(2 - ratio, label="b")) is Verdict.FAIL


def test_holds_a_slice_that_is_likely_outside(good: Evidence) -> None:
    assert judged(good, field(1.2, 0.06)) is Verdict.HOLD


def test_a_slice_that_chance_may_have_put_outside_does_not_hold(good: Evidence) -> None:
    assert judged(good, field(1.2, 0.15)) is Verdict.PASS


@pytest.mark.ml_test_score("model6")
def test_holds_where_half_of_the_market_is_promised_too_much_and_half_too_little(good: Evidence) -> None:
    assert judged(good, field(1.12, 0.01), field(0.88, 0.01, label="b")) is Verdict.HOLD


def test_a_slice_with_few_events_is_told_and_decides_nothing(good: Evidence) -> None:
    assert judged(good, field(2.0, events=199.0)) is Verdict.PASS


def test_holds_where_fields_were_not_measured(good: Evidence) -> None:
    assert GATE.judge(replace(good, models=(replace(good.models[0], fields=None),))).verdict is Verdict.HOLD
