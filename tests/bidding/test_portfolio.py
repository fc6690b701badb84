"""No other set of bid levels earns more within the limits, and a limit that cannot hold is named."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from ml.bidding import portfolio_lp
from ml.bidding.hull import NO_BID, segments
from ml.bidding.landscape import Landscape
from ml.bidding.limits import GroupLimit, Limits, at_prices, infeasible
from ml.bidding.portfolio import Allocation, optimise
from ml.bidding.shading import second_price_bids
from ml.core.errors import UsageError
from tests.bidding.landscapes import landscape

FREE = Limits()


def spent(found: Allocation) -> float:
    return float(found.cost_micros.sum())


def roas(found: Allocation) -> float:
    return float((found.clicks * found.landscape.roas_value_micros).sum() / found.cost_micros.sum())


def full_lp(of: Landscape, *, budget: float, floor: float, cost_weight: float = 1.0) -> float:
    """The relaxed multiple-choice knapsack written down without hulls: a share of each level of each cell."""
    cells, levels = of.clicks.shape
    gain = of.clicks * of.value_micros[:, None] - cost_weight * of.cost_micros
    slack = floor * of.cost_micros - of.clicks * of.roas_value_micros[:, None]
    one = np.kron(np.eye(cells), np.ones(levels))
    rows = np.vstack([of.cost_micros.ravel() / 1e6, slack.ravel() / 1e6, one])
    answer = linprog(
        -gain.ravel() / 1e6, A_ub=rows, b_ub=np.concatenate([[budget / 1e6, 0.0], np.ones(cells)]), method="highs"
    )
    assert answer.status == 0
    return float(-answer.fun * 1e6)


def test_without_limits_each_cell_gets_its_own_best_level() -> None:
    of = landscape()
    found = optimise(of, FREE)
    assert found.objective_micros == pytest.approx(np.maximum(of.profit_micros().max(axis=1), 0).sum())
    assert found.gap == pytest.approx(0, abs=1e-12)


@given(seed=st.integers(0, 10_000), share=st.floats(0.02, 1.2), tightness=st.floats(0.0, 0.95))
@settings(max_examples=40, deadline=None)
def test_a_mix_of_two_levels_reaches_the_linear_program_under_budget_and_roas_floor(
    seed: int, share: float, tightness: float
) -> None:
    of = landscape(cells=12, levels=6, seed=seed)
    free = optimise(of, FREE)
    budget = int(share * spent(free))
    floor = roas(free) * (1 + tightness)
    limits = Limits(daily_budget_micros=budget, roas_floor=floor)
    if floor > 0.98 * (of.clicks * of.roas_value_micros[:, None] / of.cost_micros).max():
        return
    found = optimise(of, limits, one_level=False)
    best = full_lp(of, budget=budget, floor=floor)
    assert found.objective_micros == pytest.approx(best, rel=1e-6, abs=1)
    assert found.bound_micros >= best * (1 - 1e-9) - 1
    assert spent(found) <= budget * (1 + 1e-9)
    assert roas(found) >= floor * (1 - 1e-6)
    whole = optimise(of, limits)
    assert whole.mixed == 0
    assert spent(whole) <= budget * (1 + 1e-9)
    assert spent(whole) == 0 or roas(whole) >= floor * (1 - 1e-6)
    assert whole.objective_micros <= found.objective_micros * (1 + 1e-9) + 1
    # What one level a cell costs: at most a step of one cell for each of the two limits.
    steps = segments(of)
    widest = (of.value_micros[steps.cell] * steps.clicks).max()
    assert whole.objective_micros >= found.objective_micros - 2 * widest - 1


@pytest.mark.parametrize("seed", range(6))
def test_a_small_problem_comes_within_its_stated_gap_of_every_choice_there_is(seed: int) -> None:
    of = landscape(cells=4, levels=4, seed=seed)
    budget = int(0.4 * spent(optimise(of, FREE)))
    found = optimise(of, Limits(daily_budget_micros=budget))
    best = 0.0
    profit = np.concatenate([of.profit_micros(), np.zeros((4, 1))], axis=1)
    cost = np.concatenate([of.cost_micros, np.zeros((4, 1))], axis=1)
    for choice in product(range(5), repeat=4):
        index = np.arange(4), np.array(choice)
        if cost[index].sum() <= budget:
            best = max(best, float(profit[index].sum()))
    assert best <= found.bound_micros * (1 + 1e-9)
    assert found.objective_micros >= best - found.gap * found.bound_micros - 1


@pytest.mark.parametrize("objective", ["profit", "value"])
def test_the_linear_program_and_the_bisection_agree(objective: str) -> None:
    of = landscape(cells=60, levels=10, seed=3)
    free = optimise(of, FREE)
    budget, floor = int(0.5 * spent(free)), 1.3 * roas(free)
    ours = optimise(of, Limits(daily_budget_micros=budget, roas_floor=floor), objective=objective, one_level=False)
    everywhere = GroupLimit("everywhere", np.ones(60, dtype=bool), max_cost_micros=10 * budget)
    lp = optimise(
        of,
        Limits(daily_budget_micros=budget, roas_floor=floor, groups=(everywhere,)),
        objective=objective,
        one_level=False,
    )
    assert (ours.method, lp.method) == ("bisection", "linear program")
    assert ours.objective_micros == pytest.approx(lp.objective_micros, rel=1e-6)
    assert lp.gap < 1e-6


def test_limits_of_partners_and_markets_hold_together_with_the_budget() -> None:
    of = landscape(cells=90, levels=10, seed=5)
    partner = np.arange(90) % 3 == 0
    market = np.arange(90) < 45
    free = optimise(of, FREE)
    in_market = float((free.clicks * of.roas_value_micros)[market].sum() / free.cost_micros[market].sum())
    cap = int(0.3 * free.cost_micros[partner].sum())
    limits = Limits(
        daily_budget_micros=int(0.8 * spent(free)),
        poas_floor=1.2,
        groups=(
            GroupLimit("partner google", partner, max_cost_micros=cap),
            GroupLimit("market DE", market, roas_floor=1.2 * in_market),
        ),
    )
    found = optimise(of, limits)
    cost, gross = found.cost_micros, found.clicks * of.roas_value_micros
    assert cost.sum() <= limits.daily_budget_micros
    assert cost[partner].sum() <= cap
    assert gross[market].sum() >= 1.2 * in_market * cost[market].sum() * (1 - 1e-6)
    assert (found.clicks * of.value_micros).sum() >= 1.2 * cost.sum() * (1 - 1e-6)
    assert found.mixed == 0
    assert found.gap < 0.05
    assert found.prices["cost limit of partner google"] > 0


def test_the_price_of_the_budget_is_what_more_of_it_would_earn() -> None:
    of = landscape(cells=50, levels=12, seed=1)
    budget = int(0.3 * spent(optimise(of, FREE)))
    now = optimise(of, Limits(daily_budget_micros=budget), one_level=False)
    more = optimise(of, Limits(daily_budget_micros=budget + 1_000), one_level=False)
    assert more.objective_micros - now.objective_micros == pytest.approx(now.prices["daily budget"] * 1_000, rel=1e-3)


def test_the_monthly_budget_holds_today_to_its_share_of_the_traffic_that_is_left() -> None:
    of = landscape(cells=50, seed=2)
    left = int(4 * spent(optimise(of, FREE)))
    found = optimise(of, Limits(daily_budget_micros=left, month_left_micros=left, today_share=0.1))
    assert spent(found) <= 0.1 * left
    assert "monthly budget" in found.prices


def test_a_larger_budget_never_earns_less() -> None:
    of = landscape(cells=30, seed=8)
    budgets = np.linspace(0, 1.2 * spent(optimise(of, FREE)), 15)
    earned = [optimise(of, Limits(daily_budget_micros=int(b)), one_level=False).objective_micros for b in budgets]
    assert (np.diff(earned) >= -1).all()
    assert earned[0] == 0


def test_a_floor_that_no_bid_reaches_is_named_with_the_highest_that_one_does() -> None:
    of = landscape()
    reach = (of.clicks * of.roas_value_micros[:, None] / of.cost_micros).max()
    with pytest.raises(UsageError, match=rf"the ROAS floor of 10000 cannot hold: the highest .* is {reach:.4g}"):
        optimise(of, Limits(roas_floor=10_000.0))
    kept = optimise(of, Limits(roas_floor=reach * 0.999), one_level=False)
    assert spent(kept) > 0


def test_a_budget_below_the_lowest_bids_is_named_with_the_least_that_they_cost() -> None:
    of = landscape()
    least = of.cost_micros[:, 0].sum()
    with pytest.raises(UsageError, match=rf"the daily budget of 0.00 cannot hold: .* cost {least / 1e6:,.2f}"):
        optimise(of, Limits(daily_budget_micros=1), may_pause=False)
    found = optimise(of, Limits(daily_budget_micros=int(least) + 1), may_pause=False)
    assert (found.low == 0).all()
    assert spent(optimise(of, Limits(daily_budget_micros=0))) == 0


@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_value_that_is_named_holds_and_a_little_less_does_not(seed: int) -> None:
    of = landscape(seed=seed)
    half = GroupLimit("market DE", np.arange(40) < 20, max_cost_micros=1, roas_floor=1e6)
    limits = Limits(daily_budget_micros=1, roas_floor=1e6, poas_floor=1e6, groups=(half,))
    found = list(infeasible(limits, of, segments(of, may_pause=False)))
    assert [one.name for one in found] == [
        "daily budget",
        "cost limit of market DE",
        "ROAS floor",
        "POAS floor",
        "ROAS floor of market DE",
    ]
    keywords = {"daily budget": "daily_budget_micros", "ROAS floor": "roas_floor", "POAS floor": "poas_floor"}
    for one in found:
        if one.name in keywords:
            worse, better = (0.999, 1.001) if "budget" in one.name else (1.001, 0.999)
            optimise(of, Limits(**{keywords[one.name]: one.nearest * better}), may_pause=False)  # type: ignore[arg-type]
            with pytest.raises(UsageError, match=one.name):
                optimise(of, Limits(**{keywords[one.name]: one.nearest * worse}), may_pause=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("also", [{}, {"poas_floor": 0.001}], ids=["bisection", "linear program"])
def test_a_floor_that_only_a_larger_budget_reaches_says_what_the_budget_reaches(also: dict[str, float]) -> None:
    # One cell must be bid on at a poor price; what makes up for it costs money.
    bids = np.array([1.0, 2.0])
    of = Landscape(
        bids, np.array([[1.0, 1.0], [0.0, 90.0]]), np.array([[10.0, 10.0], [0.0, 10.0]]), np.array([1.0, 1.0])
    )
    with pytest.raises(UsageError, match=r"ROAS floor of 4 cannot hold within the budget, which reaches (0\.1|0\.8)"):
        optimise(of, Limits(daily_budget_micros=11, roas_floor=4.0, **also), may_pause=False)
    assert optimise(of, Limits(daily_budget_micros=20, roas_floor=4.0, **also), may_pause=False).mixed == 0


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"daily_budget_micros": -1}, "daily budget"),
        ({"roas_floor": float("nan")}, "ROAS floor"),
        ({"today_share": 0.0}, "share of the month"),
        ({"groups": (GroupLimit("market DE", np.array([True]), max_cost_micros=-5),)}, "cost limit of market DE"),
    ],
)
def test_a_limit_that_is_no_limit_is_refused_by_name(given: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        Limits(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cells", "levels", "clicks", "value"),
    [(0, 3, 1.0, 1e5), (3, 1, 1.0, 1e5), (3, 4, 0.0, 1e5), (3, 4, 1.0, 0.0), (3, 4, 1.0, -5.0)],
    ids=["no cells", "one level", "no clicks", "no value", "a loss on every click"],
)
def test_where_nothing_can_be_earned_nothing_is_bid_and_nothing_breaks(
    cells: int, levels: int, clicks: float, value: float
) -> None:
    bids = np.arange(1, levels + 1) * 1e4
    curve = np.cumsum(np.full((cells, levels), clicks), axis=1)
    of = Landscape(bids, curve, curve * bids, np.full(cells, value))
    everywhere = GroupLimit("everywhere", np.ones(cells, dtype=bool), max_cost_micros=50_000)
    for limits in (FREE, Limits(daily_budget_micros=30_000), Limits(groups=(everywhere,))):
        found = optimise(of, limits)
        assert found.objective_micros >= 0
        if value <= 0 or clicks == 0:
            assert (found.low == NO_BID).all()
        assert spent(found) <= 50_000 or limits == FREE


def test_clicks_that_are_free_are_taken_under_any_budget() -> None:
    of = Landscape(np.array([1.0, 2.0]), np.array([[1.0, 2.0]]), np.array([[0.0, 10.0]]), np.array([100.0]))
    assert optimise(of, Limits(daily_budget_micros=0)).clicks.tolist() == [1.0]


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(UsageError, match="no objective 'clicks'"):
        optimise(landscape(), FREE, objective="clicks")


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=5, max_size=5), min_size=1, max_size=6
    )
)
def test_steps_grow_dearer_per_click_and_no_level_lies_above_them(cells: list[list[tuple[int, int]]]) -> None:
    grid = np.cumsum(np.array(cells, dtype=float), axis=1)
    of = Landscape(np.arange(1.0, 6.0), grid[:, :, 0], grid[:, :, 1], np.ones(len(grid)))
    steps = segments(of)
    for cell in range(len(grid)):
        own = steps.cell == cell
        clicks = np.concatenate([[steps.base_clicks[cell]], steps.base_clicks[cell] + np.cumsum(steps.clicks[own])])
        cost = np.concatenate([[steps.base_cost[cell]], steps.base_cost[cell] + np.cumsum(steps.cost[own])])
        slope = steps.clicks[own] / steps.cost[own]
        assert (np.diff(slope) <= 1e-9 * (1 + slope[:-1])).all()
        reached = np.interp(of.cost_micros[cell], cost, clicks)
        assert (of.clicks[cell] <= reached + 1e-9 * (1 + reached)).all()
    assert ((steps.low == NO_BID) | (steps.low < steps.high)).all()


@pytest.mark.parametrize("seed", range(3))
def test_sifting_gives_the_answer_of_the_whole_linear_program(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    of = landscape(cells=400, levels=12, seed=seed)
    free = optimise(of, FREE)
    market = np.arange(400) % 4
    limits = Limits(
        daily_budget_micros=int(0.6 * spent(free)),
        groups=tuple(
            GroupLimit(
                f"market {m}", market == m, max_cost_micros=int((0.3 + 0.2 * m) * free.cost_micros[market == m].sum())
            )
            for m in range(4)
        ),
        poas_floor=1.3,
    )
    whole = optimise(of, limits, one_level=False)
    monkeypatch.setattr(portfolio_lp, "SIFT_ABOVE", 500)
    monkeypatch.setattr(portfolio_lp, "IN_DOUBT", 200)
    monkeypatch.setattr(portfolio_lp, "PROVED", 1e-7)
    sifted = optimise(of, limits, one_level=False)
    assert sifted.objective_micros == pytest.approx(whole.objective_micros, rel=1e-6)
    assert sifted.gap < 1e-6
    assert spent(sifted) <= limits.daily_budget_micros * (1 + 1e-9)  # type: ignore[operator]


@pytest.mark.parametrize("seed", range(3))
def test_at_the_prices_of_the_limits_each_cell_alone_chooses_what_the_portfolio_chose(seed: int) -> None:
    of = landscape(cells=120, levels=12, seed=seed)
    free = optimise(of, FREE)
    half = np.arange(120) < 60
    limits = Limits(
        daily_budget_micros=int(0.7 * spent(free)),
        roas_floor=1.1 * roas(free),
        groups=(GroupLimit("market DE", half, max_cost_micros=int(0.4 * free.cost_micros[half].sum())),),
    )
    found = optimise(of, limits, one_level=False)
    value, weight = at_prices(limits, of, found.prices)
    alone = second_price_bids(Landscape(of.bids_micros, of.clicks, of.cost_micros * weight[:, None], value))
    sure = (found.share_high == 0) | (found.share_high == 1)
    same = np.isclose(alone, found.bids_micros)[sure]
    assert same.mean() > 0.97
