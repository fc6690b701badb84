"""Evidence about the same bids in other circumstances: under shocks, and in weeks drawn from the days as they came."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ml.promotion.evidence_bids import Constraints, Shock, Stress
from ml.promotion.yardstick import Floats, Yardstick

SHOCKS: Mapping[str, tuple[float, float, float, float]] = {
    "rivals bid 30 % more": (1.3, 1.0, 1.0, 1.0),
    "rivals bid 30 % less": (0.7, 1.0, 1.0, 1.0),
    "conversion falls by 30 %": (1.0, 0.7, 1.0, 1.0),
    "a click costs half as much again": (1.0, 1.0, 1.5, 1.0),
    "demand doubles": (1.0, 1.0, 1.0, 2.0),
}
"""By name: factor of rivals' prices, of the value of a click, of what a click costs, and of the number of auctions."""

WEEKS, WEEK_DAYS = 200, 7


def measure_stress(
    eligible: Floats,
    yardstick: Yardstick,
    *,
    candidate_micros: Floats,
    champion_micros: Floats | None,
    plans_micros: tuple[float, float],
    cap: float,
) -> Stress:
    """Both sets of bids under `SHOCKS`.

    What a partner may charge on a day is capped at `cap` times what the bids are expected to cost, as published; a day that
    reaches its cap earns in proportion.

    Args:
        eligible: auctions a day of each cell; shape (cells,).
        yardstick: how the market answers; its worth is what a click earns.
        candidate_micros, champion_micros: bids; shape (cells,).
        plans_micros: what the bids of the candidate, and of the champion, are expected to cost a day by their own landscape.
        cap: the setting `spend_cap`.
    """
    sets = [candidate_micros] if champion_micros is None else [candidate_micros, champion_micros]

    def played(number: int, shock: tuple[float, float, float, float]) -> tuple[float, float]:
        prices, value, costs, demand = shock
        clicks, cost = yardstick.at(sets[number], prices=prices)
        # No click costs more than was bid for it.
        paid = np.minimum(cost * costs, np.maximum(clicks * sets[number], cost))
        earned = float(eligible @ (clicks * yardstick.worth_micros)) * value * demand
        spent = float(eligible @ paid) * demand
        share = min(1.0, cap * plans_micros[number] / spent) if spent > 0 else 1.0
        return (earned - spent) * share, spent * share

    usual = [played(number, (1.0, 1.0, 1.0, 1.0)) for number in range(len(sets))]
    plan = plans_micros[0]
    shocks = []
    for name, shock in SHOCKS.items():
        ours = played(0, shock)
        theirs = played(1, shock)[0] if champion_micros is not None else None
        shocks.append(Shock(name, ours[0], theirs, ours[1] / plan if plan > 0 else None))
    return Stress(usual_profit_micros=usual[-1][0], champion=champion_micros is not None, shocks=tuple(shocks))


def measure_constraints(
    counts: Floats,
    yardstick: Yardstick,
    bids_micros: Floats,
    *,
    plan_micros: float,
    budget_micros: float | None,
    poas_floor: float | None,
    max_bid_micros: float,
    budget_tolerance: float,
    floor_tolerance: float,
    seed: int,
) -> Constraints:
    """Weeks drawn from the days as they came, with the chance of each day's clicks.

    Args:
        counts: auctions of each day and cell; shape (days, cells).
        yardstick: how the market answers.
        bids_micros: the candidate's; shape (cells,).
        plan_micros: what they are expected to cost a day by the candidate's own landscape.
        budget_micros, poas_floor, max_bid_micros: the settings.
        budget_tolerance, floor_tolerance: what a week may be beyond budget and floor, as shares.
        seed: of the weeks.
    """
    rng = np.random.default_rng(seed)
    clicks, cost = yardstick.at(bids_micros)
    per_click = float(counts.sum(axis=0) @ cost) / max(float(counts.sum(axis=0) @ clicks), 1e-9)
    day_clicks, day_cost = counts @ clicks, counts @ cost
    day_value = counts @ (clicks * yardstick.worth_micros)
    drawn = rng.integers(0, len(counts), size=(WEEKS, WEEK_DAYS))
    # Of a Poisson number of clicks the cost strays as the clicks do.
    noise = rng.poisson(np.maximum(day_clicks[drawn], 0.0)) - day_clicks[drawn]
    spent = np.maximum(day_cost[drawn] + noise * per_click, 0.0).sum(axis=1)
    mean = float(day_cost.mean())
    returned = day_value[drawn].sum(axis=1) / np.maximum(day_cost[drawn].sum(axis=1), 1e-9)
    has_budget, has_floor = budget_micros is not None, poas_floor is not None
    allowed = WEEK_DAYS * (budget_micros or 0) * (1 + budget_tolerance)
    return Constraints(
        weeks=WEEKS,
        has_budget=has_budget,
        budget_over=mean / budget_micros - 1 if budget_micros else None,
        weeks_over=float((spent > allowed).mean()) if has_budget else None,
        has_floor=has_floor,
        weeks_under_floor=float((returned < (poas_floor or 0) * (1 - floor_tolerance)).mean()) if has_floor else None,
        plan_over=mean / plan_micros - 1 if plan_micros > 0 else None,
        above_cap=int((bids_micros > max_bid_micros * (1 + 1e-9)).sum()),
    )
