"""Calibration per field: a map of its own for each lead bucket and segment that shows it needs one, in money.

A total can come true while near bookings are promised too little and far ones too much; bids are made per cell, so
errors of cells do not cancel (`ml.evaluation.money`). Rows weigh by their value: what has to come true is money.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml.core.errors import CorruptArtefact
from ml.models import calibration
from ml.models.calibration import Calibration, Identity, choose
from ml.models.numbers import Bools, Floats, Ints

LEAST_VALUE = 0.05
"""A booking that is worth less than this share of the mean, or nothing, weighs as much."""


@dataclass(frozen=True)
class FieldCalibration:
    """Maps by the value of one encoded column.

    Attributes:
        column: name of the column.
        starts: first value of each field but the first, ascending; codes of a category count as values.
        maps: shape (len(starts) + 1,).
    """

    column: str
    starts: tuple[float, ...]
    maps: tuple[Calibration, ...]

    @classmethod
    def choose(
        cls,
        column: str,
        starts: Sequence[float],
        values: Floats,
        p: Floats,
        y: Floats,
        w: Floats,
        *,
        blocks: Ints,
        held_out: Bools,
    ) -> FieldCalibration:
        """For each field the method with the least held-out loss, as `ml.models.calibration.choose`.

        Args:
            column: name of the column.
            starts: as the attribute.
            values: the column, shape (n,), NaN where missing: such rows keep their probability.
            p, y, w, blocks, held_out: as of `choose`.
        """
        field = field_of(values, starts)
        parts = [field == n for n in range(len(starts) + 1)]
        maps = [choose(p[part], y[part], w[part], blocks=blocks[part], held_out=held_out[part]) for part in parts]
        return cls(column, tuple(map(float, starts)), tuple(maps))

    def apply(self, p: Floats, values: Floats) -> Floats:
        """Calibrated probabilities, shape (n,), of rows with these values of the column, shape (n,)."""
        field = field_of(values, self.starts)
        out = np.array(p, dtype=np.float64)
        for n, fitted in enumerate(self.maps):
            if fitted != Identity():
                out[field == n] = fitted.apply(out[field == n])
        return out

    def to_json(self) -> dict[str, Any]:
        """Everything that `from_json` needs."""
        return {"column": self.column, "starts": list(self.starts), "maps": [fitted.to_json() for fitted in self.maps]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FieldCalibration:
        """Read back `to_json`; CorruptArtefact when it is not of that form."""
        try:
            column, starts = str(value["column"]), tuple(map(float, value["starts"]))
            maps = tuple(calibration.from_json(fitted) for fitted in value["maps"])
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptArtefact(
                "a calibration by field is not of the expected form", next="train the version again"
            ) from error
        if list(starts) != sorted(starts) or len(maps) != len(starts) + 1:
            raise CorruptArtefact("a calibration by field lacks a field", next="train the version again")
        return cls(column, starts, maps)


def field_of(values: Floats, starts: Sequence[float]) -> Ints:
    """Number of each value's field, from 0; -1 where the value is missing. Shape (n,)."""
    place = np.searchsorted(np.asarray(starts, dtype=np.float64), values, side="right")
    return np.where(np.isnan(values), -1, place).astype(np.int64)


def value_weights(weights: Floats, value: Floats) -> Floats:
    """Row weights times the value of the booking over its mean, shape (n,); missing and small values at a floor."""
    mean = float(np.nanmean(np.maximum(value, 0.0))) if np.isfinite(value).any() else 0.0
    share = np.nan_to_num(value / mean) if mean > 0 else np.ones_like(weights)
    return np.asarray(weights * np.maximum(share, LEAST_VALUE), dtype=np.float64)
