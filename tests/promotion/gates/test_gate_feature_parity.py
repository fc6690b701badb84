from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence
from ml.promotion.gates.feature_parity import FeatureParity

GATE = FeatureParity()


def with_serving(good: Evidence, **changes: Any) -> Evidence:
    assert good.serving is not None
    return replace(good, serving=replace(good.serving, **changes))


def test_passes_when_what_is_served_is_what_was_trained_on(good: Evidence) -> None:
    result = GATE.judge(good)
    assert (result.verdict, result.number, result.threshold, result.sample) == (Verdict.PASS, 1.0, 0.999, 2_800)


def test_fails_on_a_feature_that_is_served_otherwise_and_names_it(good: Evidence) -> None:
    result = GATE.judge(with_serving(good, worst_feature="hotel_traffic.traffic_ctr_7d", worst_share=0.97))
    assert result.verdict is Verdict.FAIL
    assert "hotel_traffic.traffic_ctr_7d" in result.reason


def test_an_imported_history_passes_on_its_read_back_alone(good: Evidence) -> None:
    result = GATE.judge(with_serving(good, days=0, compared=0, worst_feature="", worst_share=None, read_back=200))
    assert (result.verdict, result.sample) == (Verdict.PASS, 200)
    assert "no decision has been served yet" in result.reason


@pytest.mark.parametrize(
    "missing", [{"compared": None}, {"read_back": None}, {"worst_share": None}, {"compared": 0, "read_back": 49}]
)
def test_holds_when_too_little_was_compared(good: Evidence, missing: dict[str, Any]) -> None:
    assert GATE.judge(with_serving(good, **missing)).verdict is Verdict.HOLD


def test_holds_without_any_comparison(good: Evidence) -> None:
    assert GATE.judge(replace(good, serving=None)).verdict is Verdict.HOLD
