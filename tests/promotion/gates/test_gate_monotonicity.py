from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence
from ml.promotion.evidence_bids import Monotonicity as Measured
from ml.promotion.gates.monotonicity import Monotonicity
from tests.promotion.gates.bid_parts import put

GATE = Monotonicity()


def with_probe(good: Evidence, place: int, **changes: Any) -> Evidence:
    assert good.bidding is not None
    part = good.bidding.monotonicity
    assert isinstance(part, Measured)
    probes = list(part.probes)
    probes[place] = replace(probes[place], **changes)
    return put(good, "monotonicity", Measured(tuple(probes)))


def test_passes_answers_that_money_and_units_demand(good: Evidence) -> None:
    result = GATE.judge(good)
    assert (result.verdict, result.number, result.sample) == (Verdict.PASS, 0.0, 1_000)


@pytest.mark.parametrize(
    ("place", "changes"),
    [(0, {"broken": 0.27}), (1, {"elasticity": 0.0}), (1, {"elasticity": 2.0}), (2, {"elasticity": -1.8})],
    ids=["falls in the value", "a night sent as a stay", "nights counted twice", "depends on the currency"],
)
def test_fails_answers_that_cannot_be(good: Evidence, place: int, changes: dict[str, Any]) -> None:
    assert GATE.judge(with_probe(good, place, **changes)).verdict is Verdict.FAIL


def test_holds_an_elasticity_that_is_somewhat_off(good: Evidence) -> None:
    assert GATE.judge(with_probe(good, 1, elasticity=0.65)).verdict is Verdict.HOLD


def test_holds_on_too_few_rows(good: Evidence) -> None:
    assert GATE.judge(with_probe(good, 0, rows=10)).verdict is Verdict.HOLD


@pytest.mark.parametrize(("place", "name"), [(0, "rows"), (0, "broken"), (0, "worst"), (1, "elasticity")])
def test_holds_when_a_number_is_missing(good: Evidence, place: int, name: str) -> None:
    assert GATE.judge(with_probe(good, place, **{name: None})).verdict is Verdict.HOLD
