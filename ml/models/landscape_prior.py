"""What the landscapes of all cells have in common: usual curves, levels, noise of a day, and prices.

See `ml.models.landscape` for the model. Everything here is deterministic and in units of the base bid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from ml.core.errors import UsageError
from ml.models.numbers import Bools, Floats, Ints, to_json_floats
from ml.models.shrinkage import fit_strength

_HALF_WAY = np.linspace(-2.4, 2.4, 17)
_STEEPNESS = np.array([0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6])
CURVES: Floats = np.array([(np.exp(c), a) for c in _HALF_WAY for a in _STEEPNESS])
"""The grid, shape (curves, 2): the bid over base at which half of all is won, and the steepness there."""

NEAR_BASE = 0.01
"""A bid that was not drawn counts as the base's when it is within this share of it."""

_START = np.exp(-0.5 * (np.log(CURVES[:, 0]) / 0.7) ** 2 - 0.5 * (np.log(CURVES[:, 1] / 1.6) / 0.3) ** 2)
"""Weights of `CURVES` for a cell about which nothing is known: half of all is won near the base bid, give or take a factor of two."""

_USUAL_PRICE = (-0.5, 0.8, 0.25, 0.3, 0.1)
"""Price, slope, their deviations between cells, and noise of a click, where nothing says otherwise."""

_FREE = 0.01
_PSEUDO_CELLS = 20.0
_EM_STEPS = 60
_ROUNDS = 4
_COLUMNS = ("cell", "bid_micros", "drawn", "exposure", "clicks", "cost_micros")


def shapes(ratio: Floats) -> Floats:
    """g of every curve: (n, levels) of bids over base to (n, curves, levels); 1 at the base, 0 at no bid."""
    half, steep = CURVES[:, 0][:, None], CURVES[:, 1][:, None]
    with np.errstate(divide="ignore", over="ignore"):
        lost = np.exp(-steep * (np.log(ratio)[:, None, :] - np.log(half)))
    return np.asarray((1.0 + half**steep) / (1.0 + lost), dtype=np.float64)


@dataclass(frozen=True)
class Evidence:
    """Usable days, with their cells numbered.

    Attributes:
        cells: names, shape (cells,).
        base: base bids in micros, shape (cells,).
        cell: the cell of each day, shape (n,), as are the next four.
        ratio: bid over base.
        exposure: traffic.
        clicks: clicks.
        cost: cost in base bids.
    """

    cells: tuple[str, ...]
    base: Floats
    cell: Ints
    ratio: Floats
    exposure: Floats
    clicks: Floats
    cost: Floats

    @classmethod
    def of(cls, rows: pd.DataFrame, base: pd.Series[Any]) -> Evidence:
        """Check the rows and keep those of which the bid was drawn or the base's; see `Landscape.fit`."""
        missing = [name for name in _COLUMNS if name not in rows.columns]
        if missing:
            raise UsageError(f"the landscape needs the column {missing[0]!r}", next="give the days of cells with it")
        bases = base.sort_index()
        bids = bases.to_numpy(dtype=np.float64)
        numbers = rows[["bid_micros", "exposure", "clicks", "cost_micros"]].to_numpy(dtype=np.float64)
        if not (np.isfinite(numbers).all() and (numbers >= 0).all() and (bids > 0).all() and np.isfinite(bids).all()):
            raise UsageError("a bid, count or cost of a cell is negative or not finite", next="drop such days")
        empty = cls(tuple(map(str, bases.index)), bids, *(np.empty(0),) * 5)  # type: ignore[arg-type]
        cell, there = empty.find(rows["cell"])
        bid, exposure, clicks, cost = numbers.T
        ratio = np.where(there, bid / bids[cell], 0.0)
        drawn = rows["drawn"].to_numpy(dtype=bool)
        ratio = np.where(drawn | (np.abs(ratio - 1) > NEAR_BASE), ratio, 1.0)
        use = there & (drawn | (ratio == 1.0)) & (exposure > 0) & (bid > 0)
        return cls(empty.cells, bids, cell[use], ratio[use], exposure[use], clicks[use], (cost / bids[cell])[use])

    def clicked(self) -> Evidence:
        """The days with a click."""
        days = self.clicks > 0
        kept = [values[days] for values in (self.ratio, self.exposure, self.clicks, self.cost)]
        return Evidence(self.cells, self.base, self.cell[days], *kept)

    def find(self, names: pd.Series[Any]) -> tuple[Ints, Bools]:
        """Number of each name's cell (0 where there is none), and whether there is one."""
        code = pd.Index(self.cells).get_indexer(pd.Index(names.astype(str)))
        return np.maximum(code, 0).astype(np.int64), np.asarray(code >= 0, dtype=np.bool_)

    def sums(self, cell: Ints, values: Floats) -> Floats:
        """Sums of the rows' values, shape (n, curves), over each cell; shape (cells, curves)."""
        from scipy.sparse import csr_matrix

        member = csr_matrix((np.ones(len(cell)), (cell, np.arange(len(cell)))), shape=(len(self.cells), len(cell)))
        return np.asarray(member @ values, dtype=np.float64)

    def totals(self, values: Floats) -> Floats:
        """Sums of shape (n,) over each cell."""
        return np.bincount(self.cell, values, minlength=len(self.cells)).astype(np.float64)

    def likelihood(self, prior: Prior) -> tuple[Floats, Floats, Floats]:
        """Of each cell and curve: log likelihood with the level's part left out, clicks (per cell), and exposure.

        A busy day tells less than its clicks, as days vary; it counts `1 / (1 + mean / dispersion)`.
        """
        typical = (prior.level_shape + self.totals(self.clicks)) / (
            prior.level_shape / prior.level + self.totals(self.exposure)
        )
        counts = 1.0 / (1.0 + typical[self.cell] * self.exposure / prior.dispersion)
        off = self.ratio != 1.0  # at the base every curve is 1
        cell, g = self.cell[off], shapes(self.ratio[off, None])[:, :, 0]
        likely = self.sums(cell, (counts * self.clicks)[off, None] * np.log(g))
        due = self.sums(cell, (counts * self.exposure)[off, None] * g)
        due += self.totals(np.where(off, 0.0, counts * self.exposure))[:, None]
        return likely, self.totals(counts * self.clicks), due


