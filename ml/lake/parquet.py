"""Tables as Parquet bytes: equal tables have equal bytes.

The bytes hold no wall-clock time, no machine and no pandas metadata. Rows keep the order given. What pandas
cannot say by itself is kept by nullability: an int64 column that may be null reads back as `Int64`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

_TIME = pa.timestamp("us", tz="UTC")
_NULLABLE: dict[pa.DataType, Any] = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}


def to_arrow(frame: pd.DataFrame | pa.Table) -> pa.Table:
    """The frame as an Arrow table: text, int64, float64, bool, and timestamps in UTC with microseconds.

    A column of Python objects is taken for text when it is empty or all null, so that an empty frame keeps
    its schema. TypeError for a timestamp without a time zone, because nobody could say which instant it is.
    """
    if isinstance(frame, pa.Table):
        return frame.replace_schema_metadata(None)
    columns, fields = [], []
    for name in frame.columns:
        array = _column(frame[name])
        nullable = array.null_count > 0 or not _never_null(frame[name])
        columns.append(array)
        fields.append(pa.field(str(name), array.type, nullable=nullable))
    return pa.table(columns, schema=pa.schema(fields))


def _column(series: pd.Series) -> pa.Array:
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        return pa.array(series.dt.tz_convert("UTC").dt.as_unit("us"), type=_TIME, from_pandas=True)
    if series.dtype.kind == "M":
        raise TypeError(f"the column {series.name!r} holds times without a time zone; make them UTC")
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    array = pa.array(series, from_pandas=True)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array.cast(pa.string()) if pa.types.is_null(array.type) or pa.types.is_large_string(array.type) else array


def _never_null(series: pd.Series) -> bool:
    """Whether the dtype itself has no null: numpy integers and booleans."""
    return isinstance(series.dtype, np.dtype) and series.dtype.kind in "iub"


def encode(frame: pd.DataFrame | pa.Table) -> bytes:
    """The Parquet bytes of a frame."""
    sink = pa.BufferOutputStream()
    pq.write_table(to_arrow(frame), sink, compression="zstd", version="2.6")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """The pandas frame of a table: text as `str` or None, nullable int64 as `Int64`, times as `datetime64[us, UTC]`."""
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    for position, field in enumerate(table.schema):
        dtype = _NULLABLE.get(field.type) if field.nullable else None
        if dtype is not None:
            frame[field.name] = dtype.__from_arrow__(table.column(position))
    return frame
