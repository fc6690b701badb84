"""A stand-in for `python -m ml.promotion.child` with small models of its own; the first argument chooses them.

`train` prints the text of a small LightGBM model instead.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ml.models.lightgbm_text import Recipe, TextModel, train
from ml.promotion import child


class Trees:
    """Reads `value/model.txt` as LightGBM text."""

    inputs = ("x",)
    outputs = ("margin",)

    def __init__(self, text: str) -> None:
        self.model = TextModel(text)

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"margin": self.model.margin(rows[["x"]].to_numpy(dtype=float))}, index=rows.index)

    @classmethod
    def load(cls, artefacts: Mapping[str, bytes]) -> Trees:
        return cls(artefacts["value/model.txt"].decode())


class Hungry:
    """Wants more memory than any model needs."""

    @classmethod
    def load(cls, _artefacts: Mapping[str, bytes]) -> bytearray:
        return bytearray(6 << 30)


class Writer:
    """Leaves a file behind, where the bundle says."""

    @classmethod
    def load(cls, artefacts: Mapping[str, bytes]) -> int:
        return Path(artefacts["value/model.txt"].decode()).write_bytes(b"left behind")


class Teller:
    """Tells which variables of the environment it sees."""

    @classmethod
    def load(cls, _artefacts: Mapping[str, bytes]) -> None:
        raise ValueError(" ".join(sorted(os.environ)))


TYPES = {"trees": Trees, "hungry": Hungry, "writer": Writer, "teller": Teller}


def text() -> str:
    x = np.random.default_rng(1).random((400, 1))
    recipe = Recipe(rounds=20, num_leaves=7, min_rows_in_leaf=10)
    return train(x, (x[:, 0] > 0.5).astype(float), recipe=recipe, seed=1, names=["x"])


if __name__ == "__main__":
    if sys.argv[1] == "train":
        trees = text()
        rows = pd.DataFrame({"x": [0.1, 0.4, 0.6, 0.9]})
        sys.stdout.write(trees + "\n---\n" + " ".join(repr(float(v)) for v in Trees(trees).predict(rows)["margin"]))
    else:
        sys.exit(child.main({"value": TYPES[sys.argv[1]]}))
