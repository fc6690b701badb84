from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ml.core.verdict import Verdict
from ml.evaluation.two_way import Estimate
from ml.promotion.evidence import Evidence, ProfitEvidence
from ml.promotion.gates.profit_kept import ProfitKept

GATE = ProfitKept()


def judged(good: Evidence, mid: float, error: float, **changes: Any) -> Verdict:
    assert good.profit is not None
    profit = replace(good.profit, difference=Estimate(mid, error, 13, 40, 14, 4_000), **changes)
    return GATE.judge(replace(good, profit=profit)).verdict


def test_passes_where_less_than_the_margin_is_shown_to_be_lost(good: Evidence) -> None:
    assert judged(good, 0.0, 0.01) is Verdict.PASS


def test_fails_where_more_than_the_margin_is_shown_to_be_lost(good: Evidence) -> None:
    assert judged(good, -0.12, 0.03) is Verdict.FAIL


def test_holds_in_between(good: Evidence) -> None:
    assert judged(good, -0.04, 0.03) is Verdict.HOLD


def test_few_bookings_are_told_and_do_not_hold(good: Evidence) -> None:
    assert judged(good, -0.3, 0.05, bookings=99) is Verdict.PASS


def test_a_market_without_partners_or_champion_has_no_such_profit(good: Evidence) -> None:
    assert GATE.judge(replace(good, profit=ProfitEvidence(applies=False))).verdict is Verdict.PASS
    assert GATE.judge(replace(good, champion_generation=0, profit=None)).verdict is Verdict.PASS


@pytest.mark.parametrize("missing", ["bookings", "candidate", "champion", "difference"])
def test_holds_without_its_numbers(good: Evidence, missing: str) -> None:
    assert good.profit is not None
    assert GATE.judge(replace(good, profit=replace(good.profit, **{missing: None}))).verdict is Verdict.HOLD
    assert GATE.judge(replace(good, profit=None)).verdict is Verdict.HOLD
