"""Trees walked fast say to the last bit what LightGBM says, and where they would not, LightGBM serves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ml.models import lightgbm_text
from ml.models.lightgbm_text import Recipe, TextModel
from ml.models.numbers import Floats
from ml.serving.trees import Forest, NotSupported, fastest, proof_rows

WIDTH = 7


def learnt(*, leaves: int = 31, missing: bool = True, categories: bool = True, rounds: int = 20, **options: Any) -> str:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4_000, WIDTH))
    if categories:
        x[:, 0], x[:, 1] = rng.integers(0, 70, len(x)), rng.integers(0, 3, len(x))
    if missing:
        x[rng.random(x.shape) < 0.15] = np.nan
    y = np.nan_to_num(x[:, 2]) * np.nan_to_num(x[:, 3]) + np.isnan(x[:, 4]) + 0.3 * (np.nan_to_num(x[:, 0]) % 3)
    if not options:
        recipe = Recipe(rounds=rounds, num_leaves=leaves, min_rows_in_leaf=5)
        unordered = (0, 1) if categories else ()
        names = [f"f{n}" for n in range(WIDTH)]
        label = (y > 0.5).astype(float)
        return lightgbm_text.train(x, label, recipe=recipe, seed=1, names=names, unordered=unordered)
    lightgbm = lightgbm_text.library()
    parameters = {"num_leaves": leaves, "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, **options}
    data = lightgbm.Dataset(x, np.clip(y, 0, 2).astype(int), params={"verbosity": -1})
    return str(lightgbm.train(parameters, data, rounds).model_to_string())


def same(text: str, rows: Floats) -> None:
    np.testing.assert_array_equal(Forest.read(text).margin(rows), TextModel(text).own_margin(rows))


@pytest.mark.parametrize("leaves", [2, 4, 63, 64])
@pytest.mark.parametrize("missing", [True, False], ids=["gaps", "no gaps"])
@pytest.mark.parametrize("categories", [True, False], ids=["categories", "numbers"])
def test_margins_are_lightgbm_s_to_the_last_bit(leaves: int, missing: bool, categories: bool) -> None:
    text = learnt(leaves=leaves, missing=missing, categories=categories)
    for seed in range(5):
        same(text, proof_rows(Forest.read(text), seed=seed))


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 20, 31, 32, 33, 100])
def test_a_row_comes_out_the_same_whichever_rows_are_with_it(rows: int) -> None:
    forest = Forest.read(learnt())
    everything = proof_rows(forest, seed=3)[:100]
    np.testing.assert_array_equal(forest.margin(everything[:rows]), forest.margin(everything)[:rows])


def test_zero_may_mean_missing() -> None:
    text = learnt(objective="binary", zero_as_missing=True, categories=False)
    same(text, proof_rows(Forest.read(text), seed=0))


def test_a_tree_that_never_split_is_its_leaf() -> None:
    text = learnt(leaves=2, objective="binary", min_gain_to_split=1e9, categories=False)
    same(text, np.zeros((3, WIDTH)))


def test_the_rows_of_the_proof_hold_thresholds_gaps_and_unknown_categories() -> None:
    forest = Forest.read(learnt())
    rows = proof_rows(forest, seed=0)
    assert np.isin(rows[:, 2], forest.threshold).any()
    assert np.isnan(rows).any(axis=0).all()
    assert (rows[:, 0] < 0).any() and (rows[:, 0] >= forest.sets[0].shape[1] - 1).any()
    assert np.isfinite(rows[~np.isnan(rows)]).all()


@pytest.mark.parametrize(
    "options",
    [{"objective": "multiclass", "num_class": 3}, {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
     {"objective": "regression", "linear_tree": True}],
    ids=["classes", "averaged", "linear"],
)  # fmt: skip
def test_trees_of_another_kind_are_left_to_lightgbm(options: dict[str, Any]) -> None:
    with pytest.raises(NotSupported):
        Forest.read(learnt(categories=False, **options))


def test_larger_trees_are_left_to_lightgbm(caplog: pytest.LogCaptureFixture) -> None:
    model = TextModel(learnt(leaves=65))
    assert fastest(model) == model.own_margin
    assert "at most 64 are walked fast" in caplog.text


def test_text_of_another_form_is_left_to_lightgbm() -> None:
    for broken in (
        "",
        "tree\n",
        learnt().replace("left_child=", "left_kind="),
        learnt().replace("num_leaves=31", "num_leaves=30"),
    ):
        with pytest.raises(NotSupported):
            Forest.read(broken)


@pytest.mark.parametrize("part", ["leaf", "threshold", "kept", "fills"])
def test_arrays_that_say_something_else_are_not_served(
    part: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from dataclasses import replace

    model = TextModel(learnt())
    forest = Forest.read(model.text)
    values = getattr(forest, part).copy()
    if part == "fills":
        values[:] = -values
    elif part == "kept":
        values[3] = ~values[3]
    else:
        values[:] = np.nextafter(values, 9.0)
    wrong = replace(forest, **{part: values})
    monkeypatch.setattr(Forest, "read", lambda _: wrong)
    assert fastest(model) == model.own_margin
    assert "come out otherwise" in caplog.text


def test_what_was_proven_serves() -> None:
    model = TextModel(learnt())
    found = fastest(model)
    assert found != model.own_margin
    model.walk_with(found)
    rows = np.random.default_rng(5).normal(size=(20, WIDTH))
    np.testing.assert_array_equal(model.margin(rows), model.own_margin(rows))
