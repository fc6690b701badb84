"""How far below its value a click is bid: the optimum of each auction format on a landscape.

Maximise clicks(b) x (value - average CPC(b)). Where the price is set by others (second price, GSP) the optimum is
where the marginal click costs its value; where one pays one's bid it solves b + k(b)/k'(b) = V.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ml.bidding.landscape import Floats, Landscape


def second_price_bids(landscape: Landscape) -> Floats:
    """The bid at which the marginal click costs its value, for any auction whose cost curve is in the landscape.

    Clicks and cost are linear between levels, so a best bid stands on a level: the argmax of profit, which is the
    last level before the marginal CPC on the concave hull of the curve exceeds the value. A cell that no level
    makes a profit on is bid 0.

    Returns:
        Bids per click in micros, shape (n,).
    """
    profit = landscape.profit_micros()
    best = profit.argmax(axis=1)
    found = landscape.bids_micros[best]
    return np.where(profit[np.arange(len(landscape)), best] > 0, found, 0.0)


def first_price_bids(landscape: Landscape) -> Floats:
    """The bid that solves `b + k(b)/k'(b) = V` when a click costs its bid.

    Returns:
        Bids per click in micros, shape (n,); 0 where the value does not exceed the lowest level.
    """
    return pay_as_bid_optimum(landscape.bids_micros, landscape.clicks, landscape.value_micros)


def pay_as_bid_optimum(levels: Floats, volume: Floats, worth: Floats) -> Floats:
    """The level that maximises `volume(level) x (worth - level)`, the volume being linear between levels.

    First price per click (levels are bids, volume clicks, worth the value of a click) and commission per booking
    (levels are commissions, volume bookings, worth the margin) are the same problem: `m - c = B(c)/B'(c)`.

    Args:
        levels: strictly rising, shape (L,).
        volume: non-decreasing along a row, shape (n, L).
        worth: what a unit of volume is worth, in the unit of `levels`; shape (n,).

    Returns:
        Shape (n,); 0 where nothing is gained at any level.
    """
    at_levels = volume * (worth[:, None] - levels)
    best = at_levels.argmax(axis=1)
    rows = np.arange(len(worth))
    found, gained = levels[best], at_levels[rows, best]
    if len(levels) > 1:
        # Within a segment the gain is a parabola: its top, where that lies inside.
        slope = np.diff(volume, axis=1) / np.diff(levels)
        with np.errstate(divide="ignore", invalid="ignore"):
            top = (worth[:, None] + levels[:-1] - volume[:, :-1] / slope) / 2
        top = np.where(slope > 0, np.clip(top, levels[:-1], levels[1:]), levels[:-1])
        gain = (volume[:, :-1] + slope * (top - levels[:-1])) * (worth[:, None] - top)
        inside = gain.argmax(axis=1)
        better = gain[rows, inside] > gained
        found, gained = np.where(better, top[rows, inside], found), np.maximum(gain[rows, inside], gained)
    return np.where(gained > 0, found, 0.0)


AUCTIONS: Mapping[str, Callable[[Landscape], Floats]] = {
    "gsp": second_price_bids,
    "second_price": second_price_bids,
    "first_price": first_price_bids,
}
"""The best unconstrained bid of each auction format. To add a format: a function and a line."""
