"""The logistic baseline: the same columns and labels as the trees, a straight line in log-odds.

A model that cannot beat this does not earn its complexity. Coefficients are JSON and applied with numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ml.core.errors import CorruptArtefact
from ml.models.boosted import Examples
from ml.models.encoding import Encoder
from ml.models.newton import fit_logit
from ml.models.numbers import Floats, Ints, sigmoid, to_json_floats

RIDGE = 1.0
"""Penalty on standardised coefficients (sklearn's default, C = 1)."""

MAX_RANKED = 20
"""Of a ranked category, this many most frequent values have a coefficient of their own."""

_TAILS = (0.005, 0.995)
_LONG_TAIL = 4.0


@dataclass(frozen=True)
class Scale:
    """How a number is brought to mean 0 and standard deviation 1, after its tails are cut.

    `logged` says whether `ln(1 + x)` is taken first: of counts and money, whose upper tail is long. `gaps` says
    whether it was ever missing in training; only then does being missing have a coefficient.
    """

    low: float
    high: float
    mean: float
    deviation: float
    logged: bool
    gaps: bool

    @classmethod
    def fit(cls, values: Floats) -> Scale:
        """Learn it from a column, shape (n,), NaN where missing."""
        seen = values[~np.isnan(values)]
        if not len(seen):
            return cls(0.0, 0.0, 0.0, 1.0, logged=False, gaps=False)
        low, high = np.quantile(seen, _TAILS)
        logged = bool(low >= 0 and high > _LONG_TAIL * np.median(seen))
        inside = np.clip(seen, low, high)
        inside = np.log1p(inside) if logged else inside
        deviation = float(inside.std())
        low, high, mean, deviation = to_json_floats([low, high, inside.mean(), deviation if deviation > 0 else 1.0])
        return cls(low, high, mean, deviation, logged=logged, gaps=len(seen) < len(values))

    def apply(self, values: Floats) -> Floats:
        """Scaled values, shape (n,); 0 where missing."""
        inside = np.clip(values, self.low, self.high)
        inside = np.log1p(inside) if self.logged else inside
        return np.where(np.isnan(values), 0.0, (inside - self.mean) / self.deviation)


@dataclass(frozen=True)
class Logistic:
    """Fitted coefficients.

    Attributes:
        encoder: columns and category codes.
        scales: per number column.
        widths: per category column, how many codes have a coefficient.
        coefficients: shape (1 + design columns,), the intercept first.
    """

    encoder: Encoder
    scales: Mapping[str, Scale]
    widths: Mapping[str, int]
    coefficients: Floats

    @classmethod
    def fit(cls, encoder: Encoder, examples: Examples) -> Logistic:
        """Ridge-penalised maximum likelihood on examples encoded by `encoder`."""
        return cls.fit_twice(encoder, examples, relabel=None)

    @classmethod
    def fit_twice(cls, encoder: Encoder, examples: Examples, *, relabel: Callable[[Floats], Floats] | None) -> Logistic:
        """Fit, then fit again on the labels that `relabel` makes of the first fit's probabilities, shape (n,)."""
        unfitted = cls._scaled(encoder, examples.matrix)
        design = unfitted._design(examples.matrix)
        penalty = np.full(design.shape[1], RIDGE)
        penalty[0] = 0.0
        weights = examples.weights / examples.weights.mean()

        def fit(labels: Floats, start: Floats | None) -> Floats:
            return fit_logit(design, labels, weights=weights, offset=examples.offset, penalty=penalty, start=start)

        found = fit(examples.labels, None)
        if relabel is not None:
            found = fit(relabel(sigmoid(design @ found)), found)
        return replace(unfitted, coefficients=np.asarray(to_json_floats(found)))

    @classmethod
    def _scaled(cls, encoder: Encoder, matrix: Floats) -> Logistic:
        """Scales and widths of the columns; no coefficients yet."""
        scales, widths = {}, {}
        for n, column in enumerate(encoder.columns):
            if column.kind == "number":
                scales[column.name] = Scale.fit(matrix[:, n])
            else:
                known = len(encoder.categories[column.name])
                widths[column.name] = known if column.kind == "category" else min(known, MAX_RANKED)
        return cls(encoder, scales, widths, np.empty(0))

    def raw(self, matrix: Floats) -> Floats:
        """Probability of the label, shape (n,), of encoded rows, without the offset that training had.

        A row's is the same to the last bit whichever rows are with it, which a product of matrices does not promise.
        """
        return sigmoid(np.vecdot(self._design(matrix), self.coefficients))

    def raw_together(self, matrix: Floats) -> Floats:
        """As `raw`, by one product of matrices: for the many rows of a fit, where the last bit of one is nobody's concern."""
        return sigmoid(self._design(matrix) @ self.coefficients)

    def of_matrix(self, matrix: Floats) -> Floats:
        """As `raw`; nothing is calibrated."""
        return self.raw(matrix)

    def probability(self, frame: pd.DataFrame) -> Floats:
        """Probability of the label, shape (rows,), of a frame with the encoder's columns."""
        return self.raw(self.encoder.matrix(frame))

    def to_json(self) -> dict[str, Any]:
        """Everything that `from_json` needs."""
        return {
            "features": self.encoder.to_json(),
            "scales": {name: asdict(scale) for name, scale in sorted(self.scales.items())},
            "widths": dict(sorted(self.widths.items())),
            "coefficients": to_json_floats(self.coefficients),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Logistic:
        """Read back `to_json`; CorruptArtefact when it is not of that form."""
        try:
            encoder = Encoder.from_json(value["features"])
            scales = {str(name): Scale(**scale) for name, scale in value["scales"].items()}
            widths = {str(name): int(width) for name, width in value["widths"].items()}
            model = cls(encoder, scales, widths, np.asarray(value["coefficients"], dtype=np.float64))
            columns = 1 + sum(1 + s.gaps for s in scales.values()) + sum(widths.values())
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptArtefact("a baseline is not of the expected form", next="train the version again") from error
        if model.coefficients.shape != (columns,) or not np.isfinite(model.coefficients).all():
            raise CorruptArtefact("a baseline's coefficients do not fit its columns", next="train the version again")
        return model

    def _design(self, matrix: Floats) -> Floats:
        """Ones, then per number its scaled value (and 1 where missing), per category a column for each code."""
        plan = self._plan
        out = np.zeros((len(matrix), plan.width))
        out[:, 0] = 1.0
        values = matrix[:, plan.numbers]
        missing = np.isnan(values)
        inside = np.minimum(np.maximum(values, plan.low), plan.high)
        inside[:, plan.logged] = np.log1p(inside[:, plan.logged])
        out[:, plan.number_places] = np.where(missing, 0.0, (inside - plan.mean) / plan.deviation)
        out[:, plan.gap_places] = missing[:, plan.gaps]
        codes = matrix[:, plan.categories]
        row, category = np.nonzero(codes < plan.widths)
        out[row, plan.starts[category] + codes[row, category].astype(np.int64)] = 1.0
        return out

    @cached_property
    def _plan(self) -> _Plan:
        return _Plan.of(self.encoder, self.scales, self.widths)


@dataclass(frozen=True)
class _Plan:
    """How a matrix becomes a design.

    Attributes:
        width: columns of the design.
        numbers, categories: columns of the matrix, by kind.
        low, high, mean, deviation: of each number, its `Scale`.
        logged, gaps: of the numbers, which are scaled by their logarithm, and which have a coefficient for being missing.
        number_places, gap_places: where numbers, and whether they are missing, stand in the design.
        widths, starts: of each category, how many codes have a coefficient, and where the first stands.
    """

    width: int
    numbers: Ints
    categories: Ints
    low: Floats
    high: Floats
    mean: Floats
    deviation: Floats
    logged: Ints
    gaps: Ints
    number_places: Ints
    gap_places: Ints
    widths: Ints
    starts: Ints

    @classmethod
    def of(cls, encoder: Encoder, scales: Mapping[str, Scale], widths: Mapping[str, int]) -> _Plan:
        at, places, gap_places, starts = 1, [], [], []
        for column in encoder.columns:
            if column.kind != "number":
                starts.append(at)
                at += widths[column.name]
                continue
            places.append(at)
            gap_places += [at + 1] if scales[column.name].gaps else []
            at += 1 + scales[column.name].gaps
        scaled = [scales[column.name] for column in encoder.columns if column.kind == "number"]

        def ints(values: Iterable[int]) -> Ints:
            return np.fromiter(values, np.int64)

        return cls(
            width=at,
            numbers=ints(n for n, column in enumerate(encoder.columns) if column.kind == "number"),
            categories=ints(n for n, column in enumerate(encoder.columns) if column.kind != "number"),
            low=np.array([scale.low for scale in scaled], dtype=np.float64),
            high=np.array([scale.high for scale in scaled], dtype=np.float64),
            mean=np.array([scale.mean for scale in scaled], dtype=np.float64),
            deviation=np.array([scale.deviation for scale in scaled], dtype=np.float64),
            logged=ints(n for n, scale in enumerate(scaled) if scale.logged),
            gaps=ints(n for n, scale in enumerate(scaled) if scale.gaps),
            number_places=ints(places),
            gap_places=ints(gap_places),
            widths=ints(widths[column.name] for column in encoder.columns if column.kind != "number"),
            starts=ints(starts),
        )
