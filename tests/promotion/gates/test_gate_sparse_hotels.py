from __future__ import annotations

from typing import Any

import pytest

from ml.core.verdict import Verdict
from ml.evaluation.interval import Interval
from ml.promotion.evidence import Evidence
from ml.promotion.gates.sparse_hotels import SparseHotels
from tests.promotion.gates.bid_parts import changed

GATE = SparseHotels()


def test_passes_multipliers_that_believe_a_hotel_as_far_as_its_bookings_justify(good: Evidence) -> None:
    result = GATE.judge(good)
    assert (result.verdict, result.number, result.sample) == (Verdict.PASS, 0.22, 284)


@pytest.mark.ml_test_score("model7")
@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"follows": 0.98}, 0.98),
        ({"outside_share": 0.3}, 0.3),
        ({"over_bid_share": 0.05}, 0.05),
        ({"promised": Interval(1.3, 1.9, 2.6, blocks=33, rows=171)}, 1.9),
    ],
    ids=["raw ratios", "beyond the limits", "twice the worth", "promises not kept"],
)
def test_fails_a_model_that_takes_a_hotel_at_its_few_bookings(
    good: Evidence, changes: dict[str, Any], number: float
) -> None:
    result = GATE.judge(changed(good, "sparse_hotels", **changes))
    assert (result.verdict, result.number) == (Verdict.FAIL, number)


def test_holds_between_what_is_justified_and_what_is_raw(good: Evidence) -> None:
    assert GATE.judge(changed(good, "sparse_hotels", follows=0.45)).verdict is Verdict.HOLD


@pytest.mark.ml_test_score("model7")
def test_holds_on_too_few_bookings(good: Evidence) -> None:
    assert GATE.judge(changed(good, "sparse_hotels", bookings=12)).verdict is Verdict.HOLD


def test_a_market_without_sparse_hotels_passes(good: Evidence) -> None:
    result = GATE.judge(changed(good, "sparse_hotels", sparse=0))
    assert (result.verdict, result.number) == (Verdict.PASS, 0.0)


@pytest.mark.parametrize("name", ["sparse", "follows", "ought", "outside_share", "over_bid_share", "bookings"])
def test_holds_when_a_number_is_missing(good: Evidence, name: str) -> None:
    assert GATE.judge(changed(good, "sparse_hotels", **{name: None})).verdict is Verdict.HOLD
