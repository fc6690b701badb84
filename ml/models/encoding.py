"""Rows to a matrix of numbers: which columns, in which order, with which codes for their categories.

The codes are learned once, kept with the model as JSON, and never depend on the rows at hand; a category
that training did not see is missing, not a new code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pandas as pd

from ml.core.errors import CorruptArtefact, SchemaBreak
from ml.models.numbers import Bools, Floats

Kind = Literal["number", "category", "ranked"]


@dataclass(frozen=True)
class Column:
    """One column of the design matrix.

    Attributes:
        name: the column of the frame that it is read from.
        unit: unit of a number, or what a category counts.
        meaning: one line for people.
        kind: `number` as it is; `category` by sorted code, unordered; `ranked` by the category's rank in
            training (0 is the most frequent), ordered: for identities with hundreds of values.
    """

    name: str
    unit: str
    meaning: str
    kind: Kind = "number"


@dataclass(frozen=True)
class Encoder:
    """Columns and the categories that training saw, in code order."""

    columns: tuple[Column, ...]
    categories: Mapping[str, tuple[str, ...]]

    @classmethod
    def fit(cls, columns: Sequence[Column], frame: pd.DataFrame) -> Encoder:
        """Learn the codes of the categories in `frame`."""
        known = {c.name: _categories(c, frame[c.name]) for c in columns if c.kind != "number"}
        return cls(tuple(columns), known)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the matrix's columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def unordered(self) -> list[int]:
        """Positions of the columns whose codes have no order."""
        return [n for n, column in enumerate(self.columns) if column.kind == "category"]

    def matrix(self, frame: pd.DataFrame) -> Floats:
        """Encode rows.

        Args:
            frame: one row per observation, with every column of `names`.

        Returns:
            Shape (rows, columns); NaN where a value is missing, not finite, or a category unseen in training.

        Raises:
            SchemaBreak: a column is not there.
        """
        missing = [name for name in self.names if name not in frame.columns]
        if missing:
            raise SchemaBreak(
                f"the model needs the column {missing[0]!r}, which the rows do not have",
                left="nothing was predicted",
                next="build the features with the definitions that this version was trained on",
            )
        out = np.empty((len(frame), len(self.columns)), dtype=np.float64, order="F")
        for n, column in enumerate(self.columns):
            out[:, n] = self._encode(column, frame[column.name])
        return np.ascontiguousarray(out)

    def _encode(self, column: Column, values: pd.Series[Any]) -> Floats:
        if column.kind == "number":
            numbers = as_numbers(values)
            numbers[~np.isfinite(numbers)] = np.nan
            return numbers
        codes = pd.Categorical(_texts(values), categories=list(self.categories[column.name])).codes
        return np.where(codes < 0, np.nan, codes).astype(np.float64)

    def to_json(self) -> dict[str, Any]:
        """The form kept as `features.json`."""
        return {
            "columns": [{"name": c.name, "unit": c.unit, "meaning": c.meaning, "kind": c.kind} for c in self.columns],
            "categories": {name: list(values) for name, values in self.categories.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Encoder:
        """Read back `to_json`; CorruptArtefact when it is not of that form."""
        try:
            columns = tuple(Column(**column) for column in value["columns"])
            categories = {str(name): tuple(map(str, values)) for name, values in value["categories"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise CorruptArtefact(
                "a feature list is not of the expected form", next="train the version again"
            ) from error
        if any(c.kind != "number" and c.name not in categories for c in columns):
            raise CorruptArtefact("a feature list lacks the categories of a column", next="train the version again")
        return cls(columns, categories)


def as_numbers(values: pd.Series[Any]) -> Floats:
    """A column as floats, missing as NaN; numbers, booleans and numeric text alike; a fresh array."""
    if values.dtype == object:
        values = pd.to_numeric(values, errors="coerce")
    return np.array(values.to_numpy(dtype=np.float64, na_value=np.nan))


def as_times(values: pd.Series[Any]) -> pd.DatetimeIndex:
    """A column as aware UTC instants, whether it holds them or ISO text."""
    return pd.DatetimeIndex(pd.to_datetime(values, utc=True))


def known_before(values: pd.Series[Any], as_of: datetime) -> Bools:
    """Which instants lie before `as_of`, shape (n,); a missing one does not."""
    return np.asarray(as_times(values) < pd.Timestamp(as_of), dtype=np.bool_)


def _texts(values: pd.Series[Any]) -> pd.Series[Any]:
    """A column as text, with missing left missing."""
    if values.dtype == object and pd.api.types.infer_dtype(values, skipna=True) in ("string", "empty"):
        return values
    return values.astype(object).where(values.notna(), None).map(str, na_action="ignore")


def _categories(column: Column, values: pd.Series[Any]) -> tuple[str, ...]:
    counts = _texts(values).dropna().value_counts()
    if column.kind == "category":
        return tuple(sorted(counts.index))
    return tuple(sorted(counts.index, key=lambda name: (-int(counts[name]), name)))
