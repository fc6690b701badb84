"""What each bid level would bring a cell: clicks and cost, and what a click is worth there.

A landscape is the common currency of this room: a model or a partner's simulation points produce one; shading, the
portfolio, the bid language and exploration read it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TOLERANCE = 1e-9
"""Relative decrease that still counts as rounding of a curve that does not decrease."""


@dataclass(frozen=True)
class Landscape:
    """Expected clicks and cost a day of each cell at each bid level.

    Attributes:
        bids_micros: bid per click of each level, strictly rising, at least 0; shape (L,).
        clicks: expected clicks a day, non-decreasing along a row, at least 0; shape (n, L).
        cost_micros: expected cost a day, non-decreasing along a row, at least 0; shape (n, L).
        value_micros: expected margin of a click before the cost of the click; shape (n,). It does not depend on the
            level: where an offer is shown moves clicks, not conversion given a click (Ursu, The Power of Rankings).
        gross_micros: expected gross booking value of a click, for a ROAS floor; shape (n,), or None where only the
            margin is known.
    """

    bids_micros: Floats
    clicks: Floats
    cost_micros: Floats
    value_micros: Floats
    gross_micros: Floats | None = None

    def __post_init__(self) -> None:
        levels = self.bids_micros.shape
        if len(levels) != 1 or levels[0] == 0 or (np.diff(self.bids_micros) <= 0).any() or self.bids_micros[0] < 0:
            raise ValueError("bid levels rise strictly from 0 or more")
        cells = len(self.value_micros)
        for name, curve in (("clicks", self.clicks), ("cost_micros", self.cost_micros)):
            if curve.shape != (cells, levels[0]):
                raise ValueError(f"{name} has shape {curve.shape}, wanted {(cells, levels[0])}")
            if not np.isfinite(curve).all() or (curve < 0).any():
                raise ValueError(f"{name} is not finite or is negative in some cell")
            if (np.diff(curve, axis=1) < -TOLERANCE * (1 + curve[:, 1:])).any():
                raise ValueError(f"{name} falls as the bid rises in some cell")
        for name, worth in (("value_micros", self.value_micros), ("gross_micros", self.gross_micros)):
            if worth is not None and (worth.shape != (cells,) or not np.isfinite(worth).all()):
                raise ValueError(f"{name} is not one finite number a cell")

    def __len__(self) -> int:
        """Cells."""
        return len(self.value_micros)

    @property
    def roas_value_micros(self) -> Floats:
        """What a ROAS floor counts per click: gross value where it is known, else the margin (a POAS floor)."""
        return self.value_micros if self.gross_micros is None else self.gross_micros

    def profit_micros(self) -> Floats:
        """Expected profit a day at each level; shape (n, L)."""
        return self.clicks * self.value_micros[:, None] - self.cost_micros

    def rows(self, index: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Landscape:
        """The landscape of some of the cells."""
        gross = None if self.gross_micros is None else self.gross_micros[index]
        return Landscape(self.bids_micros, self.clicks[index], self.cost_micros[index], self.value_micros[index], gross)

    def at(self, bids_micros: Floats) -> tuple[Floats, Floats]:
        """Expected clicks and cost a day of each cell at bids between the levels, linear between them.

        Below the first level a cell gets nothing; above the last it gets what the last brings.

        Args:
            bids_micros: shape (n,), or (n, k) for k bids a cell.

        Returns:
            Clicks and cost, each of the shape of `bids_micros`.
        """
        bids = bids_micros if bids_micros.ndim == 2 else bids_micros[:, None]
        last = len(self.bids_micros) - 1
        low = np.clip(np.searchsorted(self.bids_micros, bids, side="right") - 1, 0, max(last - 1, 0))
        high = np.minimum(low + 1, last)
        width = np.where(high > low, self.bids_micros[high] - self.bids_micros[low], 1.0)
        share = np.clip((bids - self.bids_micros[low]) / width, 0.0, 1.0)
        shown = bids >= self.bids_micros[0]
        found = []
        for curve in (self.clicks, self.cost_micros):
            left, right = np.take_along_axis(curve, low, axis=1), np.take_along_axis(curve, high, axis=1)
            found.append(np.where(shown, left + share * (right - left), 0.0).reshape(bids_micros.shape))
        return found[0], found[1]

    def profit_at(self, bids_micros: Floats) -> Floats:
        """Expected profit a day of each cell at bids between the levels; the shape of `bids_micros`."""
        clicks, cost = self.at(bids_micros)
        value = self.value_micros if bids_micros.ndim == 1 else self.value_micros[:, None]
        return clicks * value - cost
