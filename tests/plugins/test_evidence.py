"""What pages draw of numbers: nothing that was not measured, everything on the scale that it is held against."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from bidwright_ui.evidence import gains, gates, reliability, slices
from bidwright_ui.intervals import WIDTH, line
from bidwright_ui.views_drift import heat_map
from ml.core.verdict import Verdict
from ml.ledger.reports import DriftReport

NAN = float("nan")


def test_number_interval_and_limit_stand_in_their_order_within_the_drawing() -> None:
    drawn = line(1.0, interval=[0.9, 1.2], limits=[1.15])
    assert drawn is not None
    assert 0 < drawn["low"] < drawn["at"] < drawn["limits"][0] < drawn["high"] < WIDTH


@pytest.mark.parametrize("number", [None, NAN, "many", True])
def test_what_is_no_number_is_not_drawn(number: Any) -> None:
    assert line(number, limits=[1.0]) is None


@pytest.mark.parametrize("interval", [None, [], [1.0], [None, 2.0], [NAN, 2.0], "ab", [5.0, 6.0]])
def test_an_interval_that_is_broken_or_of_something_else_is_left_out(interval: Any) -> None:
    drawn = line(1.0, interval=interval, limits=[1.0])
    assert drawn is not None and drawn["low"] is None and drawn["high"] is None


def test_what_does_not_pass_comes_first() -> None:
    found = gates([{"gate": name, "verdict": name, "number": 1.0} for name in ("PASS", "HOLD", "FAIL")])
    assert [gate["verdict"] for gate in found] == ["FAIL", "HOLD", "PASS"]


def test_gains_are_shares_of_what_they_are_held_against() -> None:
    over = {"mid": -0.02, "low": -0.03, "high": 0.01}
    loss = {"name": "log_loss", "champion": 0.2, "baseline": 0.4, "over_champion": over, "over_baseline": over}
    found = gains([{"gate": "gains_on_champion", "numbers": {"models": {"click": {"losses": [loss]}}}}])
    assert [(row["against"], row["mid"]) for row in found] == [
        ("champion", pytest.approx(-0.1)),
        ("baseline", pytest.approx(-0.05)),
    ]
    assert found[0]["line"]["at"] < found[1]["line"]["at"] < found[0]["line"]["limits"][0]


@pytest.mark.parametrize(
    "broken", [{}, {"numbers": None}, {"numbers": {"models": None}}, {"numbers": {"models": {"a": 1}}}]
)
def test_a_decision_without_numbers_has_no_gains_and_no_slices(broken: dict[str, Any]) -> None:
    found = [{"gate": "gains_on_champion", **broken}, {"gate": "slices", **broken}]
    assert gains(found) == [] and slices(found) == {}


def test_the_slices_that_lose_most_are_shown_and_those_without_a_champion_are_not() -> None:
    cuts = [
        {
            "field": "device",
            "label": str(n),
            "rows": 9,
            "champion": 0.2,
            "difference": {"mid": n / 1000, "error": 0.001},
        }
        for n in range(20)
    ]
    cuts.append({"field": "device", "label": "x", "rows": 9, "champion": None, "difference": {"mid": 5.0}})
    found = slices([{"gate": "slices", "numbers": {"models": {"click": {"slices": cuts}}}}])["click"]
    assert [row["slice"] for row in found][:2] == ["device 19", "device 18"]
    assert found[0]["low"] == pytest.approx(0.095 - 0.01)


def test_reliability_sets_the_champion_beside_the_candidate_label_by_label() -> None:
    def money(ratio: float | None) -> list[dict[str, Any]]:
        row = {"rows": 1_234, "net_value_ratio": ratio, "low": 0.9, "high": 7.5}
        return [{"model": "value", "by": "model", "whole": row, "fields": {"device": {"mobile": row}}}]

    [drawn] = reliability(money(1.1), money(None))
    assert [curve["values"] for curve in drawn["series"]] == [[1.1], [None]]
    assert drawn["series"][0]["high"] == [3.0]
    assert drawn["said"] == "in all 1.100, 0.900 to 7.500, of 1 234 rows"


def test_the_heat_map_tells_not_compared_from_near_and_beyond_the_limit() -> None:
    first = date(2026, 3, 1)

    def report(n: int, columns: Any) -> DriftReport:
        at = datetime(2026, 3, 9, tzinfo=UTC)
        return DriftReport("m", first + timedelta(days=n), Verdict.PASS, [], "", {"columns": columns}, at)

    near = [{"name": "a", "ratio": 0.2}, {"name": "b", "ratio": 0.9}]
    beyond = [{"name": "a", "ratio": 2.5, "exceeds": True}, {"name": "b", "ratio": None}]
    found = heat_map([report(2, "half written"), report(1, beyond), report(0, near)])
    assert found["days"] == ["2026-03-01", "2026-03-02", "2026-03-03"]
    assert [row["name"] for row in found["rows"]] == ["a", "b"]
    assert [cell and (cell["step"], cell["exceeds"]) for cell in found["rows"][0]["cells"]] == [
        (0, False),
        (4, True),
        None,
    ]
    assert [cell and cell["step"] for cell in found["rows"][1]["cells"]] == [2, None, None]
