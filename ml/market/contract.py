"""What a table promises: its columns with type, unit and range, its key and its event time.

The same description yields the pandera schema (the check), the Arrow schema (the file) and the documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pandera
    import pyarrow as pa

Kind = Literal["text", "int", "float", "bool", "time"]
"""text: `str`; int: int64; float: float64; bool; time: an instant in UTC with microseconds."""

PANDAS_DTYPES: Mapping[Kind, str] = {
    "text": "object",
    "int": "int64",
    "float": "float64",
    "bool": "bool",
    "time": "datetime64[us, UTC]",
}


@dataclass(frozen=True)
class Column:
    """One column: its kind, unit and meaning, and which values are possible (`low` and `high` included)."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    nullable: bool = False
    low: int | float | None = None
    high: int | float | None = None
    values: tuple[str, ...] | None = None

    @property
    def dtype(self) -> str:
        """The pandas dtype; a nullable int is `Int64`."""
        return "Int64" if self.kind == "int" and self.nullable else PANDAS_DTYPES[self.kind]


@dataclass(frozen=True)
class Table:
    """One canonical table. `key` identifies a row; `event_time` says when it happened, `known_at` when we learned it."""

    name: str
    meaning: str
    key: tuple[str, ...]
    event_time: str
    columns: tuple[Column, ...]

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """The column names in their canonical order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def schema(self) -> pandera.DataFrameSchema:
        """The pandera schema: names, dtypes, nulls, ranges and allowed values. Checks are named by their reason code."""
        import pandera.pandas as pandera

        return pandera.DataFrameSchema(
            {column.name: _pandera_column(column) for column in self.columns}, strict=True, name=self.name
        )

    @cached_property
    def arrow(self) -> pa.Schema:
        """The Arrow schema of a partition, with nullability."""
        import pyarrow as pa

        types = {
            "text": pa.string(),
            "int": pa.int64(),
            "float": pa.float64(),
            "bool": pa.bool_(),
            "time": pa.timestamp("us", tz="UTC"),
        }
        return pa.schema([pa.field(c.name, types[c.kind], nullable=c.nullable) for c in self.columns])

    def empty(self) -> pd.DataFrame:
        """A frame of this table without rows."""
        import pandas as pd

        return pd.DataFrame({column.name: pd.Series([], dtype=column.dtype) for column in self.columns})


def is_text(column: pd.Series) -> bool:
    """Whether every value is a `str` or missing."""
    import pandas as pd

    return pd.api.types.infer_dtype(column, skipna=True) in {"string", "empty"}


def _pandera_column(column: Column) -> Any:
    import pandera.pandas as pandera

    checks = []
    if column.low is not None:
        checks.append(pandera.Check.ge(column.low, error="range"))
    if column.high is not None:
        checks.append(pandera.Check.le(column.high, error="range"))
    if column.values is not None:
        checks.append(pandera.Check.isin(column.values, error="unknown_value"))
    if column.kind == "text":  # pandera's own check of str calls Python for every value
        checks.append(pandera.Check(is_text, error="type", ignore_na=False))
    return pandera.Column(
        column.dtype, checks, nullable=column.nullable, description=f"{column.meaning} [{column.unit}]"
    )
