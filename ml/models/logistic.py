"""The logistic baseline: the same columns and labels as the trees, a straight line in log-odds.

A model that cannot beat this does not earn its complexity. Coefficients are JSON and applied with numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ml.core.errors import CorruptArtefact
from ml.models.encoding import Encoder
from ml.models.newton import fit_logit
from ml.models.numbers import Floats, sigmoid, to_json_floats

RIDGE = 1.0
"""Penalty on standardised coefficients (sklearn's default, C = 1)."""

MAX_RANKED = 20
"""Of a ranked category, this many most frequent values have a coefficient of their own."""

_TAILS = (0.005, 0.995)


@dataclass(frozen=True)
class Scale:
    """How a number is brought to mean 0 and standard deviation 1, after its tails are cut.

    `gaps` says whether it was ever missing in training; only then does being missing have a coefficient.
    """

    low: float
    high: float
    mean: float
    deviation: float
    gaps: bool


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
    def fit(
        cls,
        encoder: Encoder,
        frame: pd.DataFrame,
        labels: Floats,
        *,
        weights: Floats,
        offset: Floats | None = None,
        start: Logistic | None = None,
    ) -> Logistic:
        """Ridge-penalised maximum likelihood; labels within 0 and 1, `offset` in log-odds, `start` to begin at."""
        matrix = encoder.matrix(frame)
        scales, widths = {}, {}
        for n, column in enumerate(encoder.columns):
            if column.kind == "number":
                scales[column.name] = _scale(matrix[:, n])
            else:
                known = len(encoder.categories[column.name])
                widths[column.name] = known if column.kind == "category" else min(known, MAX_RANKED)
        unfitted = cls(encoder, scales, widths, np.empty(0))
        design = unfitted._design(matrix)
        penalty = np.full(design.shape[1], RIDGE)
        penalty[0] = 0.0
        scaled = weights / weights.mean()
        begin = None if start is None else start.coefficients
        found = fit_logit(design, labels, weights=scaled, offset=offset, penalty=penalty, start=begin)
        return cls(encoder, scales, widths, np.asarray(to_json_floats(found)))

    def probability(self, frame: pd.DataFrame) -> Floats:
        """Probability of the label, shape (rows,), without the offset that training had."""
        return sigmoid(self._design(self.encoder.matrix(frame)) @ self.coefficients)

    def to_json(self) -> dict[str, Any]:
        """Everything that `from_json` needs."""
        return {
            "features": self.encoder.to_json(),
            "scales": {
                name: {"tails": to_json_floats([s.low, s.high]), "mean": s.mean, "deviation": s.deviation, "gaps": s.gaps}
                for name, s in sorted(self.scales.items())
            },
            "widths": dict(sorted(self.widths.items())),
            "coefficients": to_json_floats(self.coefficients),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Logistic:
        """Read back `to_json`; CorruptArtefact when it is not of that form."""
        try:
            encoder = Encoder.from_json(value["features"])
            scales = {str(name): _scale_from_json(scale) for name, scale in value["scales"].items()}
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
        parts = [np.ones((len(matrix), 1))]
        for n, column in enumerate(self.encoder.columns):
            values = matrix[:, n]
            if column.kind == "number":
                scale = self.scales[column.name]
                missing = np.isnan(values)
                scaled = (np.clip(values, scale.low, scale.high) - scale.mean) / scale.deviation
                parts.append(np.where(missing, 0.0, scaled)[:, None])
                if scale.gaps:
                    parts.append(missing[:, None].astype(np.float64))
            else:
                parts.append((values[:, None] == np.arange(self.widths[column.name])).astype(np.float64))
        return np.hstack(parts)


def _scale(values: Floats) -> Scale:
    seen = values[~np.isnan(values)]
    if not len(seen):
        return Scale(0.0, 0.0, 0.0, 1.0, gaps=False)
    low, high = np.quantile(seen, _TAILS)
    inside = np.clip(seen, low, high)
    deviation = float(inside.std())
    low, high, mean, deviation = to_json_floats([low, high, inside.mean(), deviation if deviation > 0 else 1.0])
    return Scale(low, high, mean, deviation, gaps=len(seen) < len(values))


def _scale_from_json(value: Mapping[str, Any]) -> Scale:
    low, high = map(float, value["tails"])
    return Scale(low, high, float(value["mean"]), float(value["deviation"]), gaps=bool(value["gaps"]))
