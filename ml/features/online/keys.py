"""Entity keys as a few 64-bit words, so that many are compared at once.

One integer is its own word. Everything else becomes bytes: text in UTF-8, several keys joined by 0x1F, integers among
them in decimal. What cannot be written so without doubt (text with a zero byte or the joining one, a value of bytes) is
0xFF and hexadecimal; what is longer than 32 bytes is 0xFF and its BLAKE2b. 0xFF does not occur in UTF-8.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ml.core.errors import UsageError
from ml.features.online.schema import KeyType, Words

WIDEST: Final = 4
"""Words of the longest key that is stored as it is."""

_JOINED: Final = "\x1f"
_ESCAPED: Final = b"\xff"
_MIX: Final = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], dtype=np.uint64
)


def is_integer(types: Sequence[KeyType]) -> bool:
    """Whether keys of these types are a single integer."""
    return tuple(types) == ("int",)


def words_of(types: Sequence[KeyType], columns: Sequence[Any], *, names: Sequence[str]) -> Words:
    """Keys given as Python values or a numpy array.

    Args:
        types: the type of each key column.
        columns: as many sequences of equal length.
        names: what the columns are called, for the error.

    Returns:
        Words, shape (rows, width).

    Raises:
        UsageError: a value is not of its column's type.
    """
    if is_integer(types):
        return _integers(columns[0], names[0]).view(np.uint64)[:, None]
    try:
        if types == ("text",):
            texts = columns[0]
        else:
            texts = list(map(_JOINED.join, zip(*map(_texts, types, columns), strict=True)))
        words = _plain(texts, joined=len(types) - 1)
        return _packed(list(_escaped(types, columns))) if words is None else words
    except (AttributeError, TypeError):
        raise _wrong(types, columns, names) from None


def words_of_arrow(types: Sequence[KeyType], columns: Sequence[pa.Array], *, names: Sequence[str]) -> Words:
    """Keys given as Arrow arrays of equal length; as `words_of`, without a Python object per key where possible."""
    for kind, column, name in zip(types, columns, names, strict=True):
        if column.null_count:
            raise UsageError(f"{column.null_count} rows have no {name}", next="give every row its key")
        if not _FITS[kind](column.type):
            raise UsageError(f"the key {name} is {column.type}, not {kind}", next="give keys of the view's own type")
    if is_integer(types):
        return np.asarray(columns[0].cast(pa.int64())).view(np.uint64)[:, None]
    if "bytes" in types or any(
        pc.any(pc.match_substring(column, odd)).as_py()
        for column in columns
        if not pa.types.is_integer(column.type)
        for odd in ("\0", *([_JOINED] if len(types) > 1 else []))
    ):
        return words_of(types, [column.to_pylist() for column in columns], names=names)
    parts = [column.cast(pa.string()).cast(pa.large_binary()) for column in columns]
    keys = (
        pc.binary_join_element_wise(*parts, pa.scalar(_JOINED.encode(), pa.large_binary()))
        if len(parts) > 1
        else parts[0]
    )
    if len(keys) and pc.max(pc.binary_length(keys)).as_py() > 8 * WIDEST:
        return _packed(keys.to_pylist())
    return _from_buffers(keys)


def hashed(words: Words) -> npt.NDArray[np.uint64]:
    """One word per key to search by, shape (rows,). A key of a single word is that word: then equal means the same."""
    return words[:, 0] if words.shape[1] == 1 else words @ _MIX[: words.shape[1]]


def _integers(values: Any, name: str) -> npt.NDArray[np.int64]:
    found = np.asarray(values)
    if not len(found):
        return np.empty(0, dtype=np.int64)
    if found.dtype.kind != "i":
        raise UsageError(f"the key {name} is to be a whole number of 64 bits: {_first_odd(values, int)!r}", next=_OWN)
    return found.astype(np.int64, copy=False)


def _packed(keys: list[bytes]) -> Words:
    longest = max(map(len, keys), default=1)
    if longest > 8 * WIDEST:
        keys = [
            key if len(key) <= 8 * WIDEST else _ESCAPED + hashlib.blake2b(key, digest_size=31).digest() for key in keys
        ]
        longest = 8 * WIDEST
    width = max(1, (longest + 7) // 8)
    return np.array(keys, dtype=f"S{8 * width}").view(np.uint64).reshape(len(keys), width)


def _from_buffers(keys: pa.LargeBinaryArray) -> Words:
    """The same as `_packed`, from Arrow's own memory."""
    _, offsets, data = keys.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[keys.offset : keys.offset + len(keys) + 1]
    lengths = np.diff(ends)
    width = max(1, (int(lengths.max(initial=1)) + 7) // 8)
    packed = np.zeros((len(keys), 8 * width), dtype=np.uint8)
    if data is not None:
        packed[np.arange(8 * width) < lengths[:, None]] = np.frombuffer(data, dtype=np.uint8)[ends[0] : ends[-1]]
    return packed.view(np.uint64)


def _plain(texts: Sequence[str], *, joined: int) -> Words | None:
    """The words of ASCII texts of at most 32 characters; None where a text is otherwise, or holds an odd character."""
    width = max(1, (max(map(len, texts), default=1) + 7) // 8)
    whole = "".join(texts)
    if width > WIDEST or "\0" in whole or (joined and whole.count(_JOINED) != joined * len(texts)):
        return None
    data = "".join([text.ljust(8 * width, "\0") for text in texts]).encode()
    if len(data) != 8 * width * len(texts):
        return None
    return np.frombuffer(data, dtype=np.uint64).reshape(len(texts), width)


def _texts(kind: KeyType, column: Any) -> Iterable[str]:
    if kind == "text":
        return column  # type: ignore[no-any-return]
    return map(_whole, column) if kind == "int" else (_raw(value) for value in column)


def _escaped(types: Sequence[KeyType], columns: Sequence[Any]) -> Iterator[bytes]:
    """The bytes of each key, whatever it holds."""
    for values in zip(*map(_texts, types, columns), strict=True):
        yield _JOINED.encode().join(
            _ESCAPED + (value.encode().hex() if kind == "text" else value[1:]).encode()
            if kind == "bytes" or "\0" in value or (len(types) > 1 and _JOINED in value)
            else value.encode()
            for kind, value in zip(types, values, strict=True)
        )


def _whole(value: int) -> str:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(value)
    return str(int(value))


def _raw(value: bytes) -> str:
    """The zero character, which sends the key the long way, and hexadecimal."""
    if not isinstance(value, bytes):
        raise TypeError(value)
    return "\0" + value.hex()


_FITS: Final = {
    "text": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind),
    "int": pa.types.is_integer,
    "bytes": lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind),
}
_PYTHON: Final = {"text": str, "int": int, "bytes": bytes}
_OWN: Final = "give keys of the view's own type"


def _wrong(types: Sequence[KeyType], columns: Sequence[Any], names: Sequence[str]) -> UsageError:
    for kind, column, name in zip(types, columns, names, strict=True):
        odd = _first_odd(column, _PYTHON[kind])
        if odd is not None or None in list(column):
            return UsageError(f"the key {name} is to be {kind}: {odd!r}", next=_OWN)
    return UsageError(f"the keys {', '.join(names)} are of the wrong type", next=_OWN)


def _first_odd(column: Any, wanted: type) -> Any:
    return next((value for value in column if isinstance(value, bool) or not isinstance(value, wanted)), None)
