from __future__ import annotations

from dataclasses import replace

import pytest

from ml.core.verdict import Verdict
from ml.evaluation.two_way import Estimate
from ml.promotion.evidence import Evidence, SliceEvidence
from ml.promotion.gates.slices import Slices

GATE = Slices()


def one(label: str, mid: float, error: float = 0.005, *, rows: int = 1_000, positives: int = 300) -> SliceEvidence:
    return SliceEvidence("device", label, rows, positives, 0.5, Estimate(mid, error, 13, 40, 14, rows))


def judged(good: Evidence, *slices: SliceEvidence) -> tuple[Verdict, str]:
    result = GATE.judge(replace(good, models=(replace(good.models[0], slices=slices),)))
    return result.verdict, result.reason


def test_passes_where_no_slice_loses(good: Evidence) -> None:
    assert judged(good, one("a", -0.02), one("b", 0.01))[0] is Verdict.PASS


@pytest.mark.ml_test_score("model6")
def test_fails_where_one_slice_pays_for_the_gain_of_another_and_names_it(good: Evidence) -> None:
    verdict, reason = judged(good, one("mobile", -0.05), one("desktop", 0.06))
    assert verdict is Verdict.FAIL
    assert "device desktop +12.0%" in reason and "mobile" not in reason


def test_a_loss_within_the_margin_does_not_fail(good: Evidence) -> None:
    assert judged(good, one("a", 0.02, 0.001))[0] is Verdict.PASS


def test_one_odd_slice_of_many_is_chance(good: Evidence) -> None:
    """Two standard errors beyond the margin in one of forty: 3 % by itself, and no finding among forty."""
    odd = one("odd", 0.025 + 2 * 0.005)
    assert judged(good, odd)[0] is Verdict.FAIL
    assert judged(good, odd, *(one(str(n), 0.0) for n in range(39)))[0] is Verdict.PASS


@pytest.mark.parametrize("thin", [{"rows": 199}, {"positives": 29}, {"positives": 980}])
def test_a_slice_without_support_is_told_and_decides_nothing(good: Evidence, thin: dict[str, int]) -> None:
    verdict, reason = judged(good, one("thin", 0.2, **thin))  # type: ignore[arg-type]
    assert (verdict, reason) == (Verdict.PASS, "value: none of 1 slices has support")


@pytest.mark.ml_test_score("model6")
def test_holds_where_slices_were_not_measured_against_a_champion(good: Evidence) -> None:
    assert GATE.judge(replace(good, models=(replace(good.models[0], slices=None),))).verdict is Verdict.HOLD


def test_the_first_champion_has_no_slices_to_lose(good: Evidence) -> None:
    assert GATE.judge(replace(good, champion_generation=0)).verdict is Verdict.PASS
