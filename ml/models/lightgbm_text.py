"""LightGBM as text: the only place that imports it, and only inside functions.

Two facts shape this module. LightGBM used in a parent hangs in a forked child: a process that forks may import it
(`library`), and nothing more. And `num_threads` counts only when it is handed to `predict`
itself; given to the constructor it is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ml.models.lightgbm_import import light_import
from ml.models.numbers import Floats

TRAIN_THREADS = 1
"""Two are hardly faster on these sizes, and wait busily for each other where the machine has other work."""

PREDICT_THREADS = 1

Objective = Callable[[Floats, Any], tuple[Floats, Floats]]
"""Margins and LightGBM's own data set to weighted gradient and curvature, each of shape (n,)."""


@dataclass(frozen=True)
class Recipe:
    """How to grow the trees.

    The objective is cross-entropy throughout: it takes labels anywhere within 0 and 1, which is what an outcome
    that is not certain yet needs. In the columns named `falling` a prediction never rises, all else equal.
    With `random_splits` each column is cut at a random place (extremely randomised trees, Geurts et al. 2006).
    """

    rounds: int = 150
    learning_rate: float = 0.05
    num_leaves: int = 31
    min_rows_in_leaf: int = 100
    feature_fraction: float = 0.5
    row_fraction: float = 0.7
    l2: float = 10.0
    max_bins: int = 127
    falling: tuple[str, ...] = ()
    random_splits: bool = False

    def parameters(self, names: Sequence[str], *, seed: int) -> dict[str, Any]:
        """LightGBM's own words for it, for columns of these names; deterministic on any number of cores."""
        monotone = {"monotone_constraints": [-1 if name in self.falling else 0 for name in names]}
        return {
            "objective": "cross_entropy",
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_rows_in_leaf,
            "feature_fraction": self.feature_fraction,
            "bagging_fraction": self.row_fraction,
            "bagging_freq": 1 if self.row_fraction < 1 else 0,
            "lambda_l2": self.l2,
            "max_bin": self.max_bins,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": TRAIN_THREADS,
            "seed": seed,
            "verbosity": -1,
            **(monotone if self.falling else {}),
            **({"extra_trees": True} if self.random_splits else {}),
        }


def train(
    matrix: Floats,
    labels: Floats,
    *,
    recipe: Recipe,
    seed: int,
    names: Sequence[str],
    unordered: Sequence[int] = (),
    weights: Floats | None = None,
    offset: Floats | None = None,
    objective: Objective | None = None,
) -> str:
    """Grow trees and give them as LightGBM's text.

    Args:
        matrix: shape (n, k), NaN where missing.
        labels: shape (n,), within 0 and 1.
        recipe: how to grow them.
        seed: of every random choice.
        names: shape (k,), without spaces.
        unordered: positions of the columns whose values are codes without an order.
        weights: shape (n,), above 0; none means all equal.
        offset: shape (n,), log-odds that hold already, which the trees only add to.
        objective: in place of cross-entropy; gives the weighted gradient and curvature at margins of shape (n,).

    Returns:
        The text; the same arguments give the same bytes.
    """
    lightgbm = library()
    parameters = recipe.parameters(names, seed=seed)
    data = lightgbm.Dataset(
        matrix,
        label=labels,
        weight=weights,
        init_score=offset,
        feature_name=list(names),
        categorical_feature=list(unordered),
        params=parameters,
        free_raw_data=True,
    )
    if objective is not None:
        parameters["objective"] = objective
    booster = lightgbm.train(parameters, data, recipe.rounds)
    return str(booster.model_to_string(num_iteration=-1))


def train_lists(
    matrix: Floats, clicked: Floats, lists: Sequence[int], *, recipe: Recipe, seed: int, names: Sequence[str]
) -> str:
    """Grow trees whose sums are utilities: the one clicked of each list is drawn by the softmax of them (conditional
    logit). What is minimised is the multinomial log loss over the lists.

    Args:
        matrix: shape (n, k), NaN where missing; the offers of a list stand together.
        clicked: 1 for the offer clicked, 0 for the others, shape (n,).
        lists: how many offers each list has, in order; they sum to n.
        recipe: how to grow them.
        seed: of every random choice.
        names: shape (k,), without spaces.

    Returns:
        The text; the same arguments give the same bytes.
    """
    import numpy as np

    lightgbm = library()
    sizes = np.asarray(lists)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def gradient(utility: Any, _: Any) -> tuple[Any, Any]:
        share = np.exp(utility - np.repeat(np.maximum.reduceat(utility, starts), sizes))
        p = share / np.repeat(np.add.reduceat(share, starts), sizes)
        return p - clicked, np.maximum(p * (1.0 - p), 1e-6)

    parameters = recipe.parameters(names, seed=seed) | {"objective": gradient}
    data = lightgbm.Dataset(matrix, label=clicked, feature_name=list(names), params={"verbosity": -1})
    booster = lightgbm.train(parameters, data, recipe.rounds)
    return str(booster.model_to_string(num_iteration=-1))


def library() -> Any:
    """LightGBM, imported on first call; also for whoever forks processes that will need it."""
    with light_import():
        import lightgbm

    return lightgbm


class TextModel:
    """Trees read from text, on first use. The text must have been verified: a damaged one kills the process."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._booster: Any = None
        self._faster: Callable[[Floats], Floats] | None = None

    def walk_with(self, faster: Callable[[Floats], Floats]) -> None:
        """Take margins from another function from now on, one that was shown to give the same (`ml.serving.trees`)."""
        self._faster = faster

    def margin(self, matrix: Floats) -> Floats:
        """Log-odds, shape (n,), for a matrix of shape (n, k); on one thread."""
        return self.own_margin(matrix) if self._faster is None else self._faster(matrix)

    def own_margin(self, matrix: Floats) -> Floats:
        """As `margin`, by LightGBM itself."""
        import numpy as np

        if not len(matrix):
            return np.empty(0, dtype=np.float64)
        margin = self._open().predict(matrix, raw_score=True, num_threads=PREDICT_THREADS)
        return np.asarray(margin, dtype=np.float64)

    def gains(self) -> dict[str, float]:
        """Each feature's share of the total gain; sums to 1, all 0 when no tree ever split."""
        booster = self._open()
        gains = booster.feature_importance(importance_type="gain")
        total = float(gains.sum()) or 1.0
        return {name: float(gain) / total for name, gain in zip(booster.feature_name(), gains, strict=True)}

    def _open(self) -> Any:
        if self._booster is None:
            self._booster = library().Booster(model_str=self.text)
        return self._booster
