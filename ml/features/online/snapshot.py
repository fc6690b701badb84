"""One generation of a view, mapped into memory: rows by key, and the values of rows."""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.core.errors import CorruptArtefact
from ml.features.online.keys import hashed
from ml.features.online.manifest import Manifest, Piece
from ml.features.online.schema import DTYPES, Block, Bytes, Flags, Places, Ragged, Schema, Words, widened

Checked = tuple[str, Piece]
"""A piece of a file that was found to match its checksum."""
_PART_BYTES = 1 << 24


class Snapshot:
    """A view's rows at one generation. Nothing that a writer does later changes what it gives."""

    def __init__(self, folder: Path, manifest: Manifest, *, checked: Collection[Checked] = ()) -> None:
        """Map the files and compare them with their checksums, but for the pieces that were `checked` before.

        Raises:
            FileNotFoundError: a file is gone, as those of a former generation go.
            CorruptArtefact: a file is damaged.
        """
        self.manifest, self.schema = manifest, manifest.schema
        mapped = {name: _mapped(folder / name, manifest.size(name)) for name in manifest.pieces}
        self.checked = frozenset((name, piece) for name, pieces in manifest.pieces.items() for piece in pieces)
        for name, (begin, length, checksum) in sorted(self.checked - frozenset(checked)):
            if _crc(mapped[name][begin : begin + length]) != checksum:
                raise CorruptArtefact(f"{folder / name} does not match its checksum")
        self._map(mapped)

    def _map(self, mapped: Mapping[str, Bytes]) -> None:
        manifest, base = self.manifest, self.manifest.base
        hashes, rows = manifest.index
        self._hashes = mapped[hashes].view("<u8")
        self._rows = mapped[rows].view("<u4")
        self._keys = mapped[f"{base}.keys"].view("<u8").reshape(-1, manifest.width) if manifest.width > 1 else None
        self.times = mapped[f"{base}.times"].view("<i8").reshape(-1, 2)
        self.flags = mapped[f"{base}.flags"].reshape(-1, self.schema.flag_bytes)
        self.dense: dict[str, npt.NDArray[Any]] = {
            kind: mapped[f"{base}.{kind}"].view(DTYPES[kind]).reshape(-1, len(columns))
            for kind, columns in self.schema.groups.items()
        }
        self._ragged = {
            column.name: (mapped[f"{base}.{number}.ends"].view("<i8"), mapped[f"{base}.{number}.data"])
            for number, column in enumerate(self.schema.ragged)
        }

    def find(self, words: Words) -> Places:
        """The row of each key, shape (n,); -1 where there is none."""
        row, same = self.locate(words)
        found = row.astype(np.intp)
        if same is not None:
            found[~same] = -1
        return found

    def locate(self, words: Words) -> tuple[npt.NDArray[Any], Flags | None]:
        """A row for each key, and for which of them it is the key's own; None where it is for all."""
        width = self.manifest.width
        if not len(self._hashes):
            return np.zeros(len(words), dtype=np.intp), np.zeros(len(words), dtype=np.bool_)
        if words.shape[1] > width:
            row, same = self.locate(np.ascontiguousarray(words[:, :width]))
            short = (words[:, width:] == 0).all(axis=1)
            return row, short if same is None else same & short
        words = widened(words, width)
        wanted = hashed(words)
        place = self._hashes.searchsorted(wanted)
        row = self._rows.take(place, mode="clip")
        if self._keys is None:
            same = self._hashes.take(place, mode="clip") == wanted
        else:
            equal = self._keys.take(row, axis=0) == words
            if equal.all():
                return row, None
            same = self._settled(self._keys, words, wanted, place, row, equal.all(axis=1))
        return row, None if same.all() else same

    def _settled(
        self,
        keys: Words,
        words: Words,
        wanted: npt.NDArray[np.uint64],
        place: Places,
        row: npt.NDArray[Any],
        same: Flags,
    ) -> Flags:
        """Of several keys with one hash, go on to the next until it is the one; changes `row` and `same`."""
        for number in np.flatnonzero(~same):
            at = int(place[number])
            while at < len(self._hashes) and self._hashes[at] == wanted[number]:
                if (keys[self._rows[at]] == words[number]).all():
                    row[number], same[number] = self._rows[at], True
                    break
                at += 1
        return same

    @cached_property
    def live(self) -> tuple[npt.NDArray[np.uint64], Places]:
        """The hashes of all entities, ascending, and the row of each."""
        return self._hashes, self._rows.astype(np.intp)

    def keys_of(self, rows: Places) -> Words:
        """The keys of rows; where a key is a single word, of live rows only."""
        if self._keys is not None:
            return self._keys[rows]
        hashes, live = self.live
        by_row = np.zeros(self.manifest.rows, dtype=np.uint64)
        by_row[live] = hashes
        return by_row[rows][:, None]

    def valid(self, rows: Places) -> Flags:
        """Which columns have a value, shape (rows, columns)."""
        return np.unpackbits(self.flags[rows], axis=1, count=len(self.schema.columns)).view(np.bool_)

    def values(self, name: str, rows: Places) -> npt.NDArray[Any]:
        """A column of fixed width, shape (rows,); NaN, or 0 where there is none, for nulls."""
        column = self.schema.columns[self.schema.places[name]]
        number = self.schema.groups[column.kind].index(column)
        found: npt.NDArray[Any] = self.dense[column.kind][rows, number]
        return found

    def ragged(self, name: str) -> Ragged:
        """A column of any length, all rows of it."""
        ends, data = self._ragged[name]
        starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1]]) if len(ends) else ends
        return Ragged(starts, ends - starts, data)

    def bytes_of(self, name: str, rows: Places) -> list[bytes]:
        """The bytes of a few rows in a column of any length."""
        ends, data = self._ragged[name]
        return [data[ends[row - 1] if row else 0 : ends[row]].tobytes() for row in rows.tolist()]

    def block(self, rows: Places, schema: Schema, width: int) -> Block:
        """See `Source`; a column that had another name or another type is null."""
        own = {column.name: column for column in self.schema.columns}
        kept = {column.name for column in schema.columns if own.get(column.name) == column}
        mine = self.valid(rows)
        valid = np.zeros((len(rows), len(schema.columns)), dtype=np.bool_)
        for name in kept:
            valid[:, schema.places[name]] = mine[:, self.schema.places[name]]
        dense = {}
        for kind, columns in schema.groups.items():
            if self.schema.groups.get(kind) == columns:
                dense[kind] = self.dense[kind][rows]
                continue
            absent = np.nan if kind in {"f4", "f8"} else 0
            dense[kind] = np.full((len(rows), len(columns)), absent, dtype=DTYPES[kind])
            for number, column in enumerate(columns):
                if column.name in kept:
                    dense[kind][:, number] = self.values(column.name, rows)
        nothing = np.zeros(len(rows), dtype=np.int64), np.empty(0, dtype=np.uint8)
        ragged = {c.name: self.ragged(c.name).take(rows) if c.name in kept else nothing for c in schema.ragged}
        words = widened(self.keys_of(rows), width)
        return Block(words, self.times[rows], np.packbits(valid, axis=1), dense, ragged)


def _mapped(path: Path, length: int) -> Bytes:
    """The first bytes of a file, read only."""
    with path.open("rb") as file:
        if not length:
            return np.empty(0, dtype=np.uint8)
        try:
            return np.frombuffer(mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ), dtype=np.uint8)
        except ValueError:
            raise CorruptArtefact(f"{path} is shorter than it was written") from None


def _crc(data: Bytes) -> int:
    found = 0
    for begin in range(0, len(data), _PART_BYTES):
        found = zlib.crc32(data[begin : begin + _PART_BYTES].data, found)
    return found
