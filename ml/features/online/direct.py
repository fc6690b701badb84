"""Features of many entities as one matrix: what the bid service reads, without a dictionary per row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.core.errors import NoData
from ml.features.online.keys import words_of
from ml.features.online.reader import Reader
from ml.features.online.schema import Flags, Places, Words
from ml.features.online.snapshot import Snapshot

Matrix = npt.NDArray[np.floating[Any]]


class DirectReader:
    """A fixed choice of a view's numeric columns, read as a matrix.

    Args:
        reader: the view.
        columns: names of columns, in the order of the matrix.
    """

    def __init__(self, reader: Reader, columns: Sequence[str]) -> None:
        self._reader, self._columns = reader, tuple(columns)
        self._plan: _Plan | None = None

    def read(self, *keys: Sequence[Any] | npt.NDArray[Any], not_before_us: int | None = None) -> Matrix:
        """The features of entities, from one generation of the view.

        Args:
            keys: the view's keys, a sequence per key column in the order of their names.
            not_before_us: rows whose event timestamp is earlier count as absent (microseconds since 1970).

        Returns:
            Shape (entities, columns), NaN where there is no entity or no value: float32 if all columns are, else
            float64, in which integers above 2^53 are rounded.

        Raises:
            NoData: the view was never written, or lacks a column.
            UsageError: a key is of the wrong type.
            CorruptArtefact: no generation is whole.
        """
        plan = self._current()
        return plan.matrix(*plan.snapshot.locate(plan.words(keys)), not_before_us)

    def prepare(self, *keys: Sequence[Any] | npt.NDArray[Any]) -> PreparedKeys:
        """These keys, looked up once per generation instead of once per read."""
        return PreparedKeys(self, self._current().words(keys))

    def _current(self) -> _Plan:
        snapshot = self._reader.snapshot()
        plan = self._plan
        if plan is None or plan.snapshot is not snapshot:
            if snapshot is None:
                raise NoData(f"{self._reader.folder} holds no features yet", next="materialise the view first")
            self._plan = plan = _Plan(snapshot, self._columns)
        return plan


class PreparedKeys:
    """Keys with the rows that they are found in, found anew when the view has a new generation."""

    def __init__(self, direct: DirectReader, words: Words) -> None:
        self._direct, self._words = direct, words
        self._found: tuple[_Plan, tuple[Places, Flags | None]] | None = None

    def read(self, *, not_before_us: int | None = None) -> Matrix:
        """As `DirectReader.read`, for the keys that were prepared."""
        plan, found = self._direct._current(), self._found
        if found is None or found[0] is not plan:
            self._found = found = plan, plan.snapshot.locate(self._words)
        return plan.matrix(*found[1], not_before_us)


class _Plan:
    """How the columns are gathered from one snapshot."""

    def __init__(self, snapshot: Snapshot, columns: tuple[str, ...]) -> None:
        self.snapshot = snapshot
        schema = snapshot.schema
        known = {column.name: column for column in schema.columns if column.kind != "var"}
        missing = [name for name in columns if name not in known]
        if missing:
            raise NoData(f"the view has no number called {missing[0]}", next=f"choose from {', '.join(known)}")
        self._types, self._names = schema.key_types, [name for name, _ in schema.keys]
        kinds = {known[name].kind for name in columns}
        self._dtype = np.float32 if kinds == {"f4"} else np.float64
        self._parts = []
        for kind in sorted(kinds):
            group = [column.name for column in schema.groups[kind]]
            targets = [number for number, name in enumerate(columns) if known[name].kind == kind]
            self._parts.append((snapshot.dense[kind], np.array([group.index(columns[n]) for n in targets]), targets))
        whole = len(kinds) == 1 and [column.name for column in schema.groups[next(iter(kinds))]] == list(columns)
        whole = whole and kinds <= {"f4", "f8"} and len(snapshot.times) > 0
        self._whole = snapshot.dense[next(iter(kinds))] if whole else None
        counted = [name for name in columns if known[name].kind not in {"f4", "f8"} and name in snapshot.manifest.nulls]
        self._nulls = [(columns.index(name), schema.places[name]) for name in counted]

    def words(self, keys: Sequence[Any]) -> Words:
        return words_of(self._types, keys, names=self._names)

    def matrix(self, rows: Places, own: Flags | None, not_before_us: int | None) -> Matrix:
        """The rows' values; NaN for those that are not the key's own, or too old."""
        if not_before_us is not None and len(self.snapshot.times):
            recent: Flags = self.snapshot.times[rows, 0] >= not_before_us
            own = recent if own is None else own & recent
        found: Matrix = self._gathered(rows) if self._whole is None else self._whole.take(rows, axis=0)
        if own is not None:
            found[~own] = np.nan
        return found

    def _gathered(self, rows: Places) -> Matrix:
        width = sum(len(targets) for _, _, targets in self._parts)
        found: Matrix = np.full((len(rows), width), np.nan, dtype=self._dtype)
        if not len(self.snapshot.times):
            return found
        for values, places, targets in self._parts:
            found[:, targets] = values[rows[:, None], places]
        if self._nulls:
            valid = self.snapshot.valid(rows)
            for target, place in self._nulls:
                found[~valid[:, place], target] = np.nan
        return found