@dataclass(frozen=True)
class Prior:
    """What is expected of a cell before its own days.

    Attributes:
        weights: of each of `CURVES`; they sum to 1.
        level: mean clicks per exposure at the base bid.
        level_shape: Gamma shape of it between cells.
        dispersion: negative binomial dispersion of a day's clicks; the smaller, the more days vary.
        price: mean over cells of the logarithm of a click's cost over the base bid, at the base.
        price_slope: mean over cells of its slope in the logarithm of the bid; 1 in a first price.
        price_deviation: between cells, of the former.
        slope_deviation: between cells, of the latter.
        price_noise: variance of the logarithm of a single click's cost.
    """

    weights: Floats
    level: float
    level_shape: float
    dispersion: float
    price: float
    price_slope: float
    price_deviation: float
    slope_deviation: float
    price_noise: float

    @classmethod
    def fit(cls, evidence: Evidence) -> Prior:
        """Learn it from all cells; without any click, a prior of next to none."""
        start = cls(_START / _START.sum(), 1e-3, 1.0, 10.0, *_USUAL_PRICE)
        if not evidence.clicks.sum() > 0:
            return start
        k, e = evidence.totals(evidence.clicks), evidence.totals(evidence.exposure)
        level, strength = float(k.sum() / e.sum()), 1.0
        for _ in range(_ROUNDS):
            strength = fit_strength(k, e * level)
            trust = strength / (strength + e * level)
            level = float((k * trust).sum() / (e * trust).sum())
        dispersion = _dispersion(evidence, k, e)
        found = cls(start.weights, level, strength, dispersion, *_USUAL_PRICE)
        likely, seen, due = evidence.likelihood(found)
        rates = strength / level + due
        marginal = likely - (strength + seen)[:, None] * np.log(rates)
        marginal -= marginal.max(axis=1, keepdims=True)
        told = seen > 0
        density, weights = np.exp(marginal[told]), found.weights
        for _ in range(_EM_STEPS):
            posterior = density * weights
            posterior /= posterior.sum(axis=1, keepdims=True)
            weights = posterior.sum(axis=0) + _PSEUDO_CELLS * start.weights
            weights /= weights.sum()
        numbers = to_json_floats([level, strength, dispersion, *_prices(evidence)])
        return cls(np.asarray(to_json_floats(weights)), *numbers)

    def to_json(self) -> dict[str, Any]:
        """Everything that `from_json` needs."""
        return asdict(self) | {"weights": to_json_floats(self.weights)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Prior:
        """Read back `to_json`; KeyError, TypeError or ValueError when it is not of that form."""
        weights = np.asarray(value["weights"], dtype=np.float64)
        numbers = {name: float(number) for name, number in value.items() if name != "weights"}
        if weights.shape != (len(CURVES),) or not np.isfinite([*weights, *numbers.values()]).all():
            raise ValueError("weights")
        return cls(weights, **numbers)


def _dispersion(evidence: Evidence, k: Floats, e: Floats) -> float:
    """By moments of the days around their cell's own mean, 0.3 to 1,000."""
    days = np.maximum(evidence.totals(np.ones(len(evidence.clicks))), 1.0)
    mean = (k / np.where(e > 0, e, 1.0))[evidence.cell] * evidence.exposure
    left = (1 - 1 / days)[evidence.cell]
    beyond = float((((evidence.clicks - mean) ** 2) - mean * left).sum())
    return float(np.clip((mean**2 * left).sum() / max(beyond, 1e-9), 0.3, 1e3))


def log_prices(evidence: Evidence) -> Floats:
    """Logarithm of a click's mean cost over the base bid on each day with clicks, shape (n,)."""
    least = _FREE * evidence.ratio * evidence.clicks
    return np.asarray(np.log(np.maximum(evidence.cost, least) / evidence.clicks), dtype=np.float64)


def _prices(evidence: Evidence) -> list[float]:
    """Mean price and slope, their deviations between cells, and the noise of a click, all of logarithms."""
    part = evidence.clicked()
    y, x, k = log_prices(part), np.log(part.ratio), part.clicks
    count = part.totals(k)
    told = count > 0
    centre = np.where(told, count, 1.0)
    y_mean, x_mean = part.totals(k * y) / centre, part.totals(k * x) / centre
    dy, dx = y - y_mean[part.cell], x - x_mean[part.cell]
    usual = _USUAL_PRICE
    noise = float(np.clip((k * dy**2).sum() / max(len(y) - int(told.sum()), 1), 1e-4, 4.0))
    certain = noise / usual[3] ** 2
    slope = float(((k * dx * dy).sum() + certain * usual[1]) / ((k * dx**2).sum() + certain))
    level = (y_mean - slope * x_mean)[told]
    weight = 1.0 / (noise / count[told] + usual[2] ** 2)
    price = float((weight * level).sum() / weight.sum())
    between = float((weight * ((level - price) ** 2 - noise / count[told])).sum() / weight.sum())
    return [price, max(slope, 0.0), float(np.sqrt(max(between, 0.0025))), usual[3], noise]
