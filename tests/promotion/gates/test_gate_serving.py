from __future__ import annotations

from typing import Any

import pytest

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence
from ml.promotion.gates.serving import Serving
from tests.promotion.gates.bid_parts import changed

GATE = Serving()


def test_passes_a_candidate_that_says_there_what_it_says_here(good: Evidence) -> None:
    result = GATE.judge(good)
    assert (result.verdict, result.number, result.sample) == (Verdict.PASS, 1.0, 5_000)


@pytest.mark.parametrize(
    "changes", [{"fault": "killed by SIGSEGV"}, {"matched_share": 0.99}], ids=["dies", "says something else"]
)
def test_fails_a_candidate_that_cannot_be_served(good: Evidence, changes: dict[str, Any]) -> None:
    assert GATE.judge(changed(good, "serving", **changes)).verdict is Verdict.FAIL


@pytest.mark.parametrize("changes", [{"p99_ms": 400.0}, {"compared": 10}, {"timed": 5}], ids=str)
def test_holds_where_it_is_slow_or_hardly_asked(good: Evidence, changes: dict[str, Any]) -> None:
    assert GATE.judge(changed(good, "serving", **changes)).verdict is Verdict.HOLD


@pytest.mark.parametrize("name", ["fault", "compared", "timed", "matched_share", "p99_ms"])
def test_holds_when_a_number_is_missing(good: Evidence, name: str) -> None:
    assert GATE.judge(changed(good, "serving", **{name: None})).verdict is Verdict.HOLD
