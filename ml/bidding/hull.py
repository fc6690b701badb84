"""The concave hull of each cell's clicks over its cost: the only bid levels that an optimum ever uses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.bidding.landscape import Floats, Ints, Landscape

NO_BID = -1
"""Stands for a level where a cell is not bid on."""


@dataclass(frozen=True)
class Segments:
    """The hull of every cell as steps from one used level to the next, dearer per click each time.

    Attributes:
        cell: the cell of each step, sorted; shape (S,).
        low: the level a step starts from, `NO_BID` where that is no bid at all; shape (S,).
        high: the level that it leads to; shape (S,).
        clicks: clicks that it adds, above 0; shape (S,).
        cost: cost that it adds in micros, above 0; shape (S,).
        base_level: level of each cell before any step; shape (n,).
        base_clicks, base_cost: what a cell has before any step; shape (n,).
    """

    cell: Ints
    low: Ints
    high: Ints
    clicks: Floats
    cost: Floats
    base_level: Ints
    base_clicks: Floats
    base_cost: Floats


def segments(landscape: Landscape, *, may_pause: bool = True) -> Segments:
    """The steps of all cells.

    Args:
        landscape: clicks and cost by level.
        may_pause: a cell may be left without a bid; else it has at least the lowest level.
    """
    clicks, cost = landscape.clicks.T, landscape.cost_micros.T
    if may_pause:
        nothing = np.zeros((1, clicks.shape[1]))
        clicks, cost = np.concatenate([nothing, clicks]), np.concatenate([nothing, cost])
    stack, top = _hull(np.ascontiguousarray(cost), np.ascontiguousarray(clicks))
    shift = 1 if may_pause else 0
    used = np.arange(1, stack.shape[0])[:, None] <= top
    cell, step = np.nonzero(used.T)
    low, high = stack[step, cell], stack[step + 1, cell]
    cells = np.arange(clicks.shape[1])
    return Segments(
        cell=cell,
        low=low - shift,
        high=high - shift,
        clicks=clicks[high, cell] - clicks[low, cell],
        cost=cost[high, cell] - cost[low, cell],
        base_level=stack[0] - shift,
        base_clicks=clicks[stack[0], cells],
        base_cost=cost[stack[0], cells],
    )


def _hull(x: Floats, y: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Upper hull of the points of every column, both coordinates non-decreasing down a column.

    Andrew's monotone chain, one level at a time for all cells at once.

    Returns:
        The rows that stand on the hull, in order, shape (P, n); and the last place used in each column, shape (n,).
    """
    points, cells = x.shape
    stack = np.zeros((points, cells), dtype=np.int64)
    top = np.zeros(cells, dtype=np.int64)
    for point in range(1, points):
        # A level that brings no more clicks than the last one used is never used.
        alive = np.nonzero(y[point] > y[stack[top, np.arange(cells)], np.arange(cells)])[0]
        rising = alive
        while alive.size:
            last = stack[top[alive], alive]
            same = x[point, alive] <= x[last, alive]
            before = stack[np.maximum(top[alive] - 1, 0), alive]
            cross = (x[last, alive] - x[before, alive]) * (y[point, alive] - y[before, alive]) - (
                y[last, alive] - y[before, alive]
            ) * (x[point, alive] - x[before, alive])
            drop = same | ((top[alive] > 0) & (cross >= 0))
            alive = alive[drop]
            top[alive] -= 1
            alive = alive[top[alive] >= 0]
        top[rising] += 1
        stack[top[rising], rising] = point
    return stack, top
