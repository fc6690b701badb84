from __future__ import annotations

from typing import Any

import pytest

from ml.core.verdict import Verdict
from ml.evaluation.interval import Interval
from ml.promotion.evidence import Evidence
from ml.promotion.gates.off_policy import OffPolicy
from tests.promotion.gates.bid_parts import changed

GATE = OffPolicy()
LOST, GAINED = (Interval(low, (low + high) / 2, high, blocks=240, rows=9) for low, high in ((-0.3, -0.1), (0.03, 0.2)))
UNSURE = Interval(-0.5, -0.1, 0.3, blocks=240, rows=9)


def test_passes_what_the_bookings_do_not_speak_against(good: Evidence) -> None:
    result = GATE.judge(good)
    assert (result.verdict, result.number, result.sample) == (Verdict.PASS, 0.013, 3_600)


def test_fails_a_loss_that_both_estimates_show(good: Evidence) -> None:
    result = GATE.judge(changed(good, "off_policy", snips=LOST, dr=LOST))
    assert (result.verdict, result.number) == (Verdict.FAIL, -0.2)


@pytest.mark.parametrize(
    "changes",
    [
        {"snips": LOST},
        {"dr": LOST},
        {"snips": GAINED, "dr": LOST},
        {"snips": UNSURE, "dr": UNSURE},
        {"ess_share": 0.06},
        {"mean_weight": 1.6},
        {"mean_weight": 0.5},
        {"clicks": 60},
    ],
    ids=str,
)
def test_holds_where_estimates_disagree_or_cannot_be_trusted(good: Evidence, changes: dict[str, Any]) -> None:
    assert GATE.judge(changed(good, "off_policy", **changes)).verdict is Verdict.HOLD


@pytest.mark.parametrize("name", ["clicks", "ess_share", "mean_weight", "snips", "dr"])
def test_holds_when_a_number_is_missing(good: Evidence, name: str) -> None:
    assert GATE.judge(changed(good, "off_policy", **{name: None})).verdict is Verdict.HOLD
