"""A feature that is served otherwise than trained on is a finding with the value that shows it; too little is said as such."""

from __future__ import annotations

from typing import Any

from ml.core.verdict import Verdict
from monitoring.parity import parity


def view(equal: int, *, compared: int = 200, **more: Any) -> dict[str, Any]:
    return {"compared": compared, "equal": {"ctr": compared, "cvr": equal}, "differing": [], **more}


def test_equal_values_pass() -> None:
    (finding,) = parity({"hotel_traffic": view(200)})
    assert (finding.verdict, finding.number) == (Verdict.PASS, 1.0)


def test_a_difference_fails_and_the_first_value_is_in_the_reason() -> None:
    one = {"entity": {"hotel_id": "h1", "partner": "google"}, "feature": "cvr", "offline": 0.5, "online": 0.25}
    (finding,) = parity({"hotel_traffic": view(150, differing=[one])})
    assert (finding.verdict, finding.column, finding.number) == (Verdict.FAIL, "cvr", 0.75)
    assert finding.reason.endswith("for 50 of 200 entities; for hotel_id h1, partner google: 0.25 in place of 0.5")


def test_a_store_that_could_not_be_read_holds_with_the_reason() -> None:
    (finding,) = parity({"hotel_traffic": view(0, compared=0, error="the online store cannot be used: disk")})
    assert finding.verdict is Verdict.HOLD
    assert "disk" in finding.reason


def test_a_day_on_which_nothing_was_served_is_not_judged() -> None:
    assert parity({}) == []
    assert parity({"agent_history": view(0, compared=0)}) == []
