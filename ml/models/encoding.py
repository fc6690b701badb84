"""Rows to a matrix of numbers: which columns, in which order, with which codes for their categories.

What models compute they compute from `Columns`, arrays by name; a frame is brought into that form first (`columns_of`), so that a
day's rows and a single request go through the same functions, and the request pays for no frame. The codes are learned once, kept with the model as JSON, and never depend on the rows at hand; a category
that training did not see is missing, not a new code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import repeat
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.core.errors import CorruptArtefact, SchemaBreak
from ml.models.numbers import Bools, Floats, Times

Kind = Literal["number", "category", "ranked"]

Values = npt.NDArray[Any] | Sequence[Any]
"""A column without a frame: float64 with NaN where missing, `datetime64[us]` in UTC with NaT, or any sequence of text in which
whatever is no text is missing."""
Columns = Mapping[str, Values]
"""Columns of equal length by name."""
Form = Literal["number", "text", "time"]
"""Which of the three a column is."""


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
        forms: dict[str, Form] = {c.name: "number" if c.kind == "number" else "text" for c in self.columns}
        return self.encode(columns_of(frame, forms))

    def encode(self, columns: Columns) -> Floats:
        """As `matrix`, of columns without a frame."""
        try:
            rows = len(columns[self.columns[0].name]) if self.columns else 0
            out = np.empty((len(self.columns), rows), dtype=np.float64)
            for n, (name, codes) in enumerate(self._codes):
                values = columns[name]
                out[n] = values if codes is None else np.fromiter(map(codes.get, values, repeat(np.nan)), float, rows)
        except KeyError as error:
            raise SchemaBreak(
                f"the model needs the column {error.args[0]!r}, which the rows do not have",
                left="nothing was predicted",
                next="build the features with the definitions that this version was trained on",
            ) from None
        return np.ascontiguousarray(np.where(np.isfinite(out), out, np.nan).T)

    @cached_property
    def _codes(self) -> tuple[tuple[str, Mapping[str, float] | None], ...]:
        """Each column with the codes of its categories; none for a number."""
        return tuple(
            (c.name, None if c.kind == "number" else {v: float(n) for n, v in enumerate(self.categories[c.name])})
            for c in self.columns
        )

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
        if any(len(set(values)) < len(values) for values in categories.values()):
            raise CorruptArtefact("a feature list has a category twice", next="train the version again")
        return cls(columns, categories)


def columns_of(rows: pd.DataFrame, forms: Mapping[str, Form]) -> dict[str, Values]:
    """The columns of a frame without the frame; those that it does not have are left out.

    Args:
        rows: one per observation.
        forms: of each column that is wanted.
    """
    return {name: _READ[form](rows[name]) for name, form in forms.items() if name in rows.columns}


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


def _instants(values: pd.Series[Any]) -> Times:
    """A column as instants, missing as NaT."""
    return np.asarray(as_times(values).tz_localize(None).as_unit("us"), dtype="datetime64[us]")


def _words(values: pd.Series[Any]) -> list[Any]:
    return _texts(values).tolist()


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


_READ: Mapping[Form, Callable[[pd.Series[Any]], Values]] = {"number": as_numbers, "text": _words, "time": _instants}
