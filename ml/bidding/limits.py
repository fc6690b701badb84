"""What a portfolio of bids must keep to: budgets, floors on the return, limits of partners and of markets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ml.bidding.hull import Segments
from ml.bidding.landscape import Floats, Landscape
from ml.core.errors import UsageError
from ml.core.units import MICROS_PER_UNIT

Cells = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class GroupLimit:
    """A limit of some of the cells, such as those of a partner or of a market.

    Attributes:
        name: what it is a limit of, such as `partner google`.
        cells: which cells; shape (n,).
        max_cost_micros: cost a day at most.
        roas_floor: gross booking value per cost at least.
    """

    name: str
    cells: Cells
    max_cost_micros: int | None = None
    roas_floor: float | None = None


@dataclass(frozen=True)
class Limits:
    """Limits of a day's bids.

    Attributes:
        daily_budget_micros: cost of the day at most.
        month_left_micros: what the month's budget still holds.
        today_share: share of the month's remaining traffic that is expected today; above 0, at most 1.
        roas_floor: gross booking value per cost at least.
        poas_floor: margin per cost at least.
        groups: limits of partners, markets or any other set of cells.
    """

    daily_budget_micros: int | None = None
    month_left_micros: int | None = None
    today_share: float = 1.0
    roas_floor: float | None = None
    poas_floor: float | None = None
    groups: tuple[GroupLimit, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if not 0 < self.today_share <= 1:
            raise UsageError(f"today's share of the month, {self.today_share}, is not within 0 and 1")
        numbers = {
            "daily budget": self.daily_budget_micros,
            "monthly budget": self.month_left_micros,
            "ROAS floor": self.roas_floor,
            "POAS floor": self.poas_floor,
        }
        for group in self.groups:
            numbers |= {f"cost limit of {group.name}": group.max_cost_micros}
            numbers |= {f"ROAS floor of {group.name}": group.roas_floor}
        for name, number in numbers.items():
            if number is not None and not (np.isfinite(number) and number >= 0):
                raise UsageError(f"the {name} is {number}", next="give a finite amount, at least 0")


@dataclass(frozen=True)
class Cap:
    """Cost of some cells is at most this; `cells` None means all."""

    name: str
    cells: Cells | None
    micros: float


@dataclass(frozen=True)
class Floor:
    """Worth of some cells is at least `ratio` x their cost; `worth` is per click, shape (n,)."""

    name: str
    cells: Cells | None
    worth: Floats
    ratio: float


@dataclass(frozen=True)
class Infeasible:
    """A limit that cannot hold, the nearest value of it that can (micros of a cap, a ratio), and what to do."""

    name: str
    wanted: float
    nearest: float
    sentence: str
    next: str


def budget_of(limits: Limits) -> Cap | None:
    """The tighter of the daily and the monthly budget, as a cap of today's cost."""
    caps = []
    if limits.daily_budget_micros is not None:
        caps.append(Cap("daily budget", None, float(limits.daily_budget_micros)))
    if limits.month_left_micros is not None:
        caps.append(Cap("monthly budget", None, limits.month_left_micros * limits.today_share))
    return min(caps, key=lambda cap: cap.micros, default=None)


def caps_of(limits: Limits) -> list[Cap]:
    """Every limit of cost, the budget first."""
    budget = budget_of(limits)
    return ([] if budget is None else [budget]) + [
        Cap(f"cost limit of {group.name}", group.cells, float(group.max_cost_micros))
        for group in limits.groups
        if group.max_cost_micros is not None
    ]


def floors_of(limits: Limits, landscape: Landscape) -> list[Floor]:
    """Every floor of the return; a floor of 0 asks for nothing and is left out."""
    gross = landscape.roas_value_micros
    found = [Floor("ROAS floor", None, gross, limits.roas_floor)] if limits.roas_floor else []
    found += [Floor("POAS floor", None, landscape.value_micros, limits.poas_floor)] if limits.poas_floor else []
    return found + [
        Floor(f"ROAS floor of {group.name}", group.cells, gross, group.roas_floor)
        for group in limits.groups
        if group.roas_floor
    ]


