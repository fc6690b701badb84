"""What holds for every gate that reads a part of the bidding evidence."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence
from ml.promotion.evidence_bids import BiddingEvidence
from ml.promotion.gates import GATES
from ml.promotion.gates.bid_gate import BidGate
from tests.promotion.gates.bid_parts import missing, not_applying

PARTS = [name for name in GATES if issubclass(GATES[name], BidGate)]


def test_every_part_of_the_bidding_evidence_has_its_gate() -> None:
    assert {item.name for item in fields(BiddingEvidence)} - {"failed"} == set(PARTS)


@pytest.mark.parametrize("name", PARTS)
def test_what_does_not_apply_passes_with_the_reason_and_the_number_0(good: Evidence, name: str) -> None:
    result = GATES[name]().judge(not_applying(good, name))
    assert (result.verdict, result.number, result.sample) == (Verdict.PASS, 0.0, 0)
    assert result.reason == "does not apply: nobody is bid to here"


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_could_not_be_measured_holds_and_says_what_stopped_it(good: Evidence, name: str) -> None:
    result = GATES[name]().judge(missing(good, name, "KeyError: 'p_book'"))
    assert result.verdict is Verdict.HOLD
    assert "KeyError: 'p_book'" in result.reason


@pytest.mark.parametrize("name", PARTS)
def test_a_part_with_nothing_in_it_holds(good: Evidence, name: str) -> None:
    assert good.bidding is not None
    part = type(getattr(good.bidding, name))()
    result = GATES[name]().judge(replace(good, bidding=replace(good.bidding, **{name: part})))
    assert result.verdict is Verdict.HOLD


@pytest.mark.parametrize("name", PARTS)
def test_a_gate_keeps_its_own_part_of_the_evidence_and_no_other(good: Evidence, name: str) -> None:
    assert list(GATES[name]().judge(good).numbers) == [name]
