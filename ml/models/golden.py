"""Golden predictions: some rows and what the model said of them, kept in the bundle, so that whoever loads it
can see that it still says the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ml.core.digests import canonical_json
from ml.core.errors import CorruptArtefact

if TYPE_CHECKING:
    from ml.models.protocol import BidModel

GOLDEN_ROWS = 50
TOLERANCE = 1e-9
"""Largest difference of a golden prediction, relative to its size where that is above 1."""


def golden(models: Mapping[str, BidModel], rows: Mapping[str, pd.DataFrame]) -> bytes:
    """Up to 50 rows for each model, spread evenly over those given, and its predictions of them, as JSON.

    Args:
        models: by name.
        rows: for each model, rows that it can read.
    """
    return canonical_json({name: _record(model, rows[name]) for name, model in sorted(models.items())})


def differences(models: Mapping[str, BidModel], data: bytes) -> list[str]:
    """What the models say otherwise than their golden predictions; empty when all is as it was.

    Raises:
        CorruptArtefact: the golden file is not of the expected form, or lacks a model.
    """
    try:
        kept = json.loads(data)
        found = []
        for name, model in sorted(models.items()):
            wanted = pd.DataFrame(kept[name]["predictions"]).astype(float)
            said = model.predict(_frame(kept[name]["rows"]))
            found += _compare(name, wanted, said)
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptArtefact(
            "the golden predictions are not of the expected form", next="train the version again"
        ) from error
    return found


def golden_rows(data: bytes, name: str) -> pd.DataFrame:
    """The golden rows of a model, from a golden file that `differences` has read."""
    return _frame(json.loads(data)[name]["rows"])


def plain_rows(rows: pd.DataFrame, model: BidModel) -> dict[str, list[Any]]:
    """What the model reads of these rows, by column, as JSON; `read_rows` gives the rows back."""
    return _plain(rows[list(model.inputs)])


def read_rows(columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    """Rows as `plain_rows` wrote them."""
    return _frame(columns)


def _record(model: BidModel, rows: pd.DataFrame) -> dict[str, Any]:
    places = np.unique(np.linspace(0, len(rows) - 1, min(GOLDEN_ROWS, len(rows))).round().astype(int))
    kept = _plain(rows.iloc[places][list(model.inputs)])
    # Predicted from the plain form: what is read back later has to be what was asked here.
    predictions = model.predict(_frame(kept))
    return {"rows": kept, "predictions": {name: [float(v) for v in predictions[name]] for name in model.outputs}}


def _frame(columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


def _plain(rows: pd.DataFrame) -> dict[str, list[Any]]:
    return {str(name): [_value(v) for v in rows[name].tolist()] for name in rows.columns}


def _value(value: Any) -> Any:
    """A cell as JSON: instants as ISO text, missing as null."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and not np.isfinite(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    return float(value) if isinstance(value, float | np.floating) else str(value)


def _compare(name: str, wanted: pd.DataFrame, said: pd.DataFrame) -> list[str]:
    if len(wanted) != len(said):
        return [f"{name}: {len(said)} predictions instead of {len(wanted)}"]
    found = []
    for column in wanted.columns:
        want, got = wanted[column].to_numpy(), said[column].to_numpy(dtype=float)
        off = np.abs(got - want) / np.maximum(np.abs(want), 1.0)
        if not np.all(off <= TOLERANCE):
            worst = int(np.argmax(np.where(np.isfinite(off), off, np.inf)))
            found.append(f"{name}.{column} of golden row {worst} is {got[worst]:.12g}, was {want[worst]:.12g}")
    return found
