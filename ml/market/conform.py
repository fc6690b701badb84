"""Bring a delivered frame into the canonical columns and dtypes, or say which column breaks the schema.

Only what loses nothing is converted: narrower integers, other timestamp units and zones, whole floats, dates.
A column whose every value is of another type breaks the schema; a single value of another type is the row's fault.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.core.errors import SchemaBreak
from ml.market.contract import Column, Kind, Table, is_text

Mask = npt.NDArray[np.bool_]

_STRAY_SHARE = 0.05
"""Up to this share of the rows, wrong values are stray ones even if the column, mostly null, has no others."""


@dataclass(frozen=True)
class Conformed:
    """The canonical columns of a delivery; where a value could not be read, `wrong_type` has the row and `rows` a null.

    `raw` is the delivery as it came, row by row the same; it goes into the quarantine.
    """

    table: Table
    raw: pd.DataFrame
    rows: pd.DataFrame
    wrong_type: dict[str, Mask]


def conform(table: Table, raw: pd.DataFrame) -> Conformed:
    """The delivery in canonical form. SchemaBreak for a missing, renamed or wholly wrong-typed column.

    Columns that the contract does not know are left out. Integers and flags come out in the nullable dtypes,
    whether or not a value is missing, so that deliveries of several days go together.
    """
    check_columns(table, [str(name) for name in raw.columns])
    raw = raw.reset_index(drop=True)
    columns, wrong_type = {}, {}
    for column in table:
        given = raw[column.name]
        series, bad = _CONVERT[column.kind](given, table, column)
        if bad.any():
            if bad.sum() == given.notna().sum() and bad.mean() > _STRAY_SHARE:
                raise _wrong_type(table, column, given)
            wrong_type[column.name] = bad
        columns[column.name] = series
    return Conformed(table, raw, pd.DataFrame(columns, index=raw.index, copy=False), wrong_type)


def check_columns(table: Table, names: Sequence[str]) -> None:
    """SchemaBreak if `names` lacks a column of the table; it says which, and what it was probably renamed to."""
    missing = [name for name in table.names if name not in names]
    if missing:
        raise _missing(table, missing, [name for name in names if name not in table.names])


def conform_days(table: Table, raws: Sequence[pd.DataFrame]) -> list[Conformed]:
    """`conform` for each of several deliveries; together where they have equal dtypes, because that is far faster."""
    if len(raws) > 1 and all(raw.dtypes.equals(raws[0].dtypes) for raw in raws):
        try:
            whole = conform(table, pd.concat(raws, ignore_index=True))
        except SchemaBreak:
            pass  # which day it is, and whether the rest can stand, is seen day by day below
        else:
            if not whole.wrong_type:
                return _split(whole, [len(raw) for raw in raws])
    return [conform(table, raw) for raw in raws]


def _split(whole: Conformed, sizes: Sequence[int]) -> list[Conformed]:
    parts, start = [], 0
    for size in sizes:
        raw, rows = whole.raw.iloc[start : start + size], whole.rows.iloc[start : start + size]
        parts.append(Conformed(whole.table, raw, rows, {}))
        start += size
    return parts


def _text(given: pd.Series, table: Table, column: Column) -> tuple[pd.Series, Mask]:
    if given.dtype.kind != "O":
        if given.notna().any():
            raise _wrong_type(table, column, given)
        return pd.Series(None, index=given.index, dtype=object), _none(given)
    if is_text(given):
        return given.astype(object), _none(given)
    return _by_value(given, lambda value: value if isinstance(value, str) else None, "object")


def _int(given: pd.Series, table: Table, column: Column) -> tuple[pd.Series, Mask]:
    if given.dtype.kind in "iu" and given.dtype != "uint64":
        return given.astype("Int64"), _none(given)
    if given.dtype.kind == "f":
        values = given.to_numpy(dtype="float64", na_value=np.nan)
        present = ~np.isnan(values)
        whole = present & np.isfinite(values) & (np.floor(values) == values) & (np.abs(values) < 2**53)
        integers = pd.array(np.where(whole, values, 0).astype("int64"), dtype="Int64")
        integers[~whole] = pd.NA
        return pd.Series(integers, index=given.index), present & ~whole
    if given.dtype.kind not in "Ou":
        raise _wrong_type(table, column, given)
    return _by_value(given, _as_int, "Int64")


def _float(given: pd.Series, table: Table, column: Column) -> tuple[pd.Series, Mask]:
    if given.dtype.kind in "iuf":
        return pd.Series(given.to_numpy(dtype="float64", na_value=np.nan), index=given.index), _none(given)
    if given.dtype.kind != "O":
        raise _wrong_type(table, column, given)
    return _by_value(given, _as_float, "float64")


def _bool(given: pd.Series, table: Table, column: Column) -> tuple[pd.Series, Mask]:
    if given.dtype.kind == "b":
        return given.astype("boolean"), _none(given)
    if given.dtype.kind != "O":
        raise _wrong_type(table, column, given)
    return _by_value(given, lambda value: bool(value) if isinstance(value, (bool, np.bool_)) else None, "boolean")


def _time(given: pd.Series, table: Table, column: Column) -> tuple[pd.Series, Mask]:
    if isinstance(given.dtype, pd.DatetimeTZDtype):
        return given.dt.tz_convert("UTC").dt.as_unit("us"), _none(given)
    if given.dtype.kind == "M":
        raise _wrong_type(table, column, given, "times without a time zone")
    if given.dtype.kind != "O":
        raise _wrong_type(table, column, given)
    return _by_value(given, _as_instant, "datetime64[us, UTC]")


_CONVERT: dict[Kind, Callable[[pd.Series, Table, Column], tuple[pd.Series, Mask]]] = {
    "text": _text,
    "int": _int,
    "float": _float,
    "bool": _bool,
    "time": _time,
}


def _by_value(given: pd.Series, convert: Callable[[Any], Any], dtype: str) -> tuple[pd.Series, Mask]:
    """Convert a column of Python objects value by value; what `convert` does not know becomes null and is marked."""
    absent = given.isna().to_numpy()
    values = [None if gone else convert(value) for value, gone in zip(given, absent, strict=True)]
    bad = np.array([value is None for value in values], dtype=bool) & ~absent
    return pd.Series(values, index=given.index, dtype=object).astype(dtype), bad  # type: ignore[call-overload]


def _as_int(value: object) -> int | None:
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, (int, np.integer)):
        return int(value) if -(2**63) <= int(value) < 2**63 else None
    return int(value) if isinstance(value, (float, np.floating)) and float(value).is_integer() else None


def _as_float(value: object) -> float | None:
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return float(value) if number else None  # type: ignore[arg-type]


def _as_instant(value: object) -> pd.Timestamp | None:
    if isinstance(value, datetime):
        return pd.Timestamp(value).tz_convert("UTC").as_unit("us") if value.tzinfo else None
    return pd.Timestamp(value, tz="UTC").as_unit("us") if isinstance(value, date) else None


def _none(given: pd.Series) -> Mask:
    return np.zeros(len(given), dtype=bool)


def _missing(table: Table, missing: list[str], extra: list[str]) -> SchemaBreak:
    close = difflib.get_close_matches(missing[0], extra, n=1, cutoff=0.6)
    renamed = close or (extra if len(missing) == len(extra) == 1 else [])
    hint = f"; it was probably renamed to {renamed[0]!r}" if renamed else ""
    others = f" (also missing: {', '.join(missing[1:])})" if missing[1:] else ""
    return SchemaBreak(
        f"the table {table.name} lacks the column {missing[0]!r}{hint}{others}",
        left="nothing of the day was landed",
        next="have the delivery corrected, or map the column in the source",
    )


def _wrong_type(table: Table, column: Column, given: pd.Series, holds: str = "") -> SchemaBreak:
    present = given.dropna()
    example = f", for example {str(present.iloc[0])!r}" if len(present) else ""
    what = holds or (type(present.iloc[0]).__name__ if given.dtype == object and len(present) else given.dtype)
    return SchemaBreak(
        f"the column {column.name!r} of {table.name} holds {what}{example}; expected: {column.kind} ({column.unit})",
        left="nothing of the day was landed",
        next="have the delivery corrected, or convert the column in the source",
    )
