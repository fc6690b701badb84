"""Which bid level each cell gets, so that the whole earns most within its budget and its floors.

A multiple-choice knapsack: on the concave hull of each cell the relaxed problem is solved exactly (up to a stated
gap) by bisection on the price of money and of the floor; with further limits a linear program does it. At most a cell
or two per limit is left between two levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.bidding.hull import NO_BID, Segments, segments
from ml.bidding.landscape import Floats, Ints, Landscape
from ml.bidding.limits import Cap, Floor, Limits, best_return, budget_of, caps_of, floors_of, infeasible
from ml.core.errors import UsageError

GAP = 1e-9
"""Share of the bound at which the bisection on a floor stops."""

ROUNDING = 1e-7
"""Share of a step below which it counts as not taken, and above 1 minus which as taken."""

OBJECTIVES = ("profit", "value")


@dataclass(frozen=True)
class Allocation:
    """A bid level for each cell, or a mix of two.

    Attributes:
        landscape: what it was chosen on.
        low, high: the levels of each cell, `NO_BID` for none; shape (n,).
        share_high: share of the day at `high`, 0 to 1; shape (n,).
        objective_micros: what it is expected to earn a day: profit, or margin before cost.
        bound_micros: what no allocation within the limits can exceed, from the dual of the linear program.
        prices: what each limit that binds costs: objective lost per micro of budget, or per micro of a floor's slack.
        method: `bisection`, `linear program`, or `each cell by itself` where there is no limit.
    """

    landscape: Landscape
    low: Ints
    high: Ints
    share_high: Floats
    objective_micros: float
    bound_micros: float
    prices: dict[str, float]
    method: str

    @property
    def gap(self) -> float:
        """Share of the bound that is not reached; 0 is optimal."""
        return 0.0 if self.bound_micros <= 0 else max(1 - self.objective_micros / self.bound_micros, 0.0)

    @property
    def mixed(self) -> int:
        """Cells between two levels."""
        return int(((self.share_high > 0) & (self.share_high < 1)).sum())

    def _sum(self, curve: Floats) -> Floats:
        rows = np.arange(len(self.low))
        low = np.where(self.low == NO_BID, 0.0, curve[rows, self.low])
        high = np.where(self.high == NO_BID, 0.0, curve[rows, self.high])
        mix: Floats = low + self.share_high * (high - low)
        return mix

    @property
    def clicks(self) -> Floats:
        """Expected clicks a day of each cell; shape (n,)."""
        return self._sum(self.landscape.clicks)

    @property
    def cost_micros(self) -> Floats:
        """Expected cost a day of each cell; shape (n,)."""
        return self._sum(self.landscape.cost_micros)

    @property
    def profit_micros(self) -> Floats:
        """Expected profit a day of each cell; shape (n,)."""
        return self.clicks * self.landscape.value_micros - self.cost_micros

    @property
    def bids_micros(self) -> Floats:
        """The bid per click of each cell, the mean of a mix; 0 where there is none; shape (n,)."""
        levels = np.concatenate([self.landscape.bids_micros, [0.0]])
        mix: Floats = levels[self.low] + self.share_high * (levels[self.high] - levels[self.low])
        return mix


def optimise(
    landscape: Landscape,
    limits: Limits,
    *,
    objective: str = "profit",
    may_pause: bool = True,
    one_level: bool = True,
) -> Allocation:
    """The bids that earn most within the limits.

    Args:
        landscape: what each level brings each cell.
        limits: what the whole must keep to.
        objective: `profit` (margin minus cost) or `value` (margin, the cost being bounded by the limits).
        may_pause: a cell may be left without a bid.
        one_level: no cell is left between two levels, since most partners take one bid a day; it costs at most a
            step of one cell per limit, and the gap says how much.

    Raises:
        UsageError: a limit cannot hold; it is named, with the nearest value that can, and nothing is bid.
    """
    if objective not in OBJECTIVES:
        raise UsageError(f"there is no objective {objective!r}", next=f"choose one of: {', '.join(OBJECTIVES)}")
    cost_weight = 1.0 if objective == "profit" else 0.0
    if limits == Limits():
        return _unlimited(landscape, cost_weight, may_pause=may_pause)
    steps = segments(landscape, may_pause=may_pause)
    found = next(infeasible(limits, landscape, steps), None)
    if found is not None:
        raise UsageError(found.sentence, left="no bid was changed", next=found.next)
    budget, floors = budget_of(limits), floors_of(limits, landscape)
    if limits.groups or len(floors) > 1:
        from ml.bidding.portfolio_lp import solve

        taken, bound, prices = solve(landscape, steps, caps_of(limits), floors, cost_weight)
        method = "linear program"
    else:
        floor = floors[0] if floors else None
        taken, bound, prices = _bisect(landscape, steps, budget, floor, cost_weight)
        method = "bisection"
    taken = _in_order(taken, steps)
    if one_level:
        taken = _whole_steps(taken, landscape, steps, floors)
    return _allocation(landscape, steps, taken, cost_weight, bound, prices, method)


def _unlimited(landscape: Landscape, cost_weight: float, *, may_pause: bool) -> Allocation:
    """Without limits each cell has its own best level, the lowest of equals."""
    earned = landscape.clicks * landscape.value_micros[:, None] - cost_weight * landscape.cost_micros
    best = earned.argmax(axis=1)
    reached = earned[np.arange(len(best)), best]
    level = np.where(reached > 0, best, NO_BID) if may_pause else best
    total = float(reached[level != NO_BID].sum())
    share = np.zeros(len(best))
    return Allocation(landscape, level, level.copy(), share, total, total, {}, "each cell by itself")


def _bisect(
    landscape: Landscape, steps: Segments, budget: Cap | None, floor: Floor | None, cost_weight: float
) -> tuple[Floats, float, dict[str, float]]:
    """How much of each step is taken, 0 to 1; the dual bound; the prices of budget and floor."""
    money = np.inf if budget is None else budget.micros

    def solve(price: float) -> tuple[Floats, float, float]:
        return _within_budget(landscape, steps, money, floor, price, cost_weight)

    def prices(of_budget: float, of_floor: float) -> dict[str, float]:
        named = {} if budget is None else {budget.name: of_budget}
        return named if floor is None else named | {floor.name: of_floor}

    taken, bound, mu = solve(0.0)
    if floor is None or _slack(taken, steps, floor) >= 0:
        return taken, bound, prices(mu, 0.0)
    # A floor at the very highest that can be reached holds up to rounding.
    rounding = -1e-12 * float((steps.base_clicks @ floor.worth) + (steps.clicks * floor.worth[steps.cell]).sum())
    cheap, low, high = taken, 0.0, 1.0
    dear, bound, mu = solve(high)
    while _slack(dear, steps, floor) < rounding:
        cheap, low, high = dear, high, high * 4
        dear, bound, mu = solve(high)
        if high > 1e12:
            reach = best_return(floor, steps, budget_micros=money)
            raise UsageError(
                f"the {floor.name} of {floor.ratio:g} cannot hold within the budget, which reaches {reach:.4g}",
                left="no bid was changed",
                next="lower the floor, allow more budget, or let cells go without a bid",
            )
    best, best_bound = _mixture(cheap, dear, steps, floor), bound
    for _ in range(100):
        reached = _objective(best, landscape, steps, cost_weight)
        if best_bound - reached <= GAP * abs(best_bound):
            break
        price = (low + high) / 2
        taken, bound, mu = solve(price)
        best_bound = min(best_bound, bound)
        if _slack(taken, steps, floor) < rounding:
            cheap, low = taken, price
        else:
            dear, high = taken, price
        mixed = _mixture(cheap, dear, steps, floor)
        if _objective(mixed, landscape, steps, cost_weight) > reached:
            best = mixed
    return best, best_bound, prices(mu, high)


def _within_budget(
    landscape: Landscape, steps: Segments, money: float, floor: Floor | None, price: float, cost_weight: float
) -> tuple[Floats, float, float]:
    """For one price of the floor: the best steps within the budget, the dual bound, and the price of the budget."""
    worth, weight = landscape.value_micros, cost_weight
    base = float((steps.base_clicks * worth).sum() - weight * steps.base_cost.sum())
    if floor is not None:
        worth, weight = worth + price * floor.worth, weight + price * floor.ratio
        base = float((steps.base_clicks * worth).sum() - weight * steps.base_cost.sum())
    # Gain per micro spent: the price of money at which a step is just worth taking.
    density = worth[steps.cell] * steps.clicks / steps.cost - weight
    left = money - float(steps.base_cost.sum())
    good = np.nonzero(density > 0)[0]
    taken = np.zeros(len(density))
    if float(steps.cost[good].sum()) <= left:
        taken[good] = 1.0
        return taken, base + float((density[good] * steps.cost[good]).sum()), 0.0
    order = good[np.argsort(-density[good], kind="stable")]
    spent = np.cumsum(steps.cost[order])
    last = int(np.searchsorted(spent, left, side="right"))
    taken[order[:last]] = 1.0
    edge = order[last]
    taken[edge] = (left - (spent[last - 1] if last else 0.0)) / steps.cost[edge]
    mu = float(density[edge])
    gains = float(((density[order[:last]] - mu) * steps.cost[order[:last]]).sum())
    return taken, base + gains + mu * left, mu


def _slack(taken: Floats, steps: Segments, floor: Floor) -> float:
    """Worth above the floor, in micros; negative where the floor is broken."""
    base = steps.base_clicks * floor.worth - floor.ratio * steps.base_cost
    own = floor.worth[steps.cell] * steps.clicks - floor.ratio * steps.cost
    if floor.cells is None:
        return float(base.sum() + (own * taken).sum())
    return float(base[floor.cells].sum() + (own * taken)[floor.cells[steps.cell]].sum())


def _mixture(cheap: Floats, dear: Floats, steps: Segments, floor: Floor) -> Floats:
    """The mix of a solution that breaks the floor and one that keeps it which just keeps it."""
    short, spare = _slack(cheap, steps, floor), _slack(dear, steps, floor)
    share = min(max(-short / (spare - short), 0.0), 1.0) if spare > short else 1.0
    return share * dear + (1 - share) * cheap


def _objective(taken: Floats, landscape: Landscape, steps: Segments, cost_weight: float) -> float:
    base = steps.base_clicks * landscape.value_micros - cost_weight * steps.base_cost
    own = landscape.value_micros[steps.cell] * steps.clicks - cost_weight * steps.cost
    return float(base.sum() + (own * taken).sum())


def _in_order(taken: Floats, steps: Segments) -> Floats:
    """The same cost in each cell, spent on its best steps first, so that a cell is between two levels at most."""
    rounded = np.where(taken > 1 - ROUNDING, 1.0, np.where(taken < ROUNDING, 0.0, taken))
    same = steps.cell[1:] == steps.cell[:-1]
    part = (rounded > 0) & (rounded < 1)
    odd = np.unique(np.concatenate([steps.cell[part], steps.cell[1:][same & (rounded[1:] > rounded[:-1])]]))
    index = np.nonzero(np.isin(steps.cell, odd))[0]
    # Only the cells that need it: a running sum over all of them would round small cells away.
    cell, cost = np.searchsorted(odd, steps.cell[index]), steps.cost[index]
    spent = np.bincount(cell, weights=rounded[index] * cost, minlength=len(odd))
    before = np.cumsum(cost) - cost
    within = before - before[np.searchsorted(cell, np.arange(len(odd)))][cell]
    share = (spent[cell] - within) / cost
    rounded[index] = np.where(share > 1 - ROUNDING, 1.0, np.where(share < ROUNDING, 0.0, share))
    return rounded


def _whole_steps(taken: Floats, landscape: Landscape, steps: Segments, floors: list[Floor]) -> Floats:
    """Steps taken in part are left; then the worst steps of a floor that this broke, until it holds."""
    whole = np.where(taken < 1, 0.0, 1.0)
    for _ in range(100):
        broken = next(
            (floor for floor in floors if _slack(whole, steps, floor) < -1e-6 * landscape.value_micros.sum()), None
        )
        if broken is None:
            break
        own = broken.worth[steps.cell] * steps.clicks - broken.ratio * steps.cost
        following = np.concatenate([whole[1:] * (steps.cell[1:] == steps.cell[:-1]), [0.0]])
        inside = np.ones(len(own), dtype=bool) if broken.cells is None else broken.cells[steps.cell]
        last = np.nonzero((whole > 0) & (following == 0) & inside & (own < 0))[0]
        if not last.size:
            break
        order = last[np.argsort(own[last], kind="stable")]
        freed = np.cumsum(-own[order])
        enough = int(np.searchsorted(freed, -_slack(whole, steps, broken))) + 1
        whole[order[:enough]] = 0.0
    return whole


def _allocation(
    landscape: Landscape,
    steps: Segments,
    taken: Floats,
    cost_weight: float,
    bound: float,
    prices: dict[str, float],
    method: str,
) -> Allocation:
    low, high = steps.base_level.copy(), steps.base_level.copy()
    share = np.zeros(len(low))
    full = taken == 1
    # Steps are in order within a cell, so the last write of a cell is its dearest step.
    low[steps.cell[full]] = steps.high[full]
    high[steps.cell[full]] = steps.high[full]
    part = (taken > 0) & ~full
    low[steps.cell[part]], high[steps.cell[part]] = steps.low[part], steps.high[part]
    share[steps.cell[part]] = taken[part]
    return Allocation(
        landscape=landscape,
        low=low,
        high=high,
        share_high=share,
        objective_micros=_objective(taken, landscape, steps, cost_weight),
        bound_micros=bound,
        prices=prices,
        method=method,
    )
