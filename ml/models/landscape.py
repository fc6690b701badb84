"""The bid landscape: clicks and cost of a cell as non-decreasing functions of its bid.

Bids move with expected value, so that clicks regressed on bids confound the two. Curves are therefore learned from
bids that were drawn (`ml.models.jitter`), from days at the cell's unchanged bid, and from a partner's bid simulation
points. With r the bid over the cell's base bid and e the traffic of a day,

    clicks ~ negative binomial(mean N e g(r)),   g(r) = S(r) / S(1),   S(r) = r**a / (r**a + c**a)

where S is the Hill form of a win rate (logistic in the log bid). N is Gamma distributed, and (c, a) lies on a grid of
`CURVES` whose prior weights are learned from all cells together (nonparametric empirical Bayes: Kiefer and Wolfowitz
1956, by EM). A cell of few clicks thus has the curves that cells usually have. What a click costs is `exp(u) r**v` with
(u, v) normal around what is usual, v at least 0, from the days with clicks by Bayesian regression: under a first price v
is 1, under a second price less as the bid leaves the rivals behind. Mixtures of non-decreasing curves are non-decreasing,
and so are products of them and quantiles at each bid: monotone by construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.core.digests import canonical_json
from ml.core.errors import CorruptArtefact, UsageError
from ml.models.artefacts import read_object
from ml.models.landscape_prior import Evidence, Prior, log_prices, shapes
from ml.models.numbers import Floats, to_json_floats

FILE = "landscape/curves.json"

POINT_ERROR, LEVEL_ERROR = 0.15, 0.25
"""Deviations of the logarithm that a partner's simulation is taken to have: of a point from its own curve, and of the
whole curve's level from the truth."""

DRAWS = 256
_SMALLEST_WEIGHT = 1e-4
_AT_ONCE = 200
"""Cells worked on together, so that memory does not grow with them."""


@dataclass(frozen=True)
class Curves:
    """A figure per cell and bid level, each of shape (cells, levels) and non-decreasing along the levels.

    Attributes:
        clicks: expected clicks of a day of the exposure asked for.
        cost_micros: expected cost of it, never above bid times clicks.
    """

    clicks: Floats
    cost_micros: Floats


