from __future__ import annotations

from dataclasses import replace

import pytest

from ml.core.verdict import Verdict
from ml.evaluation.two_way import Estimate
from ml.promotion.evidence import Evidence, FieldEvidence
from ml.promotion.gates.value_error import ValueErrors

GATE = ValueErrors()


def bucket(ratio: float, error: float = 0.02, *, events: float = 400.0) -> FieldEvidence:
    estimate = Estimate(ratio, error, 13, 40, 14, 900)
    return FieldEvidence("lead_bucket", "031-090", 900, events, ratio * 400, 400.0, estimate)


def judged(good: Evidence, *buckets: FieldEvidence, wape: float = 0.0) -> Verdict:
    gap = Estimate(wape, 0.004, 13, 40, 14, 2_000)
    return GATE.judge(
        replace(good, models=(replace(good.models[0], cancelled=buckets, wape_over_champion=gap),))
    ).verdict


def test_passes_cancellations_as_they_come_and_an_error_like_the_champions(good: Evidence) -> None:
    assert judged(good, bucket(1.04), bucket(0.9, 0.05)) is Verdict.PASS


@pytest.mark.parametrize(("ratio", "verdict"), [(1.12, Verdict.HOLD), (0.88, Verdict.HOLD), (1.3, Verdict.FAIL)])
def test_refuses_cancellations_shown_to_be_off_in_a_lead_bucket(good: Evidence, ratio: float, verdict: Verdict) -> None:
    assert judged(good, bucket(1.0), bucket(ratio)) is verdict


def test_fails_an_error_in_money_that_is_shown_to_be_larger(good: Evidence) -> None:
    assert judged(good, wape=0.05) is Verdict.FAIL


def test_a_bucket_with_few_cancellations_decides_nothing(good: Evidence) -> None:
    assert judged(good, bucket(2.0, events=150.0)) is Verdict.PASS


def test_a_model_without_values_passes(good: Evidence) -> None:
    model = replace(good.models[0], wape=None, losses=good.models[0].losses[:1])
    assert GATE.judge(replace(good, models=(model,))).verdict is Verdict.PASS


@pytest.mark.parametrize("missing", ["wape", "champion_wape", "wape_over_champion"])
def test_holds_without_its_numbers(good: Evidence, missing: str) -> None:
    assert GATE.judge(replace(good, models=(replace(good.models[0], **{missing: None}),))).verdict is Verdict.HOLD
