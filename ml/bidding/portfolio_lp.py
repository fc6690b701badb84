"""The portfolio as a linear program, for limits of partners and of markets: HiGHS, through SciPy.

Of a large portfolio only the steps near the margin are in doubt. Sifting (Bixby et al., 1992) solves a sample for the
prices of the limits, fixes the steps that those prices decide clearly, solves the rest, and checks the answer against
the dual of the whole; what is not proved good enough is solved again with more steps in doubt.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from ml.bidding.hull import Segments
from ml.bidding.landscape import Floats, Landscape
from ml.bidding.limits import Cap, Cells, Floor, best_return
from ml.core.errors import UsageError

SIFT_ABOVE = 100_000
"""Steps from which on sifting is used."""
IN_DOUBT = 40_000
"""Steps that the first round of sifting leaves in doubt, and size of its sample."""
PROVED = 1e-8
"""Gap to the dual bound at which sifting stops."""

_INFEASIBLE = 2


def solve(
    landscape: Landscape,
    steps: Segments,
    caps: list[Cap],
    floors: list[Floor],
    cost_weight: float,
    *,
    sift: bool = True,
) -> tuple[Floats, float, dict[str, float]]:
    """How much of each step is taken, 0 to 1; the bound; the price of each limit.

    A step is a variable between 0 and 1. Within a cell an earlier step gives more of everything per cost, so no
    constraint has to keep them in order. Without `sift` a large program is solved whole.

    Raises:
        UsageError: the limits cannot hold together; they are named.
    """
    gain = landscape.value_micros[steps.cell] * steps.clicks - cost_weight * steps.cost
    rows, room = _constraints(steps, caps, floors)
    base = float((steps.base_clicks * landscape.value_micros - cost_weight * steps.base_cost).sum())
    # A step that loses and helps no floor is never taken.
    useful = np.nonzero((gain > 0) | (rows[len(caps) :] < 0).any(axis=0))[0]
    own_gain, own_rows = gain[useful], rows[:, useful]
    found = _sift(own_gain, own_rows, room) if sift and len(useful) > SIFT_ABOVE else None
    found = found or _linear_program(own_gain, own_rows, room)
    if found is None:
        raise UsageError(
            _reason(caps, floors, steps),
            left="no bid was changed",
            next="loosen one of them, or let cells go without a bid",
        )
    taken = np.zeros(len(gain))
    taken[useful], prices = found
    names = [cap.name for cap in caps] + [floor.name for floor in floors]
    return taken, base + _dual(gain, rows, room, prices), dict(zip(names, prices.tolist(), strict=True))


def _constraints(steps: Segments, caps: list[Cap], floors: list[Floor]) -> tuple[Floats, Floats]:
    """`rows @ taken <= room`: one row per limit, shape (limits, steps)."""
    rows, room = np.empty((len(caps) + len(floors), len(steps.cell))), []
    for number, cap in enumerate(caps):
        rows[number] = steps.cost * _inside(cap.cells, steps)
        room.append(cap.micros - _sum(steps.base_cost, cap.cells))
    for number, floor in enumerate(floors, start=len(caps)):
        short = floor.ratio * steps.cost - floor.worth[steps.cell] * steps.clicks
        rows[number] = short * _inside(floor.cells, steps)
        room.append(_sum(steps.base_clicks * floor.worth - floor.ratio * steps.base_cost, floor.cells))
    return rows, np.array(room)


def _linear_program(gain: Floats, rows: Floats, room: Floats) -> tuple[Floats, Floats] | None:
    """The steps taken and the price of each row; None where the rows cannot hold together."""
    if not len(gain):
        return (gain, np.zeros(len(room))) if room.min(initial=0.0) >= 0 else None
    scale = np.maximum(np.abs(rows).max(axis=1, initial=0.0), 1.0)
    unit = max(float(np.abs(gain).max()), 1.0)
    # Interior point without presolve: on a million columns and ten rows that takes seconds, where the default, presolve
    # and dual simplex, takes minutes for the same answer (SciPy 1.17).
    answer = linprog(
        -gain / unit,
        A_ub=rows / scale[:, None],
        b_ub=room / scale,
        bounds=(0, 1),
        method="highs-ipm",
        options={"presolve": False},
    )
    if answer.status == _INFEASIBLE:
        return None
    if answer.x is None:
        raise UsageError("the limits could not be solved", left="no bid was changed", next="loosen one of them")
    return np.clip(answer.x, 0, 1), np.maximum(-answer.ineqlin.marginals * unit / scale, 0.0)


def _sift(gain: Floats, rows: Floats, room: Floats) -> tuple[Floats, Floats] | None:
    """The same answer from few steps at a time; None where it could not be proved, so that all are to be solved."""
    every = max(len(gain) // IN_DOUBT, 1)
    sample = slice(None, None, every)
    share = np.abs(rows[:, sample]).sum(axis=1) / np.maximum(np.abs(rows).sum(axis=1), 1e-300)
    first = _linear_program(gain[sample], rows[:, sample], room * share)
    if first is None:
        return None
    prices, doubt = first[1], IN_DOUBT
    while doubt < len(gain):
        reduced = gain - prices @ rows
        clearness = np.abs(reduced) / (np.abs(gain) + prices @ np.abs(rows) + 1e-300)
        free = np.argpartition(clearness, doubt)[:doubt]
        taken = (reduced > 0).astype(float)
        taken[free] = 0.0
        doubt *= 3
        found = _linear_program(gain[free], rows[:, free], room - rows @ taken)
        if found is None:
            continue
        taken[free], prices = found
        bound = _dual(gain, rows, room, prices)
        if bound - float(gain @ taken) <= PROVED * abs(bound):
            return taken, prices
    return None


def _dual(gain: Floats, rows: Floats, room: Floats, prices: Floats) -> float:
    """What no choice of steps can exceed, whatever the solver's own tolerance was."""
    return float(prices @ room) + float(np.maximum(gain - prices @ rows, 0.0).sum())


def _reason(caps: list[Cap], floors: list[Floor], steps: Segments) -> str:
    """One sentence on limits that hold one by one and not together."""
    for floor in floors:
        budget = min((cap.micros for cap in caps if cap.cells is None), default=np.inf)
        reach = best_return(floor, steps, budget_micros=budget)
        if reach < floor.ratio:
            return f"the {floor.name} of {floor.ratio:g} cannot hold within the budget, which reaches {reach:.4g}"
    names = [cap.name for cap in caps] + [floor.name for floor in floors]
    return f"these limits cannot hold together: {', '.join(names)}"


def _inside(cells: Cells | None, steps: Segments) -> Floats:
    return np.ones(len(steps.cell)) if cells is None else cells[steps.cell].astype(float)


def _sum(values: Floats, cells: Cells | None) -> float:
    return float((values if cells is None else values[cells]).sum())
