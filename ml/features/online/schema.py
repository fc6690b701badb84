"""What a view's files hold: its keys, its columns, and a batch of rows on its way into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from ml.core.errors import CorruptArtefact

Words = npt.NDArray[np.uint64]
"""Keys as 64-bit words, shape (rows, width)."""
Ints = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]
Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

Kind = Literal["f4", "f8", "i4", "i8", "b1", "var"]
"""How a column is stored: a number of fixed width, or bytes of any length."""
KeyType = Literal["int", "text", "bytes"]

DTYPES: Mapping[str, npt.DTypeLike] = {"f4": "<f4", "f8": "<f8", "i4": "<i4", "i8": "<i8", "b1": "u1"}
NEVER = np.iinfo(np.int64).min
"""The created timestamp of a row that has none: before every other."""


@dataclass(frozen=True)
class Column:
    """A column: its name, how it is stored, and a word for the reader on what the bytes mean."""

    name: str
    kind: Kind
    meaning: str


@dataclass(frozen=True)
class Schema:
    """The keys of a view, by name, and its columns."""

    keys: tuple[tuple[str, KeyType], ...]
    columns: tuple[Column, ...]

    @property
    def key_types(self) -> tuple[KeyType, ...]:
        """The types of the keys, in their order."""
        return tuple(kind for _, kind in self.keys)

    @cached_property
    def groups(self) -> dict[str, tuple[Column, ...]]:
        """The columns of each fixed width, which lie side by side in one matrix."""
        found = {kind: tuple(column for column in self.columns if column.kind == kind) for kind in DTYPES}
        return {kind: columns for kind, columns in found.items() if columns}

    @cached_property
    def ragged(self) -> tuple[Column, ...]:
        """The columns of any length."""
        return tuple(column for column in self.columns if column.kind == "var")

    @cached_property
    def places(self) -> dict[str, int]:
        """The number of each column, which is its bit among the row's flags."""
        return {column.name: number for number, column in enumerate(self.columns)}

    @property
    def flag_bytes(self) -> int:
        """Bytes of a row's flags, one bit per column: has a value."""
        return (len(self.columns) + 7) // 8

    def as_json(self) -> dict[str, Any]:
        """A JSON value that `from_json` reads."""
        return {
            "keys": [list(key) for key in self.keys],
            "columns": [[c.name, c.kind, c.meaning] for c in self.columns],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Schema:
        """The schema of `as_json`."""
        keys = tuple((name, kind) for name, kind in value["keys"])
        return cls(keys, tuple(Column(*column) for column in value["columns"]))


@dataclass(frozen=True)
class Dense:
    """Values of fixed width, shape (rows,); `valid` is None where all are."""

    values: npt.NDArray[Any]
    valid: Flags | None = None


@dataclass(frozen=True)
class Ragged:
    """Values of any length: value i is data[starts[i]:starts[i] + lengths[i]]."""

    starts: Ints
    lengths: Ints
    data: Bytes
    valid: Flags | None = None

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Ragged:
        """From Python's bytes, None for a null."""
        lengths = np.array([len(value or b"") for value in values], dtype=np.int64)
        data = np.frombuffer(b"".join(value or b"" for value in values), dtype=np.uint8)
        valid = np.array([value is not None for value in values], dtype=np.bool_)
        return cls(np.cumsum(lengths) - lengths, lengths, data, valid)

    def take(self, rows: Places) -> tuple[Ints, Bytes]:
        """The lengths of these values, and their bytes one after the other."""
        starts, lengths = self.starts[rows], self.lengths[rows]
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        if total and (starts[1:] == starts[:-1] + lengths[:-1]).all():
            return lengths, self.data[starts[0] : starts[0] + total]
        shift = np.repeat(starts - (ends - lengths), lengths)
        return lengths, self.data[np.arange(total) + shift]


@dataclass(frozen=True)
class Block:
    """Some rows as they are laid into the files."""

    words: Words
    times: Ints
    flags: Bytes
    dense: dict[str, npt.NDArray[Any]]
    ragged: dict[str, tuple[Ints, Bytes]]


class Source(Protocol):
    """Where rows are taken from: a batch, or a snapshot that is rewritten."""

    def block(self, rows: Places, schema: Schema, width: int) -> Block:
        """These rows, laid out for a schema and a width of key; a column that the source lacks is null."""
        ...

    def keys_of(self, rows: Places) -> Words:
        """The keys of these rows."""
        ...


@dataclass(frozen=True)
class Rows:
    """A batch of rows.

    `words`: the keys, shape (n, width). `event_us`, `created_us`: microseconds since 1970, shape (n,), the latter NEVER
    where nothing is known. `columns`: values by name; a column of the schema that is missing is null.
    """

    words: Words
    event_us: Ints
    created_us: Ints
    columns: Mapping[str, Dense | Ragged]

    def __len__(self) -> int:
        return len(self.words)

    def block(self, rows: Places, schema: Schema, width: int) -> Block:
        """See `Source`."""
        at = _span(rows)
        valid = np.zeros((len(rows), len(schema.columns)), dtype=np.bool_)
        for name, number in schema.places.items():
            if (column := self.columns.get(name)) is not None:
                valid[:, number] = True if column.valid is None else column.valid[at]
        dense = {}
        for kind, columns in schema.groups.items():
            matrix = np.empty((len(rows), len(columns)), dtype=DTYPES[kind])
            for number, each in enumerate(columns):
                matrix[:, number] = self._filled(each, at, valid[:, schema.places[each.name]])
            dense[kind] = matrix
        nothing = np.zeros(len(rows), dtype=np.int64), np.empty(0, dtype=np.uint8)
        ragged = {each.name: self._ragged(each.name, rows) or nothing for each in schema.ragged}
        times = np.stack([self.event_us[at], self.created_us[at]], axis=1)
        return Block(widened(self.words[at], width), times, np.packbits(valid, axis=1), dense, ragged)

    def keys_of(self, rows: Places) -> Words:
        """See `Source`."""
        return self.words[rows]

    def _filled(self, column: Column, at: slice | Places, valid: Flags) -> npt.NDArray[Any]:
        """The values with NaN, or 0 where there is none, in place of nulls: what is read directly needs no flags."""
        found = self.columns.get(column.name)
        absent = np.nan if column.kind in {"f4", "f8"} else 0
        if not isinstance(found, Dense):
            return np.full(len(valid), absent, dtype=DTYPES[column.kind])
        values = found.values[at]
        return values if found.valid is None else np.where(valid, values, np.asarray(absent, dtype=values.dtype))

    def _ragged(self, name: str, rows: Places) -> tuple[Ints, Bytes] | None:
        found = self.columns.get(name)
        return found.take(rows) if isinstance(found, Ragged) else None


class Batches:
    """Several batches as one, without copying their columns."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        width = max(part.words.shape[1] for part in parts)
        self._parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.words = np.concatenate([widened(part.words, width) for part in parts])
        self.event_us = np.concatenate([part.event_us for part in parts])
        self.created_us = np.concatenate([part.created_us for part in parts])

    def __len__(self) -> int:
        return len(self.words)

    def block(self, rows: Places, schema: Schema, width: int) -> Block:
        """See `Source`; the rows ascend."""
        bounds = np.searchsorted(rows, self._starts)
        found = [
            part.block(rows[begin:end] - start, schema, width)
            for part, start, begin, end in zip(self._parts, self._starts[:-1], bounds[:-1], bounds[1:], strict=True)
            if end > begin
        ]
        return found[0] if len(found) == 1 else _joined(found)

    def keys_of(self, rows: Places) -> Words:
        """See `Source`."""
        return self.words[rows]


def _joined(blocks: Sequence[Block]) -> Block:
    first = blocks[0]
    return Block(
        np.concatenate([block.words for block in blocks]),
        np.concatenate([block.times for block in blocks]),
        np.concatenate([block.flags for block in blocks]),
        {kind: np.concatenate([block.dense[kind] for block in blocks]) for kind in first.dense},
        {
            name: (
                np.concatenate([block.ragged[name][0] for block in blocks]),
                np.concatenate([block.ragged[name][1] for block in blocks]),
            )
            for name in first.ragged
        },
    )


def _span(rows: Places) -> slice | Places:
    """Ascending rows without a gap as a slice, which numpy takes many times faster."""
    gapless = len(rows) and int(rows[-1]) - int(rows[0]) + 1 == len(rows)
    return slice(int(rows[0]), int(rows[-1]) + 1) if gapless else rows


def widened(words: Words, width: int) -> Words:
    """Keys with zero words behind, up to a width."""
    if words.shape[1] == width:
        return words
    if words.shape[1] > width:
        raise CorruptArtefact("a key is wider than the file that it is written into")
    return np.pad(words, ((0, 0), (0, width - words.shape[1])))
