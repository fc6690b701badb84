"""Feast's values to and from the columns of the embedded online store.

Numbers, text, bytes and arrays of numbers are stored as they are; every other type is stored as Feast's own protobuf of
the value.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ml.core.errors import SchemaBreak, UsageError
from ml.features.feast_import import light_import
from ml.features.online.schema import Column, Dense, Flags, KeyType, Kind, Places, Ragged, Schema
from ml.features.online.snapshot import Snapshot

with light_import():
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.type_map import (
        NULL_TIMESTAMP_INT_VALUE,
        VALUE_TYPE_TO_PROTO_VALUE_MAP,
        feast_value_type_to_python_type,
        python_values_to_proto_values,
    )
    from feast.value_type import ValueType

_NUMBERS: Final[dict[str, Kind]] = {
    "FLOAT": "f4",
    "DOUBLE": "f8",
    "INT32": "i4",
    "INT64": "i8",
    "BOOL": "b1",
    "UNIX_TIMESTAMP": "i8",
}
_ARRAYS: Final[dict[str, str]] = {"FLOAT_LIST": "<f4", "DOUBLE_LIST": "<f8", "INT32_LIST": "<i4", "INT64_LIST": "<i8"}
_RAW: Final = {"BYTES", "PDF_BYTES", "IMAGE_BYTES"}
_ARROW: Final = {
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "INT32": pa.int32(),
    "INT64": pa.int64(),
    "BOOL": pa.bool_(),
    "UNIX_TIMESTAMP": pa.timestamp("s"),
}
_KEYS: Final[dict[str, KeyType]] = {
    "STRING": "text",
    "INT32": "int",
    "INT64": "int",
    "UNIX_TIMESTAMP": "int",
    "BYTES": "bytes",
}
_KEY_FIELDS: Final[dict[str, KeyType]] = {
    "string_val": "text",
    "int32_val": "int",
    "int64_val": "int",
    "unix_timestamp_val": "int",
    "bytes_val": "bytes",
}
_NOTHING: Final = "nothing was written, and what was there is served"


def schema_of(view: Any) -> Schema:
    """The schema of a Feast feature view; UsageError for a key of a type that Feast itself cannot look up."""
    keys = []
    for field in sorted(view.entity_columns, key=lambda field: field.name):
        kind = _KEYS.get(field.dtype.to_value_type().name)
        if kind is None:
            raise UsageError(
                f"the key {field.name} of {view.name} is {field.dtype}",
                next="give keys that are text, bytes or whole numbers",
            )
        keys.append((field.name, kind))
    return Schema(tuple(keys), tuple(column_of(field) for field in view.features))


def column_of(field: Any) -> Column:
    """How a feature is stored."""
    kind = field.dtype.to_value_type().name
    return Column(field.name, _NUMBERS.get(kind, "var"), kind)


def key_type(value: Any) -> KeyType:
    """The type of one value of an entity key; UsageError for one that cannot be a key."""
    field = value.WhichOneof("val")
    if field not in _KEY_FIELDS:
        raise UsageError(f"an entity key holds {field or 'nothing'}", next="give every key a value of its own type")
    return _KEY_FIELDS[field]


def from_protos(column: Column, values: Sequence[Any]) -> Dense | Ragged:
    """A column from Feast's values; None, an empty value and Feast's null are null.

    Raises:
        SchemaBreak: a value is of another type than the column.
    """
    wanted = _field(column)
    found = [None if value is None else value.WhichOneof("val") for value in values]
    valid = np.array([field not in {None, "null_val"} for field in found], dtype=np.bool_)
    if odd := next((field for field in found if field not in {None, "null_val", wanted}), None):
        raise SchemaBreak(
            f"a value of {column.name} is {odd.removesuffix('_val')}, not {wanted.removesuffix('_val')}",
            left=_NOTHING,
            next="write values of the type that the feature was defined with",
        )
    if column.kind != "var":
        dense: npt.NDArray[Any] = np.array(
            [getattr(value, wanted) if has else 0 for value, has in zip(values, valid, strict=True)],
            dtype=np.dtype(_DTYPES[column.kind]),
        )
        if column.meaning == "UNIX_TIMESTAMP":
            valid &= dense != NULL_TIMESTAMP_INT_VALUE
        return Dense(dense, valid)
    return Ragged.of([_bytes(column, value, wanted) if has else None for value, has in zip(values, valid, strict=True)])


def from_arrow(column: Column, array: pa.Array) -> Dense | Ragged:
    """A column from Arrow, without an object per value where the type allows; NaN is null, as Feast has it.

    Raises:
        SchemaBreak: the array is of another type, or a value is outside of the column's.
    """
    if column.kind != "var":
        return _numbers(column, array)
    simple = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if column.meaning in {"STRING", *_RAW}:
        if not (_is_text(simple) or (column.meaning in _RAW and _is_bytes(simple))):
            raise _wrong(column, array)
        whole = array.cast(pa.large_string()) if _is_text(simple) else array
        return _ragged(whole.cast(pa.large_binary()), 1)
    if column.meaning in _ARRAYS and (found := _array_of_numbers(column, array)) is not None:
        return found
    try:
        protos = python_values_to_proto_values(array.to_pylist(), ValueType[column.meaning])
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise _wrong(column, array) from error
    return from_protos(column, protos)


def to_protos(snapshot: Snapshot, name: str, rows: Places, valid: Flags) -> list[Any]:
    """Feast's values of a column; empty ones where `valid` is false."""
    column = snapshot.schema.columns[snapshot.schema.places[name]]
    if column.kind == "var":
        raw = snapshot.bytes_of(name, rows)
        return [_proto(column, each) if has else Value() for each, has in zip(raw, valid.tolist(), strict=True)]
    field, values = _field(column), _plain(column, snapshot.values(name, rows))
    return [Value(**{field: each}) if has else Value() for each, has in zip(values, valid.tolist(), strict=True)]


