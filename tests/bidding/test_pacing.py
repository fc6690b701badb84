"""Spend keeps to the day's plan and the return to its floor, whatever traffic and prices do."""

from __future__ import annotations

import numpy as np
import pytest

from ml.bidding.pacing import RULES, DayPlan, Pacer, open_pacer
from ml.core.errors import UsageError

STEPS, LAG = 96, 2
CURVE = np.sin(np.linspace(0.1, 3.0, STEPS)) + 0.2
CURVE = CURVE / CURVE.sum()
BUDGET = 1_000_000.0


class Market:
    """Second-price clicks b / (b + p) without noise: at multiplier 1 a normal day spends its budget exactly."""

    def __init__(self, pacer: Pacer, *, floor: float | None = None) -> None:
        self.pacer, self.floor = pacer, floor
        self.flying: list[tuple[float, float]] = []
        self.unit = BUDGET / (np.log(2) - 0.5)

    def day(self, *, traffic: float = 1.0, price: float = 1.0, from_step: int = 0) -> tuple[float, float, list[float]]:
        """Spend, return and multipliers of a day whose traffic and prices change from a step on."""
        self.pacer.start_day(DayPlan(BUDGET, CURVE, self.floor, value_per_bid=2.0))
        spent = value = 0.0
        asked = []
        for step in range(STEPS):
            now_traffic, now_price = (traffic, price) if step >= from_step else (1.0, 1.0)
            m = self.pacer.multiplier(step)
            asked.append(m)
            ratio = m / now_price
            clicks = self.unit * CURVE[step] * now_traffic * ratio / (1 + ratio)
            paid = self.unit * CURVE[step] * now_traffic * now_price * (np.log1p(ratio) - ratio / (1 + ratio))
            spent, value = spent + paid, value + 2.0 * clicks
            self.flying.append((paid, 2.0 * clicks))
            if len(self.flying) > LAG:
                self.pacer.told(*self.flying.pop(0))
        return spent, value / spent if spent else float("inf"), asked


@pytest.mark.parametrize("name", RULES)
def test_a_day_as_expected_spends_its_budget_and_no_more(name: str) -> None:
    market = Market(open_pacer(name))
    market.day()
    spent, _, asked = market.day()
    assert 0.97 * BUDGET <= spent <= 1.001 * BUDGET
    assert np.std(asked[10:80]) < 0.1


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("from_step", [0, 30, 60, 85])
def test_a_doubling_of_traffic_at_any_hour_never_spends_two_percent_above_plan(name: str, from_step: int) -> None:
    market = Market(open_pacer(name))
    market.day()
    spent, _, _ = market.day(traffic=2.0, from_step=from_step)
    assert spent <= 1.02 * BUDGET
    later = [market.day(traffic=2.0)[0] for _ in range(3)]
    assert all(0.95 * BUDGET <= day <= 1.02 * BUDGET for day in later[1:])


@pytest.mark.parametrize("name", RULES)
def test_when_prices_rise_the_return_is_back_at_its_floor_within_three_days(name: str) -> None:
    market = Market(open_pacer(name), floor=5.0)
    for _ in range(3):
        spent, back, _ = market.day()
    assert back > 5.0
    assert spent > 0.9 * BUDGET
    returns = [market.day(price=2.0)[1] for _ in range(6)]
    assert all(found >= 0.95 * 5.0 for found in returns[3:])


@pytest.mark.parametrize("name", RULES)
def test_what_the_floor_held_back_for_weeks_is_not_let_loose_when_prices_fall(name: str) -> None:
    market = Market(open_pacer(name), floor=5.0)
    for _ in range(14):
        market.day(price=2.5)
    pacer = market.pacer
    in_force = min(pacer.budget_multiplier, pacer.roas_multiplier)
    assert max(pacer.budget_multiplier, pacer.roas_multiplier) <= pacer.tuning.slack * in_force * 1.001
    days = [market.day() for _ in range(4)]
    assert all(spent <= 1.02 * BUDGET for spent, _, _ in days)
    assert days[-1][0] > 0.9 * BUDGET


@pytest.mark.parametrize("name", RULES)
def test_no_bid_is_made_once_the_days_money_is_committed(name: str) -> None:
    pacer = open_pacer(name)
    pacer.start_day(DayPlan(BUDGET, CURVE, None, 2.0))
    for step in range(3):
        pacer.multiplier(step)
    pacer.told(1.1 * BUDGET, 0.0)
    assert pacer.multiplier(3) == 0.0
    assert pacer.left < 0


def test_late_reports_of_yesterday_are_not_todays_money() -> None:
    pacer = open_pacer("pid")
    pacer.start_day(DayPlan(BUDGET, CURVE, None, 2.0))
    pacer.multiplier(0)
    pacer.start_day(DayPlan(BUDGET, CURVE, None, 2.0))
    pacer.told(0.5 * BUDGET, BUDGET)
    assert pacer.left == pytest.approx(BUDGET * (1 - pacer.tuning.reserve))


@pytest.mark.parametrize("name", RULES)
def test_a_multiplier_stays_within_its_limits_when_nothing_is_ever_spent(name: str) -> None:
    market = Market(open_pacer(name), floor=5.0)
    for _ in range(3):
        _, _, asked = market.day(traffic=0.0)
    assert all(market.pacer.tuning.low <= m <= market.pacer.tuning.high for m in asked)


def test_an_unknown_rule_and_a_day_that_was_not_started_are_refused() -> None:
    with pytest.raises(UsageError, match=r"no pacing rule 'p'.*min_pacing"):
        open_pacer("p")
    with pytest.raises(ValueError, match="no day was started"):
        open_pacer("pid").multiplier(0)
