from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ml.core.verdict import Verdict
from ml.promotion.evidence import BidEvidence, Evidence
from ml.promotion.gates.bid_change import BidChange

GATE = BidChange()


def with_change(good: Evidence, **changes: Any) -> Evidence:
    assert good.bids is not None
    return replace(good, bids=replace(good.bids, changes=(replace(good.bids.changes[0], **changes),)))


def test_passes_a_change_that_nobody_would_stop(good: Evidence) -> None:
    result = GATE.judge(good)
    assert (result.verdict, result.number, result.threshold, result.sample) == (Verdict.PASS, 0.02, 0.40, 500)


@pytest.mark.parametrize(
    ("changes", "number", "threshold"),
    [
        ({"spend_change": 0.41}, 0.41, 0.40),
        ({"spend_change": -0.51}, -0.51, -0.50),
        ({"median_change": 0.55}, 0.55, 0.50),
        ({"p99_change": 2.1}, 2.1, 2.0),
    ],
    ids=["spend rises", "spend falls", "median", "tail"],
)
def test_fails_what_no_market_does_in_the_life_of_a_champion(
    good: Evidence, changes: dict[str, Any], number: float, threshold: float
) -> None:
    result = GATE.judge(with_change(good, **changes))
    assert (result.verdict, result.number, result.threshold) == (Verdict.FAIL, number, threshold)


def test_passes_a_large_change_against_an_old_champion_and_says_that_a_person_is_asked(good: Evidence) -> None:
    result = GATE.judge(with_change(good, median_change=0.22, p99_change=1.04, spend_change=0.1))
    assert (result.verdict, result.number) == (Verdict.PASS, 0.22)
    assert "a person is asked" in result.reason


def test_spend_may_fall_by_more_than_it_may_rise(good: Evidence) -> None:
    assert GATE.judge(with_change(good, spend_change=-0.45)).verdict is Verdict.PASS
    assert GATE.judge(with_change(good, spend_change=0.45)).verdict is Verdict.FAIL


def test_the_hotels_with_the_most_volume_are_among_the_numbers(good: Evidence) -> None:
    record = GATE.judge(good).as_json()
    assert record["numbers"]["bids"]["changes"][0]["top_hotels"] == [["h1", 0.04, 0.03]]


def test_the_first_publication_passes_with_that_reason(good: Evidence) -> None:
    result = GATE.judge(replace(good, bids=BidEvidence(published_before=False)))
    assert result.verdict is Verdict.PASS
    assert "no champion bids" in result.reason


@pytest.mark.parametrize("name", ["cells", "matched_share", "median_change", "p99_change", "spend_change"])
@pytest.mark.parametrize("value", [None, float("nan")], ids=["missing", "NaN"])
def test_holds_when_a_number_is_missing(good: Evidence, name: str, value: float | None) -> None:
    assert GATE.judge(with_change(good, **{name: value})).verdict is Verdict.HOLD


@pytest.mark.parametrize("bids", [None, BidEvidence(), BidEvidence(published_before=True)], ids=str)
def test_holds_when_the_change_was_not_measured(good: Evidence, bids: BidEvidence | None) -> None:
    assert GATE.judge(replace(good, bids=bids)).verdict is Verdict.HOLD


def test_holds_when_the_tables_share_too_little_to_compare(good: Evidence) -> None:
    assert GATE.judge(with_change(good, matched_share=0.4)).verdict is Verdict.HOLD


def test_a_table_that_fails_is_not_hidden_by_one_that_is_missing(good: Evidence) -> None:
    assert good.bids is not None
    change = good.bids.changes[0]
    changes = (replace(change, cells=None), replace(change, name="trivago", spend_change=0.5))
    result = GATE.judge(replace(good, bids=replace(good.bids, changes=changes)))
    assert result.verdict is Verdict.FAIL
    assert result.reason.startswith("trivago:")


@pytest.mark.parametrize(
    "changes",
    [
        {"matched_share": 0.5},
        {"spend_change": 0.40},
        {"spend_change": -0.50},
        {"spend_change": 0.0},
        {"median_change": 0.40},
        {"p99_change": 2.0},
    ],
    ids=str,
)
def test_a_limit_itself_is_allowed(good: Evidence, changes: dict[str, Any]) -> None:
    assert GATE.judge(with_change(good, **changes)).verdict is Verdict.PASS
