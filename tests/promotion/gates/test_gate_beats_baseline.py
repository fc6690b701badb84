from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ml.core.verdict import Verdict
from ml.evaluation.interval import Interval
from ml.promotion.evidence import Evidence
from ml.promotion.gates.beats_baseline import BeatsBaseline

GATE = BeatsBaseline()


def with_loss(good: Evidence, **changes: Any) -> Evidence:
    model = good.models[0]
    assert model.baseline_loss is not None
    return replace(good, models=(replace(model, baseline_loss=replace(model.baseline_loss, **changes)),))


def test_passes_on_a_gain_that_is_shown(good: Evidence) -> None:
    result = GATE.judge(good)
    assert (result.verdict, result.number, result.sample) == (Verdict.PASS, -0.03, 2_000)
    assert result.interval == Interval(-0.04, -0.03, -0.02, blocks=14, rows=2_000)


@pytest.mark.ml_test_score("model5")
def test_fails_when_the_baseline_is_shown_to_be_as_good(good: Evidence) -> None:
    result = GATE.judge(with_loss(good, over_baseline=Interval(0.0, 0.01, 0.02, blocks=14, rows=2_000)))
    assert result.verdict is Verdict.FAIL
    assert result.reason.startswith("value: log_loss")


@pytest.mark.ml_test_score("model5")
@pytest.mark.parametrize(
    "interval",
    [
        None,
        Interval(-0.04, -0.02, 0.001, blocks=14, rows=2_000),
        Interval(-0.04, -0.03, -0.02, blocks=6, rows=2_000),
        Interval(-0.04, -0.03, -0.02, blocks=14, rows=299),
        Interval(-0.04, -0.03, -0.02, blocks=14, rows=2_000, level=0.8),
        Interval(float("nan"), -0.03, -0.02, blocks=14, rows=2_000),
    ],
    ids=["missing", "straddles", "few days", "few rows", "weak level", "NaN"],
)
def test_holds_while_nothing_is_shown(good: Evidence, interval: Interval | None) -> None:
    assert GATE.judge(with_loss(good, over_baseline=interval)).verdict is Verdict.HOLD


@pytest.mark.parametrize("changes", [{"candidate": None}, {"baseline": None}, {"candidate": float("nan")}], ids=str)
def test_holds_when_a_loss_is_missing(good: Evidence, changes: dict[str, Any]) -> None:
    assert GATE.judge(with_loss(good, **changes)).verdict is Verdict.HOLD


def test_holds_when_no_loss_was_measured(good: Evidence) -> None:
    assert GATE.judge(replace(good, models=(replace(good.models[0], baseline_loss=None),))).verdict is Verdict.HOLD


def test_every_model_must_gain_not_only_the_best(good: Evidence) -> None:
    worse = replace(
        with_loss(good, over_baseline=Interval(0.01, 0.02, 0.03, blocks=14, rows=2_000)).models[0], name="click"
    )
    result = GATE.judge(replace(good, model_names=("value", "click"), models=(*good.models, worse)))
    assert result.verdict is Verdict.FAIL
    assert result.reason.startswith("click:")


def test_the_reason_says_whether_there_is_a_gain(good: Evidence) -> None:
    assert GATE.judge(good).reason == "value: log_loss 0.5 against the baseline's 0.53, a gain"
    few = Interval(-0.04, -0.03, -0.02, blocks=6, rows=2_000)
    assert GATE.judge(with_loss(good, over_baseline=few)).reason.endswith("2000 rows in 6 blocks are too few")


def test_a_sample_of_the_least_size_and_level_is_enough(good: Evidence) -> None:
    least = Interval(-0.04, -0.03, -0.02, blocks=7, rows=300, level=0.9)
    assert GATE.judge(with_loss(good, over_baseline=least)).verdict is Verdict.PASS
    impossible = Interval(-0.04, -0.03, -0.02, blocks=7, rows=300, level=1.0)
    assert GATE.judge(with_loss(good, over_baseline=impossible)).verdict is Verdict.HOLD


def test_a_model_that_is_its_own_baseline_has_no_complexity_to_earn_but_the_rows_must_be_enough(good: Evidence) -> None:
    same = Interval(0.0, 0.0, 0.0, blocks=14, rows=2_000)
    result = GATE.judge(with_loss(good, candidate=0.53, over_baseline=same))
    assert result.verdict is Verdict.PASS
    assert "the baseline itself predicts" in result.reason
    few = Interval(0.0, 0.0, 0.0, blocks=6, rows=2_000)
    assert GATE.judge(with_loss(good, candidate=0.53, over_baseline=few)).verdict is not Verdict.PASS
