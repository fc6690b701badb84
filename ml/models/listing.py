"""The listing model: how probable it is that a sponsored listing shown is clicked, from numbers kept by its id.

In a sponsored-listings auction the platform itself ranks: a listing is known by its id, its features lie in an online view, and
what a click is worth its advertiser says. Trees over those numbers, calibrated on the latest fifth of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd

from ml.core.digests import canonical_json
from ml.core.errors import CorruptArtefact
from ml.models.artefacts import read_object
from ml.models.base import enough_of_each, enough_rows, in_order
from ml.models.boosted import Boosted, Examples
from ml.models.calibration import choose
from ml.models.encoding import Column, Columns, Encoder, as_times, columns_of, known_before
from ml.models.lightgbm_text import Recipe
from ml.models.numbers import Floats
from ml.models.reference import reference

if TYPE_CHECKING:
    from ml.models.lightgbm_text import TextModel

RECIPE = Recipe(rounds=300, learning_rate=0.05, num_leaves=63, min_rows_in_leaf=100, feature_fraction=0.7, max_bins=255)

MIN_ROWS, MIN_CLICKS = 1_000, 30
HELD_OUT = 0.2
"""The share of rows, the latest, that choose the calibration."""

NOT_FEATURES = frozenset({"id", "ts", "known_at", "clicked", "clicked_known_at", "value_micros"})
"""Columns of the rows that are no features; every other one is."""

DEFAULT_VIEW = "listings"


class ListingModel:
    """Trees over a listing's numbers.

    Attributes:
        inputs: its columns, in the order of the design; the online view has them under these names.
        view: name of the online view.
    """

    name: ClassVar[str] = "listing"
    outputs: ClassVar[tuple[str, ...]] = ("p_click",)

    def __init__(self, fitted: Boosted, view: str = DEFAULT_VIEW) -> None:
        self.fitted, self.view = fitted, view
        self.inputs = fitted.encoder.names

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns of its design matrix, in order."""
        return self.inputs

    @classmethod
    def fit(
        cls, rows: pd.DataFrame, *, as_of: datetime, seed: int, view: str = DEFAULT_VIEW, recipe: Recipe = RECIPE
    ) -> Self:
        """Fit on listings shown before `as_of`.

        Args:
            rows: `id`, `ts`, `known_at`, `clicked_known_at` (missing where it was not clicked) and numbers, its features.
            as_of: the instant of knowledge.
            seed: of every random choice; the same rows and seed give the same artefacts, byte for byte.
            view: name of the online view that has the features.
            recipe: how to grow the trees.

        Raises:
            NoData: the rows hold too little to fit on.
        """
        rows = in_order(rows[known_before(rows["known_at"], as_of)], time="ts", key="id")
        enough_rows(cls.name, rows, least=MIN_ROWS)
        clicked = known_before(rows["clicked_known_at"], as_of).astype(float)
        enough_of_each(cls.name, clicked, least=MIN_CLICKS)
        names = sorted(name for name in rows.columns if name not in NOT_FEATURES)
        encoder = Encoder(tuple(Column(name, "number", "a feature of the listing") for name in names), {})
        examples = Examples(encoder.matrix(rows), clicked, np.ones(len(rows)))
        late = np.arange(len(rows)) >= (1 - HELD_OUT) * len(rows)
        early = Boosted.fit(encoder, examples.take(~late), recipe=recipe, seed=seed)
        matrix, day = examples.matrix[late], as_times(rows["ts"][late]).floor("D").asi8
        held = np.arange(len(matrix)) >= len(matrix) / 2
        calibration = choose(early.raw(matrix), clicked[late], examples.weights[late], blocks=day, held_out=held)
        return cls(Boosted.fit(encoder, examples, recipe=recipe, seed=seed).with_calibration(calibration), view)

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        """`p_click` for each row, under the index of `rows`; on one thread."""
        columns = columns_of(rows, dict.fromkeys(self.inputs, "number"))
        return pd.DataFrame(self.predict_columns(columns), index=rows.index)

    def predict_columns(self, columns: Columns) -> dict[str, Floats]:
        """`p_click`, shape (n,), of columns without a frame."""
        return {"p_click": self.of_matrix(self.fitted.encoder.encode(columns))}

    def of_matrix(self, matrix: Floats) -> Floats:
        """`p_click`, shape (n,), of finite numbers and NaN in the order of `inputs`, shape (n, k)."""
        return self.fitted.of_matrix(matrix)

    def forests(self) -> tuple[TextModel, ...]:
        """Its trees."""
        return self.fitted.forests

    def artefacts(self) -> dict[str, bytes]:
        """`listing/model.txt`, `listing/calibration.json`, `listing/features.json` and `listing/view.json`."""
        return {**self.fitted.artefacts(self.name), f"{self.name}/view.json": canonical_json({"view": self.view})}

    @classmethod
    def load(cls, artefacts: Mapping[str, bytes]) -> Self:
        """Read back `artefacts`; CorruptArtefact when a file is missing or not of its form."""
        view = read_object(artefacts, f"{cls.name}/view.json").get("view")
        fitted = Boosted.load(cls.name, artefacts)
        if not (isinstance(view, str) and view) or any(column.kind != "number" for column in fitted.encoder.columns):
            raise CorruptArtefact("a listing model is not of the expected form", next="train the version again")
        return cls(fitted, view)

    def reference(self, rows: pd.DataFrame) -> dict[str, Any]:
        """Distributions of its features and predictions over `rows`."""
        said = {"p_click": self.predict(rows)["p_click"].to_numpy(dtype=float)}
        return reference(self.fitted.encoder, rows, said, importance=self.fitted.importance())
