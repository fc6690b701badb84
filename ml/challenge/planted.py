"""A planted candidate: what is wrong with it (or right), and the doors through which that comes in.

The doors are those that a mistake would use: what lies in the lake, the rows that are read for training, how they are
fitted, which model serves, and the settings of whoever trains. Nothing is told to the gates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, ClassVar, final

from ml.models import candidate
from ml.models.candidate import Recipe

if TYPE_CHECKING:
    import pandas as pd

    from ml.evaluation.holdout import Holdout
    from ml.features.training_set import TrainingSet
    from ml.models.training import Trained
    from ml.platform import Platform

Rows = Mapping[str, "pd.DataFrame"]


class Planted:
    """A candidate that is trained as in production, but for what it overrides. The docstring tells the mistake.

    Attributes:
        good: whether promotion must let it pass.
        ground: the market that it is tried on, a key of `ml.challenge.ground.GROUNDS`.
        settings: settings of the installation that trains it, where they are not those of the market.
    """

    good: ClassVar[bool] = False
    ground: ClassVar[str] = "shared"
    settings: ClassVar[Mapping[str, Any]] = {}

    def prepare(self, platform: Platform, day: date) -> None:
        """What happened to the stores before the day's training."""

    def rows(self, name: str, rows: pd.DataFrame, as_of: datetime) -> pd.DataFrame:  # noqa: ARG002
        """The rows that the model of that name learns from, of those that it should learn from."""
        return rows

    def read(self, platform: Platform, as_of: datetime, exclude_days: Sequence[date]) -> dict[str, TrainingSet]:
        """The rows that each model learns from."""
        sets = candidate.read_sets(platform, as_of, exclude_days)
        return {name: replace(made, rows=self.rows(name, made.rows, as_of)) for name, made in sets.items()}

    def fit(self, rows: Rows, as_of: datetime, seed: int) -> Trained:
        """Models of these rows."""
        return candidate.fit_models(rows, as_of, seed)

    def serves(self, trained: Trained, judged: Mapping[str, Holdout], seed: int) -> dict[str, str]:
        """Which of trees and line predicts, per model."""
        return candidate.choose_served(trained, judged, seed)

    @final
    def recipe(self) -> Recipe:
        """How it is made."""
        return Recipe(self.read, self.fit, self.serves)
