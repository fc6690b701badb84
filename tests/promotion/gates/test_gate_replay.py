from __future__ import annotations

import pytest

from ml.core.verdict import Verdict
from ml.evaluation.interval import Interval
from ml.promotion.evidence import Evidence
from ml.promotion.gates.replay import Replay
from tests.promotion.gates.bid_parts import changed

GATE = Replay()


def gain(low: float, mid: float, high: float) -> Interval:
    return Interval(low, mid, high, blocks=14, rows=235_000)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        (gain(0.01, 0.02, 0.03), Verdict.PASS),
        (gain(-0.04, -0.01, 0.02), Verdict.PASS),
        (gain(-0.09, -0.03, 0.01), Verdict.HOLD),
        (gain(-0.30, -0.20, -0.10), Verdict.FAIL),
    ],
    ids=["gain", "a loss within the margin", "a loss that is not ruled out", "a loss beyond the margin"],
)
def test_asks_that_a_loss_beyond_the_margin_is_ruled_out(good: Evidence, interval: Interval, verdict: Verdict) -> None:
    result = GATE.judge(changed(good, "replay", gain=interval))
    assert (result.verdict, result.number) == (verdict, interval.mid)


@pytest.mark.parametrize("changes", [{"days": 3}, {"auctions": 500}, {"champion_profit_micros": -1.0}], ids=str)
def test_holds_where_there_is_too_little_to_compare(good: Evidence, changes: dict[str, float]) -> None:
    assert GATE.judge(changed(good, "replay", **changes)).verdict is Verdict.HOLD


@pytest.mark.parametrize(
    "name", ["gain", "days", "auctions", "trust", "scale", "candidate_profit_micros", "champion_profit_micros"]
)
def test_holds_when_a_number_is_missing(good: Evidence, name: str) -> None:
    assert GATE.judge(changed(good, "replay", **{name: None})).verdict is Verdict.HOLD