@dataclass(frozen=True)
class Landscape:
    """The posterior of every cell.

    Attributes:
        cells: names, in the order of all results.
        base_micros: the bid that each cell's curve is relative to, shape (cells,).
        prior: what cells have in common.
        weights: posterior weight of each curve of the grid, shape (cells, curves); rows sum to 1.
        shape: Gamma shape of the level N, shape (cells,).
        rates: Gamma rate of N under each curve, shape (cells, curves).
        price: mean of (u, v), shape (cells, 2).
        price_root: lower Cholesky factor of their covariance as (uu, uv, vv), shape (cells, 3).
    """

    cells: tuple[str, ...]
    base_micros: Floats
    prior: Prior
    weights: Floats
    shape: Floats
    rates: Floats
    price: Floats
    price_root: Floats

    @classmethod
    def fit(
        cls, rows: pd.DataFrame, base: pd.Series[Any], *, prior: Prior | None = None, points: pd.DataFrame | None = None
    ) -> Landscape:
        """Learn the curves of every cell of `base`.

        Args:
            rows: days of cells: `cell`, `bid_micros`, `drawn` (the bid was drawn at random around the base),
                `exposure` (traffic of the day, 1 on average), `clicks`, `cost_micros`. Days whose bid was neither drawn
                nor the base's, and rows of other cells, are left out: they moved for a reason.
            base: base bid in micros by cell, above 0.
            prior: from `Prior.fit`; none learns it from these rows.
            points: a partner's simulation, `cell`, `bid_micros`, `clicks` and `cost_micros` of a day of exposure 1.

        Raises:
            UsageError: a column is missing, or a number is negative or not finite.
        """
        evidence = Evidence.of(rows, base)
        known = Prior.fit(evidence) if prior is None else prior
        likely, k, due = evidence.likelihood(known)
        if points is not None:
            told = _points(points, evidence)
            likely, k, due = likely + told.likely, k + told.clicks, due + told.due
        shape, rates = known.level_shape + k, known.level_shape / known.level + due
        log_weight = np.log(known.weights) + likely - shape[:, None] * np.log(rates)
        log_weight += known.level_shape * np.log(known.level_shape / known.level)
        weights = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        weights = np.where(weights < _SMALLEST_WEIGHT, 0.0, weights)
        weights /= weights.sum(axis=1, keepdims=True)
        return cls(evidence.cells, evidence.base, known, weights, shape, rates, *_price(evidence, known, points))

    def curves(self, levels_micros: npt.ArrayLike, *, exposure: npt.ArrayLike = 1.0) -> Curves:
        """Expected clicks and cost.

        Args:
            levels_micros: bid levels, non-decreasing, shape (levels,), or (cells, levels) for levels of each cell's own.
            exposure: traffic to expect them for, one number or shape (cells,).
        """
        levels, ratio = self._ratios(levels_micros)
        mass = self.weights * self.shape[:, None] / self.rates
        traffic = np.broadcast_to(np.asarray(exposure, dtype=np.float64), (len(self.cells),))[:, None]
        clicks = np.empty_like(ratio)
        for start in range(0, len(self.cells), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            clicks[some] = np.einsum("cm,cml->cl", mass[some], shapes(ratio[some]))
        clicks *= traffic
        u, v = self.price[:, :1] + 0.5 * self.price_root[:, :1] ** 2, np.maximum(self.price[:, 1:], 0.0)
        return _capped(clicks, clicks * self.base_micros[:, None] * np.exp(u) * ratio**v, levels)

    def interval(
        self, levels_micros: npt.ArrayLike, *, level: float = 0.80, exposure: npt.ArrayLike = 1.0
    ) -> tuple[Curves, Curves]:
        """Lower and upper bounds of the expected clicks and cost at each bid, between which they lie with probability
        `level`; arguments as for `curves`. From `DRAWS` points of a Halton sequence: no randomness."""
        if not 0 < level < 1:
            raise UsageError(f"an interval of level {level} does not exist", next="choose a level between 0 and 1")
        from scipy.stats import qmc

        levels, ratio = self._ratios(levels_micros)
        places = qmc.Halton(4, scramble=False).random(DRAWS + 1)[1:].T
        traffic = np.broadcast_to(np.asarray(exposure, dtype=np.float64), (len(self.cells),))
        found = np.empty((2, 2, *ratio.shape))
        for n in range(len(self.cells)):
            for kind, drawn in enumerate(self._draws(n, ratio[n], places)):
                found[:, kind, n] = traffic[n] * np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
        low, high = found
        return _capped(low[0], low[1], levels), _capped(high[0], high[1], levels)

    def sample(
        self, levels_micros: npt.ArrayLike, *, rng: np.random.Generator, exposure: npt.ArrayLike = 1.0
    ) -> Curves:
        """One curve of each cell drawn from its posterior, for Thompson sampling; arguments as for `curves`."""
        levels, ratio = self._ratios(levels_micros)
        traffic = np.broadcast_to(np.asarray(exposure, dtype=np.float64), (len(self.cells),))[:, None]
        drawn = [self._draws(n, ratio[n], rng.random((4, 1))) for n in range(len(self.cells))]
        clicks, cost = (np.vstack([pair[kind] for pair in drawn]) * traffic for kind in (0, 1))
        return _capped(clicks, cost, levels)

    def artefacts(self) -> dict[str, bytes]:
        """One JSON file: the prior, and of each cell its curves of weight above a ten-thousandth."""
        cells = []
        for n, name in enumerate(self.cells):
            held = np.flatnonzero(self.weights[n])
            own = [self.base_micros[n], self.shape[n], *self.price[n], *self.price_root[n]]
            cells.append(
                {
                    "cell": name,
                    "level": to_json_floats(own),
                    "curves": held.tolist(),
                    "weights": to_json_floats(self.weights[n, held]),
                    "rates": to_json_floats(self.rates[n, held]),
                }
            )
        return {FILE: canonical_json({"prior": self.prior.to_json(), "cells": cells})}

    @classmethod
    def load(cls, artefacts: Mapping[str, bytes]) -> Landscape:
        """Read back `artefacts`; CorruptArtefact when the file is missing or not of its form."""
        value = read_object(artefacts, FILE)
        try:
            prior = Prior.from_json(value["prior"])
            count = len(value["cells"])
            weights, rates = np.zeros((count, len(prior.weights))), np.ones((count, len(prior.weights)))
            for n, cell in enumerate(value["cells"]):
                weights[n, cell["curves"]], rates[n, cell["curves"]] = cell["weights"], cell["rates"]
            own = np.array([cell["level"] for cell in value["cells"]], dtype=np.float64).reshape(count, 7)
            names = tuple(str(cell["cell"]) for cell in value["cells"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise _corrupt() from error
        base, shape = own[:, 0], own[:, 1]
        sound = np.isfinite(own).all() and np.isfinite(weights).all() and (rates > 0).all() and (own[:, :2] > 0).all()
        if not (sound and (weights >= 0).all() and np.allclose(weights.sum(axis=1), 1.0, atol=1e-6)):
            raise _corrupt()
        return cls(names, base, prior, weights, shape, rates, own[:, 2:4], own[:, 4:])

    def _ratios(self, levels_micros: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Levels and their ratio to the base, both of shape (cells, levels)."""
        levels = np.asarray(levels_micros, dtype=np.float64)
        if levels.ndim not in (1, 2) or not np.isfinite(levels).all() or (levels < 0).any():
            raise UsageError("bid levels are negative or not finite", next="give bids in micros, one row for all cells")
        wide = np.broadcast_to(levels, (len(self.cells), levels.shape[-1]))
        return wide, wide / self.base_micros[:, None]

    def _draws(self, cell: int, ratio: Floats, places: Floats) -> tuple[Floats, Floats]:
        """Clicks and cost of equally likely curves of a cell, each of shape (draws, levels)."""
        from scipy.special import gammaincinv, ndtri

        curve_at, level_at, *price_at = places
        total = np.cumsum(self.weights[cell])
        curve = np.minimum(np.searchsorted(total, curve_at * total[-1], side="right"), len(total) - 1)
        level = (gammaincinv(self.shape[cell], level_at) / self.rates[cell, curve])[:, None]
        first, second = (ndtri(part)[:, None] for part in price_at)
        uu, uv, vv = self.price_root[cell]
        u, v = self.price[cell, 0] + uu * first, self.price[cell, 1] + uv * first + vv * second
        clicks = level * shapes(ratio[None])[0][curve]
        return clicks, clicks * self.base_micros[cell] * np.exp(u) * ratio ** np.maximum(v, 0.0)


@dataclass(frozen=True)
class _Told:
    """What simulation points say: log likelihood and exposure per cell and curve, and what the level counts for."""

    likely: Floats
    clicks: Floats
    due: Floats


def _points(points: pd.DataFrame, evidence: Evidence) -> _Told:
    """The points of a cell as pseudo-clicks: their shape by the multinomial likelihood, their level as one report."""
    told = _usable(points, evidence).clicked()
    cell, g = told.cell, shapes(told.ratio[:, None])[:, :, 0]
    each = 1.0 / POINT_ERROR**2
    seen = np.bincount(cell, minlength=len(evidence.cells))[:, None] * each
    due = evidence.sums(cell, (each / told.clicks)[:, None] * g)
    there = seen[:, 0] > 0
    level = np.where(there[:, None], seen / np.where(due > 0, due, 1.0), 1.0)
    count = np.where(there, 1.0 / LEVEL_ERROR**2, 0.0)
    # The points' own level is profiled out of their shape; then it enters once, with the error of a whole curve.
    shape = evidence.sums(cell, each * np.log(g)) + np.where(there[:, None], seen * np.log(level), 0.0)
    return _Told(shape - count[:, None] * np.log(level), count, count[:, None] / level)


def _price(evidence: Evidence, prior: Prior, points: pd.DataFrame | None) -> tuple[Floats, Floats]:
    """Posterior mean of (u, v) and the Cholesky factor of its covariance, per cell: normal linear regression."""
    days = evidence.clicked()
    cell, x, y, weight = days.cell, np.log(days.ratio), log_prices(days), days.clicks / prior.price_noise
    if points is not None:
        told = _usable(points, evidence).clicked()
        known = np.full(len(told.cell), 1.0 / POINT_ERROR**2)
        cell, x, y, weight = (
            np.concatenate(pair)
            for pair in ((cell, told.cell), (x, np.log(told.ratio)), (y, log_prices(told)), (weight, known))
        )

    def total(values: Floats) -> Floats:
        return np.bincount(cell, weight * values, minlength=len(evidence.cells)).astype(np.float64)

    p, q = 1.0 / prior.price_deviation**2, 1.0 / prior.slope_deviation**2
    a, b, c = total(np.ones(len(x))) + p, total(x), total(x * x) + q
    right = total(y) + p * prior.price, total(x * y) + q * prior.price_slope
    det = a * c - b * b
    mean = np.column_stack([(c * right[0] - b * right[1]) / det, (a * right[1] - b * right[0]) / det])
    uu = np.sqrt(c / det)
    uv = -b / det / uu
    return mean, np.column_stack([uu, uv, np.sqrt(np.maximum(a / det - uv**2, 0.0))])


def _usable(points: pd.DataFrame, evidence: Evidence) -> Evidence:
    """Simulation points as days whose bid was drawn."""
    return Evidence.of(points.assign(drawn=True, exposure=1.0), pd.Series(evidence.base, index=list(evidence.cells)))


def _capped(clicks: Floats, cost: Floats, levels: Floats) -> Curves:
    """No click costs more than its bid."""
    return Curves(clicks, np.minimum(cost, levels * clicks))


def _corrupt() -> CorruptArtefact:
    return CorruptArtefact(f"{FILE} is not of the expected form", next="train the version again")