def at_prices(
    limits: Limits, landscape: Landscape, prices: Mapping[str, float], *, cost_weight: float = 1.0
) -> tuple[Floats, Floats]:
    """What a click is worth and what a micro of cost weighs once every limit has its price.

    Maximising `clicks x value - weight x cost` cell by cell with these gives the portfolio's bids without any limit, but
    for cells on the margin: what later steps, which know of no limits, should work with.

    Args:
        limits: the limits.
        landscape: what they were solved on.
        prices: of each limit, as `Allocation.prices`.
        cost_weight: 1 where profit is maximised, 0 where value is.

    Returns:
        Value of a click in micros and weight of its cost; shape (n,) each.
    """
    value, weight = landscape.value_micros.copy(), np.full(len(landscape), cost_weight)
    for cap in caps_of(limits):
        weight += prices.get(cap.name, 0.0) * _mask(cap.cells, len(landscape))
    for floor in floors_of(limits, landscape):
        price = prices.get(floor.name, 0.0) * _mask(floor.cells, len(landscape))
        value += price * floor.worth
        weight += price * floor.ratio
    return value, weight


def infeasible(limits: Limits, landscape: Landscape, steps: Segments) -> Iterator[Infeasible]:
    """Each limit that cannot hold by itself, with the nearest value that can."""
    for cap in caps_of(limits):
        least = float(_of(steps.base_cost, cap.cells).sum())
        if cap.micros < least * (1 - 1e-12):
            yield Infeasible(
                cap.name,
                cap.micros,
                least,
                f"the {cap.name} of {_money(cap.micros)} cannot hold: the lowest bids cost {_money(least)}",
                f"allow at least {_money(np.ceil(least / 10_000) * 10_000)}, or let cells go without a bid",
            )
    for floor in floors_of(limits, landscape):
        best = best_return(floor, steps)
        if floor.ratio > best * (1 + 1e-12):
            yield Infeasible(
                floor.name,
                floor.ratio,
                best,
                f"the {floor.name} of {floor.ratio:g} cannot hold: the highest that any bid reaches is {best:.4g}",
                f"ask for at most {np.floor(best * 1_000) / 1_000:g}",
            )


def best_return(floor: Floor, steps: Segments, *, budget_micros: float = np.inf) -> float:
    """The highest worth per cost that the cells of a floor can reach within a budget; inf where clicks are free."""
    inside = slice(None) if floor.cells is None else floor.cells[steps.cell]
    worth, cost = (floor.worth[steps.cell] * steps.clicks)[inside], steps.cost[inside]
    order = np.argsort(-worth / cost, kind="stable")
    base_cost = float(_of(steps.base_cost, floor.cells).sum())
    base_worth = float(_of(steps.base_clicks * floor.worth, floor.cells).sum())
    total_cost = base_cost + np.concatenate([[0.0], np.cumsum(cost[order])])
    total_worth = base_worth + np.concatenate([[0.0], np.cumsum(worth[order])])
    if total_cost[0] == 0 and total_worth[0] > 0:
        return float("inf")
    reach = (total_cost > 0) & (total_cost <= max(budget_micros, base_cost))
    if total_cost[0] == 0 and len(total_cost) > 1:
        # However small the budget, a part of the best step is within it.
        reach[1] = True
    return float((total_worth[reach] / total_cost[reach]).max(initial=0.0))


def _mask(cells: Cells | None, size: int) -> Floats:
    return np.ones(size) if cells is None else cells.astype(float)


def _of(values: Floats, cells: Cells | None) -> Floats:
    return values if cells is None else values[cells]


def _money(micros: float) -> str:
    return f"{micros / MICROS_PER_UNIT:,.2f}"
