from __future__ import annotations

import pytest

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence
from ml.promotion.gates.constraints import Constraints
from tests.promotion.gates.bid_parts import changed

GATE = Constraints()


def test_passes_bids_that_keep_to_every_limit(good: Evidence) -> None:
    result = GATE.judge(good)
    assert (result.verdict, result.number, result.sample) == (Verdict.PASS, -0.04, 200)


@pytest.mark.parametrize(
    "changes",
    [{"above_cap": 1}, {"budget_over": 0.4}, {"weeks_over": 0.5}, {"weeks_under_floor": 0.3}, {"plan_over": 0.5}],
    ids=str,
)
def test_fails_beyond_a_limit(good: Evidence, changes: dict[str, float]) -> None:
    result = GATE.judge(changed(good, "constraints", **changes))
    assert (result.verdict, result.number) == (Verdict.FAIL, float(next(iter(changes.values()))))


def test_a_budget_that_is_not_set_is_not_judged(good: Evidence) -> None:
    free = changed(good, "constraints", has_budget=False, budget_over=None, weeks_over=None)
    assert GATE.judge(free).verdict is Verdict.PASS
    assert GATE.judge(changed(free, "constraints", has_floor=False, weeks_under_floor=None)).verdict is Verdict.PASS


@pytest.mark.parametrize(
    "name",
    ["weeks", "above_cap", "has_budget", "budget_over", "weeks_over", "has_floor", "weeks_under_floor", "plan_over"],
)
def test_holds_when_a_number_is_missing(good: Evidence, name: str) -> None:
    assert GATE.judge(changed(good, "constraints", **{name: None})).verdict is Verdict.HOLD
