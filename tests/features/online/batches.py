"""Small batches for the engine: each row's values tell its entity and the version that wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ml.features.online.keys import words_of
from ml.features.online.reader import Reader
from ml.features.online.schema import NEVER, Column, Dense, KeyType, Ragged, Rows, Schema
from ml.features.online.writer import upsert

COLUMNS = (Column("entity", "i8", "INT64"), Column("version", "f4", "FLOAT"), Column("said", "var", "STRING"))


def schema_of(key: KeyType = "int") -> Schema:
    return Schema((("id", key),), COLUMNS)


def batch(keys: Sequence[Any], version: int, *, event: int | None = None, key: KeyType = "int") -> Rows:
    """Rows of entities at a version, which is their event timestamp too unless one is given."""
    numbers = np.array([int(str(each).lstrip("h")) for each in keys], dtype=np.int64)
    at = np.full(len(keys), version if event is None else event, dtype=np.int64)
    said = Ragged.of([f"{number} at {version}".encode() for number in numbers])
    columns: dict[str, Dense | Ragged] = {
        "entity": Dense(numbers),
        "version": Dense(np.full(len(keys), version, dtype=np.float32)),
        "said": said,
    }
    return Rows(words_of((key,), [list(keys)], names=["id"]), at, np.full(len(keys), NEVER), columns)


def put(folder: Path, keys: Sequence[Any], version: int, **options: Any) -> None:
    """Write a batch."""
    key = options.get("key", "int")
    upsert(folder, schema_of(key), batch(keys, version, **options))


def versions(folder: Path, keys: Sequence[Any], *, reader: Reader | None = None) -> list[int | None]:
    """The version that is served of each entity; None where there is none. Every column must tell the same."""
    snapshot = (reader or Reader(folder)).snapshot()
    if snapshot is None:
        return [None] * len(keys)
    rows = snapshot.find(words_of(snapshot.schema.key_types, [list(keys)], names=["id"]))
    found: list[int | None] = []
    for key, row in zip(keys, rows, strict=True):
        if row < 0:
            found.append(None)
            continue
        at = np.array([row])
        version = int(snapshot.values("version", at)[0])
        number = int(str(key).lstrip("h"))
        assert int(snapshot.values("entity", at)[0]) == number
        assert snapshot.bytes_of("said", at) == [f"{number} at {version}".encode()]
        found.append(version)
    return found