def to_python(column: Column, values: Sequence[Any]) -> list[Any]:
    """What Feast's response would make of stored values: numbers as `tolist` gives them, else bytes."""
    if column.meaning == "UNIX_TIMESTAMP":
        return [datetime.fromtimestamp(value, tz=UTC) for value in values]
    if column.meaning == "BOOL":
        return [bool(value) for value in values]
    if column.kind != "var":
        return list(values)
    if column.meaning == "STRING":
        return [value.decode() for value in values]
    if column.meaning in _ARRAYS:
        return [np.frombuffer(value, dtype=_ARRAYS[column.meaning]).tolist() for value in values]
    if column.meaning in _RAW:
        return list(values)
    kind = ValueType[column.meaning]
    return [feast_value_type_to_python_type(_proto(column, value), kind) for value in values]


_DTYPES: Final = {"f4": "<f4", "f8": "<f8", "i4": "<i4", "i8": "<i8", "b1": "u1"}


def _field(column: Column) -> str:
    """The field of Feast's value that holds the type."""
    found: str = VALUE_TYPE_TO_PROTO_VALUE_MAP.get(ValueType[column.meaning], "bytes_val")
    return found


def _bytes(column: Column, value: Any, field: str) -> bytes:
    if column.meaning == "STRING":
        return bytes(value.string_val.encode())
    if column.meaning in _RAW:
        return bytes(value.bytes_val)
    if column.meaning in _ARRAYS:
        return np.array(getattr(value, field).val, dtype=_ARRAYS[column.meaning]).tobytes()
    return bytes(value.SerializeToString())


def _proto(column: Column, raw: bytes) -> Any:
    if column.meaning == "STRING":
        return Value(string_val=raw.decode())
    if column.meaning in _RAW:
        return Value(bytes_val=raw)
    value = Value()
    if column.meaning in _ARRAYS:
        held = getattr(value, _field(column))
        held.SetInParent()  # an empty array is not a null
        held.val.extend(np.frombuffer(raw, dtype=_ARRAYS[column.meaning]).tolist())
    else:
        value.ParseFromString(raw)
    return value


