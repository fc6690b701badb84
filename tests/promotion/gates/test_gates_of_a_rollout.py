"""Gates 18 and 19: the shadow run and the rollback drill."""

from __future__ import annotations

import pytest

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence
from ml.promotion.gates.rollback_drill import RollbackDrill
from ml.promotion.gates.shadow import Shadow
from tests.promotion.gates.bid_parts import changed


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Verdict.PASS),
        ({"critical": 1}, Verdict.FAIL),
        ({"predicted_over_realised": 1.2}, Verdict.FAIL),
        ({"days": 4}, Verdict.HOLD),
        ({"days": None}, Verdict.HOLD),
        ({"critical": None}, Verdict.HOLD),
        ({"predicted_over_realised": None}, Verdict.HOLD),
    ],
    ids=str,
)
def test_a_shadow_run_is_long_enough_quiet_and_right(
    good: Evidence, changes: dict[str, float | None], verdict: Verdict
) -> None:
    assert Shadow().judge(changed(good, "shadow", **changes)).verdict is verdict


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Verdict.PASS),
        ({"age_days": 31.0}, Verdict.HOLD),
        ({"took_s": 1_000.0}, Verdict.HOLD),
        ({"age_days": None}, Verdict.HOLD),
        ({"took_s": None}, Verdict.HOLD),
    ],
    ids=str,
)
def test_a_rollback_was_rehearsed_lately_and_was_quick(
    good: Evidence, changes: dict[str, float | None], verdict: Verdict
) -> None:
    assert RollbackDrill().judge(changed(good, "rollback_drill", **changes)).verdict is verdict


def test_no_drill_fails_a_candidate_for_it_is_not_its_fault(good: Evidence) -> None:
    assert RollbackDrill().judge(changed(good, "rollback_drill", age_days=900.0)).verdict is Verdict.HOLD
