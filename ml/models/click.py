"""The click model: how probable it is that an offer shown is clicked, by its place and its price among the rivals'."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Self

import numpy as np
import pandas as pd

from ml.models.base import LogisticModel, Prepared, Task, TreeModel, enough_of_each, enough_rows, in_order
from ml.models.boosted import Boosted, Examples
from ml.models.context import SEARCH_COLUMNS, SEARCH_INPUTS, search_context
from ml.models.encoding import Column, Columns, Encoder, Values, as_times, known_before
from ml.models.history import TRAFFIC_HISTORY
from ml.models.lightgbm_text import Recipe
from ml.models.logistic import Logistic
from ml.models.numbers import Floats

RECIPE = Recipe(
    rounds=60,
    learning_rate=0.1,
    num_leaves=8,
    min_rows_in_leaf=1_000,
    feature_fraction=0.7,
    max_bins=255,
    falling=("position", "price_gap", "dearer_by"),
)

MIN_OFFERS, MIN_CLICKS = 1_000, 30


class ClickTask(Task):
    """Probability that an offer shown is clicked."""

    task: ClassVar[str] = "click"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("position", "rank", "place among the offers shown, 1 is the top"),
        *SEARCH_COLUMNS,
        *TRAFFIC_HISTORY,
    )
    inputs: ClassVar[tuple[str, ...]] = ("position", *SEARCH_INPUTS, *(column.name for column in TRAFFIC_HISTORY))
    outputs: ClassVar[tuple[str, ...]] = ("p_click",)

    @classmethod
    def prepare(cls, rows: pd.DataFrame, *, as_of: datetime) -> Prepared:
        """Offers shown before `as_of` (`clicked`, `clicked_known_at`); a click follows at once or not at all."""
        rows = in_order(rows[rows["known_at"] < as_of], time="ts", key="opportunity_id")
        enough_rows(cls.task, rows, least=MIN_OFFERS)
        clicked = known_before(rows["clicked_known_at"], as_of)
        enough_of_each(cls.task, clicked.astype(float), least=MIN_CLICKS)
        frame = cls.context(rows)
        encoder = Encoder.fit(cls.columns, frame)
        examples = Examples(encoder.matrix(frame), clicked.astype(float), np.ones(len(rows)))
        days = ((pd.Timestamp(as_of) - as_times(rows["ts"])) / np.timedelta64(1, "D")).to_numpy()
        return Prepared(encoder, examples, certain=np.ones(len(rows), dtype=np.bool_), days=days)

    @classmethod
    def derive(cls, columns: Columns) -> dict[str, Values]:
        """The columns of the search."""
        return search_context(columns)

    @classmethod
    def answer(cls, columns: Columns, p: Floats) -> dict[str, Floats]:  # noqa: ARG003  (the probability is the answer)
        """`p_click`."""
        return {"p_click": p}


class ClickModel(ClickTask, TreeModel):
    """Trees over place, price, search and the history of the hotel."""

    name: ClassVar[str] = "click"

    @classmethod
    def fit_prepared(cls, prepared: Prepared, *, seed: int) -> Self:
        """Fit."""
        return cls(Boosted.fit(prepared.encoder, prepared.examples, recipe=RECIPE, seed=seed))


class ClickBaseline(ClickTask, LogisticModel):
    """The same task, columns and labels with a logistic regression."""

    name: ClassVar[str] = "click_baseline"

    @classmethod
    def fit_prepared(cls, prepared: Prepared, *, seed: int) -> Self:  # noqa: ARG003  (nothing random here)
        """Fit."""
        return cls(Logistic.fit(prepared.encoder, prepared.examples))
