"""Encoder, trees and calibration as one: the part that the value, conversion and click models share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.core.digests import canonical_json
from ml.core.errors import CorruptArtefact
from ml.models import calibration, lightgbm_text
from ml.models.artefacts import read_object, read_text
from ml.models.calibration import Calibration, Identity
from ml.models.encoding import Encoder
from ml.models.lightgbm_text import Objective, Recipe, TextModel
from ml.models.numbers import Bools, Floats, logit, sigmoid, to_json_floats


@dataclass(frozen=True)
class Examples:
    """What a model learns from.

    Attributes:
        matrix: the model's columns encoded, shape (n, k).
        labels: shape (n,), within 0 and 1; between them where the outcome is not certain yet.
        weights: shape (n,), above 0.
        offset: shape (n,), log-odds that hold already, such as how much of a label can have been seen; or none.
    """

    matrix: Floats
    labels: Floats
    weights: Floats
    offset: Floats | None = None

    def take(self, rows: Bools) -> Examples:
        """The examples for which the mask, shape (n,), is true."""
        offset = None if self.offset is None else self.offset[rows]
        return Examples(self.matrix[rows], self.labels[rows], self.weights[rows], offset)

    def relabelled(self, labels: Floats) -> Examples:
        """The same rows with other labels, shape (n,)."""
        return Examples(self.matrix, labels, self.weights, self.offset)


@dataclass(frozen=True)
class Boosted:
    """Fitted trees: `probability = calibration(sigmoid(intercept + trees(x)))`."""

    encoder: Encoder
    trees: TextModel
    intercept: float
    calibration: Calibration

    @classmethod
    def fit(
        cls, encoder: Encoder, examples: Examples, *, recipe: Recipe, seed: int, objective: Objective | None = None
    ) -> Boosted:
        """Grow the trees from the examples, by cross-entropy or another objective; not calibrated yet.

        The intercept is fitted first and the trees only add to it, so that a prediction leaves out the
        offsets that training had.
        """
        intercept = _intercept(examples)
        offset = np.full(len(examples.labels), intercept)
        text = lightgbm_text.train(
            examples.matrix,
            examples.labels,
            recipe=recipe,
            seed=seed,
            names=encoder.names,
            unordered=encoder.unordered,
            weights=examples.weights,
            offset=offset if examples.offset is None else offset + examples.offset,
            objective=objective,
        )
        return Boosted(encoder, TextModel(text), intercept, Identity())

    def with_calibration(self, fitted: Calibration) -> Boosted:
        """The same trees under another calibration."""
        return Boosted(self.encoder, self.trees, self.intercept, fitted)

    def raw(self, matrix: Floats) -> Floats:
        """Probabilities before calibration, shape (n,), of encoded rows, shape (n, k)."""
        return sigmoid(self.intercept + self.trees.margin(matrix))

    def probability(self, frame: pd.DataFrame) -> Floats:
        """Calibrated probabilities, shape (rows,), of a frame with the encoder's columns."""
        return self.of_matrix(self.encoder.matrix(frame))

    def of_matrix(self, matrix: Floats) -> Floats:
        """Calibrated probabilities, shape (n,), of encoded rows, shape (n, k)."""
        return self.calibration.apply(self.raw(matrix))

    @property
    def forests(self) -> tuple[TextModel, ...]:
        """The trees, all that there are."""
        return (self.trees,)

    def artefacts(self, name: str) -> dict[str, bytes]:
        """The three files of a model, as text."""
        return {
            f"{name}/model.txt": self.trees.text.encode(),
            f"{name}/calibration.json": canonical_json(
                {"intercept": self.intercept, "calibration": self.calibration.to_json()}
            ),
            f"{name}/features.json": canonical_json(self.encoder.to_json()),
        }

    @classmethod
    def load(cls, name: str, artefacts: Mapping[str, bytes]) -> Boosted:
        """Read back `artefacts`; the trees are parsed on first use only."""
        settings = read_object(artefacts, f"{name}/calibration.json")
        try:
            intercept, fitted = float(settings["intercept"]), calibration.from_json(settings["calibration"])
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptArtefact(
                f"{name}/calibration.json is not of the expected form", next="train the version again"
            ) from error
        encoder = Encoder.from_json(read_object(artefacts, f"{name}/features.json"))
        return cls(encoder, TextModel(read_text(artefacts, f"{name}/model.txt")), intercept, fitted)

    def importance(self) -> dict[str, float]:
        """Each feature's share of the gain, 0 to 1, rounded for JSON."""
        return {name: round(share, 6) for name, share in self.trees.gains().items()}


def _intercept(examples: Examples) -> float:
    """Log-odds that make the mean prediction the mean label, given the offsets."""
    if examples.offset is None:
        mean = np.array([np.average(examples.labels, weights=examples.weights)])
        return float(to_json_floats(logit(mean))[0])
    from ml.models.newton import fit_logit

    ones = np.ones((len(examples.labels), 1))
    found = fit_logit(ones, examples.labels, weights=examples.weights, offset=examples.offset, penalty=1e-6)
    return float(to_json_floats(found)[0])
