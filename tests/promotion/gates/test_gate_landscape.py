from __future__ import annotations

from typing import Any

import pytest

from ml.core.verdict import Verdict
from ml.evaluation.interval import Interval
from ml.promotion.evidence import Evidence
from ml.promotion.gates.landscape import Landscape
from tests.promotion.gates.bid_parts import changed

GATE = Landscape()


def ratio(low: float, mid: float, high: float, *, blocks: int = 146, rows: int = 9_700) -> Interval:
    return Interval(low, mid, high, blocks=blocks, rows=rows)


def test_passes_curves_that_hold_for_bids_moved_at_random(good: Evidence) -> None:
    result = GATE.judge(good)
    assert (result.verdict, result.number) == (Verdict.PASS, 0.92)


@pytest.mark.parametrize(
    "changes",
    [
        {"clicks": ratio(1.4, 1.6, 1.8)},
        {"clicks": ratio(0.4, 0.5, 0.6)},
        {"cost": ratio(1.6, 1.8, 2.0)},
        {"covered": 0.4},
    ],
    ids=["too many clicks", "too few clicks", "too dear", "intervals do not hold"],
)
def test_fails_curves_that_do_not(good: Evidence, changes: dict[str, Any]) -> None:
    assert GATE.judge(changed(good, "landscape", **changes)).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    "changes",
    [
        {"clicks": ratio(0.5, 0.95, 1.9)},
        {"clicks": ratio(0.9, 1.0, 1.1, rows=400)},
        {"cost": ratio(0.9, 1, 1.1, blocks=9)},
    ],
    ids=["wide", "few auctions", "few hotels"],
)
def test_holds_where_the_tries_say_too_little(good: Evidence, changes: dict[str, Any]) -> None:
    assert GATE.judge(changed(good, "landscape", **changes)).verdict is Verdict.HOLD


@pytest.mark.parametrize("name", ["clicks", "cost", "groups", "covered"])
def test_holds_when_a_number_is_missing(good: Evidence, name: str) -> None:
    assert GATE.judge(changed(good, "landscape", **{name: None})).verdict is Verdict.HOLD


def test_few_days_of_a_partner_say_nothing_of_coverage(good: Evidence) -> None:
    assert GATE.judge(changed(good, "landscape", groups=4, covered=0.1)).verdict is Verdict.PASS
