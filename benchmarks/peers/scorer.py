"""The work that every peer is asked for: ids looked up in a numpy table, and LightGBM's own prediction of their rows."""

import os
from pathlib import Path

import lightgbm
import numpy as np

_WORK = Path(os.environ["BIDWRIGHT_PEER_WORK"])
_booster = lightgbm.Booster(model_file=_WORK / "model.txt", params={"num_threads": 1})
_table = np.load(_WORK / "table.npy")


def score(ids):
    """The probabilities of these entities, shape (ids,)."""
    return _booster.predict(_table[ids], num_threads=1)
