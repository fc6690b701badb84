from __future__ import annotations

from dataclasses import replace

import pytest

from ml.core.verdict import Verdict
from ml.evaluation.two_way import Estimate
from ml.promotion.evidence import Evidence
from ml.promotion.gates.discrimination import Discrimination

GATE = Discrimination()


def judged(good: Evidence, mid: float, error: float, *, name: str = "conversion") -> Verdict:
    model = replace(good.models[0], name=name, auc_over_champion=Estimate(mid, error, 13, 40, 14, 2_000))
    return GATE.judge(replace(good, model_names=(name,), models=(model,))).verdict


def test_passes_a_ranking_as_good_as_the_champions(good: Evidence) -> None:
    assert judged(good, 0.0, 0.002) is Verdict.PASS


def test_a_difference_that_chance_may_make_does_not_hold(good: Evidence) -> None:
    assert judged(good, -0.004, 0.003) is Verdict.PASS


def test_holds_a_ranking_that_is_shown_to_be_worse_and_fails_one_that_is_far_worse(good: Evidence) -> None:
    assert judged(good, -0.008, 0.002) is Verdict.HOLD
    assert judged(good, -0.03, 0.005) is Verdict.FAIL


def test_a_model_that_is_read_as_an_amount_has_a_wider_margin(good: Evidence) -> None:
    assert judged(good, -0.008, 0.002, name="value") is Verdict.PASS
    assert judged(good, -0.018, 0.004, name="value") is Verdict.HOLD
    assert judged(good, -0.04, 0.005, name="value") is Verdict.FAIL


def test_the_first_champion_has_nothing_to_be_compared_with(good: Evidence) -> None:
    first = replace(good, champion_generation=0, models=(replace(good.models[0], auc_over_champion=None),))
    assert GATE.judge(first).verdict is Verdict.PASS


@pytest.mark.parametrize("missing", ["auc", "champion_auc", "auc_over_champion"])
def test_holds_without_its_numbers(good: Evidence, missing: str) -> None:
    assert GATE.judge(replace(good, models=(replace(good.models[0], **{missing: None}),))).verdict is Verdict.HOLD
