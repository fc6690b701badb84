"""Landscapes for tests: saturating click curves under GSP-like and first prices."""

from __future__ import annotations

import numpy as np

from ml.bidding.landscape import Floats, Landscape


def landscape(
    cells: int = 40, levels: int = 12, seed: int = 0, *, first_price: bool = False, scale: float = 1.0
) -> Landscape:
    """Clicks a * b / (b + c) per cell; a click costs its bid, or the mean of the prices below it."""
    rng = np.random.default_rng(seed)
    bids = np.geomspace(20_000, 4_000_000, levels)
    volume, half = rng.lognormal(0, 1, cells)[:, None] * scale, rng.lognormal(13, 0.5, cells)[:, None]
    clicks = volume * bids / (bids + half)
    # The marginal click at bid b costs b: cost = integral of b dk.
    marginal = volume * half * (np.log1p(bids / half) - bids / (bids + half))
    cost = clicks * bids if first_price else marginal
    value = rng.lognormal(13.2, 0.4, cells)
    return Landscape(bids, clicks, cost, value, gross_micros=value * rng.uniform(6, 12, cells))


def clicks_at(bids: Floats, half: float) -> Floats:
    return bids / (bids + half)
