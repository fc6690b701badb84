"""Candidates that are better than what is live, or as good as can be where nothing is."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from ml.challenge.planted import Planted, Rows

if TYPE_CHECKING:
    from ml.models.training import Trained


class PlainRetrain(Planted):
    """A retrain on fresh data; the champion knows the first four of its weeks alone."""

    good: ClassVar[bool] = True


class RetrainAfterPriceWar(Planted):
    """A retrain after rivals cut their prices and raised their bids; the champion has not seen that."""

    good: ClassVar[bool] = True
    ground: ClassVar[str] = "price_war"


class FirstChampion(Planted):
    """The first candidate of a market that has no champion."""

    good: ClassVar[bool] = True
    ground: ClassVar[str] = "young"


class OtherRecipe(Planted):
    """A retrain with more and slower trees than usual."""

    good: ClassVar[bool] = True

    def fit(self, rows: Rows, as_of: datetime, seed: int) -> Trained:
        """The usual models with another recipe of trees."""
        from ml.challenge.other_recipes import fit_with_trees

        return fit_with_trees(rows, as_of, seed, {"rounds": 150, "learning_rate": 0.04})
