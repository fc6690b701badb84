"""Trees as text: deterministic, one thread to predict, monotone where asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest

from ml.models.lightgbm_text import Recipe, TextModel, train
from ml.models.numbers import Floats, sigmoid

RECIPE = Recipe(rounds=20, num_leaves=8, min_rows_in_leaf=20)
NAMES = ("x", "noise", "code")


def data(rows: int = 2_000) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(3)
    matrix = np.column_stack([rng.normal(size=rows), rng.normal(size=rows), rng.integers(0, 5, rows).astype(float)])
    return matrix, (rng.random(rows) < sigmoid(-2 * matrix[:, 0])).astype(float)


def grow(seed: int = 7, recipe: Recipe = RECIPE, **given: Any) -> str:
    matrix, labels = data()
    return train(matrix, labels, recipe=recipe, seed=seed, names=NAMES, unordered=[2], **given)


def test_the_same_data_and_seed_give_the_same_bytes() -> None:
    assert grow() == grow()


def test_another_seed_gives_other_trees() -> None:
    assert grow(seed=7) != grow(seed=8)


def test_the_bytes_are_the_same_in_another_process() -> None:
    program = (
        "import sys, hashlib; sys.path[:0] = ['.', 'tests/models'];"
        "from test_lightgbm_text import grow; print(hashlib.sha256(grow().encode()).hexdigest())"
    )
    import hashlib

    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.split()[-1] == hashlib.sha256(grow().encode()).hexdigest()


def test_the_text_reads_back_with_the_same_predictions() -> None:
    matrix, _ = data()
    text = grow()
    direct = lightgbm.Booster(model_str=text).predict(matrix, raw_score=True, num_threads=1)
    np.testing.assert_array_equal(TextModel(text).margin(matrix), direct)


def test_one_thread_is_handed_to_predict_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given to the constructor it would be ignored, and a busy machine would answer a hundred times slower."""
    seen: list[dict[str, Any]] = []
    plain = lightgbm.Booster.predict

    def spy(self: Any, *args: Any, **given: Any) -> Any:
        seen.append(given)
        return plain(self, *args, **given)

    monkeypatch.setattr(lightgbm.Booster, "predict", spy)
    TextModel(grow()).margin(data()[0])
    assert [given["num_threads"] for given in seen] == [1]


def test_a_falling_column_never_raises_a_prediction() -> None:
    rng = np.random.default_rng(1)
    x = np.round(rng.random(3_000), 2)
    labels = (rng.random(3_000) < np.where((x > 0.4) & (x < 0.5), 0.9, 0.6 - 0.5 * x)).astype(float)
    grid = np.linspace(0, 1, 200)[:, None]

    def rises(falling: tuple[str, ...]) -> bool:
        recipe = Recipe(rounds=30, num_leaves=8, min_rows_in_leaf=20, feature_fraction=1.0, falling=falling)
        text = train(x[:, None], labels, recipe=recipe, seed=7, names=["x"])
        return bool((np.diff(TextModel(text).margin(grid)) > 0).any())

    assert rises(())
    assert not rises(("x",))


def test_soft_labels_count_as_shares_of_both() -> None:
    matrix, labels = data()
    doubled = np.vstack([matrix, matrix])
    both = np.concatenate([labels, np.zeros_like(labels)])
    recipe = Recipe(rounds=10, num_leaves=4, min_rows_in_leaf=1, feature_fraction=1.0, row_fraction=1.0, l2=0.0)
    soft = TextModel(train(matrix, labels / 2, recipe=recipe, seed=7, names=NAMES)).margin(matrix)
    hard = TextModel(train(doubled, both, recipe=recipe, seed=7, names=NAMES)).margin(matrix)
    np.testing.assert_allclose(soft, hard, rtol=1e-6)


def test_the_gains_are_shares_and_find_what_matters() -> None:
    gains = TextModel(grow()).gains()
    assert set(gains) == set(NAMES)
    assert sum(gains.values()) == pytest.approx(1.0)
    assert max(gains, key=gains.__getitem__) == "x"


def test_no_rows_have_no_predictions() -> None:
    assert TextModel(grow()).margin(np.empty((0, 3))).shape == (0,)
