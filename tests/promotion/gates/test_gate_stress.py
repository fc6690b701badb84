from __future__ import annotations

import pytest

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence
from ml.promotion.evidence_bids import Shock
from ml.promotion.gates.stress import Stress
from tests.promotion.gates.bid_parts import changed

GATE = Stress()


def shocked(good: Evidence, *shocks: Shock) -> Evidence:
    return changed(good, "stress", shocks=shocks, usual_profit_micros=100.0)


def test_passes_with_the_worst_share_of_the_champions_profit(good: Evidence) -> None:
    result = GATE.judge(shocked(good, Shock("a", 99.0, 100.0, 1.0), Shock("b", 90.0, 100.0, 1.2)))
    assert (result.verdict, result.number) == (Verdict.PASS, 0.9)


@pytest.mark.parametrize(
    "shock", [Shock("a", 79.0, 100.0, 1.0), Shock("a", 100.0, 100.0, 1.6)], ids=["loses", "spends"]
)
def test_fails_where_one_shock_is_borne_much_worse(good: Evidence, shock: Shock) -> None:
    result = GATE.judge(shocked(good, Shock("fine", 99.0, 100.0, 1.0), shock))
    assert result.verdict is Verdict.FAIL
    assert result.reason.startswith("a:")


def test_where_the_champion_earns_nothing_either_the_usual_profit_is_the_measure(good: Evidence) -> None:
    assert GATE.judge(shocked(good, Shock("a", -4.0, 0.5, 1.0))).verdict is Verdict.PASS
    assert GATE.judge(shocked(good, Shock("a", -20.0, 0.5, 1.0))).verdict is Verdict.FAIL


def test_a_first_candidate_must_earn_something_and_keep_to_its_plan(good: Evidence) -> None:
    first = changed(good, "stress", champion=False, shocks=(Shock("a", 50.0, None, 1.2),))
    assert GATE.judge(first).verdict is Verdict.PASS
    assert GATE.judge(changed(first, "stress", usual_profit_micros=-1.0)).verdict is Verdict.FAIL
    assert GATE.judge(changed(first, "stress", shocks=(Shock("a", 50.0, None, 1.7),))).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    "shock", [Shock("a"), Shock("a", 99.0, 100.0), Shock("a", None, 100.0, 1.0), Shock("a", 99.0, None, 1.0)], ids=str
)
def test_holds_when_a_number_is_missing(good: Evidence, shock: Shock) -> None:
    assert GATE.judge(shocked(good, shock)).verdict is Verdict.HOLD


def test_holds_when_no_shock_was_tried(good: Evidence) -> None:
    assert GATE.judge(shocked(good)).verdict is Verdict.HOLD