def _plain(column: Column, values: npt.NDArray[Any]) -> list[Any]:
    found: list[Any] = (values != 0).tolist() if column.meaning == "BOOL" else values.tolist()
    return found


def _numbers(column: Column, array: pa.Array) -> Dense:
    wanted = _ARROW[column.meaning]
    fits = {
        "f4": pa.types.is_floating(array.type) or pa.types.is_integer(array.type) or pa.types.is_decimal(array.type),
        "f8": pa.types.is_floating(array.type) or pa.types.is_integer(array.type) or pa.types.is_decimal(array.type),
        "i4": pa.types.is_integer(array.type) or pa.types.is_floating(array.type),
        "i8": pa.types.is_integer(array.type) or pa.types.is_floating(array.type),
        "b1": pa.types.is_boolean(array.type),
    }[column.kind]
    if column.meaning == "UNIX_TIMESTAMP":
        fits = pa.types.is_timestamp(array.type)
    if not (fits or pa.types.is_null(array.type)):
        raise _wrong(column, array)
    if pa.types.is_floating(array.type) and column.kind in {"i4", "i8"}:
        array = pc.if_else(pc.is_nan(array), None, array)  # how pandas says that a whole number is missing
    try:
        cast = array.cast(wanted, safe=column.kind in {"i4", "i8"} and column.meaning != "UNIX_TIMESTAMP")
    except pa.ArrowInvalid as error:
        raise _wrong(column, array, why=str(error)) from error
    valid = np.asarray(cast.is_valid()) if cast.null_count else None
    if column.meaning == "UNIX_TIMESTAMP":
        cast = cast.cast(pa.int64())
    filled = cast.fill_null(False if column.kind == "b1" else 0) if cast.null_count else cast
    values = np.asarray(filled).astype(_DTYPES[column.kind], copy=False)
    if column.kind in {"f4", "f8"} and np.isnan(values).any():
        valid = ~np.isnan(values) if valid is None else valid & ~np.isnan(values)
    return Dense(values, valid)


def _array_of_numbers(column: Column, array: pa.Array) -> Ragged | None:
    """From Arrow's own memory; None where numbers within an array are missing, which Feast has its own rules for."""
    kind = array.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return None
    dtype = np.dtype(_ARRAYS[column.meaning])
    try:
        lists = array.cast(pa.large_list(pa.from_numpy_dtype(dtype)), safe=dtype.kind == "i")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _wrong(column, array, why=str(error)) from error
    if lists.values.null_count:
        return None
    offsets = np.asarray(lists.offsets) * dtype.itemsize
    data = np.asarray(lists.values).view(np.uint8)
    valid = np.asarray(lists.is_valid())
    return Ragged(offsets[:-1], np.diff(offsets) * valid, data, valid)


def _ragged(array: pa.LargeBinaryArray, item_bytes: int) -> Ragged:
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1] * item_bytes
    valid = np.asarray(array.is_valid())
    held = np.empty(0, dtype=np.uint8) if data is None else np.frombuffer(data, dtype=np.uint8)
    return Ragged(ends[:-1], np.diff(ends) * valid, held, valid)


def _is_text(kind: pa.DataType) -> bool:
    return any(
        fits(kind) for fits in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    )


def _is_bytes(kind: pa.DataType) -> bool:
    return any(fits(kind) for fits in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view))


def _wrong(column: Column, array: pa.Array, *, why: str = "") -> SchemaBreak:
    return SchemaBreak(
        f"the feature {column.name} is {column.meaning}, and its source gives {array.type}{f' ({why})' if why else ''}",
        left=_NOTHING,
        next="correct the source or the definition of the feature view",
    )
