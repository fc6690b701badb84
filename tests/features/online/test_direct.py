"""The direct read: the same values as row by row, whatever the columns, and right after every write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ml.core.errors import NoData, UsageError
from ml.features.online.direct import DirectReader
from ml.features.online.keys import words_of
from ml.features.online.reader import Reader
from ml.features.online.schema import NEVER, Column, Dense, Rows, Schema
from ml.features.online.writer import upsert

MIXED = tuple(
    Column(f"{kind}_{number}", kind, "FLOAT") for number in range(3) for kind in ("f4", "f8", "i4", "i8", "b1")
)
FLOATS = tuple(Column(f"f{number}", "f4", "FLOAT") for number in range(20))


def write(folder: Path, columns: tuple[Column, ...], keys: list[str], *, at: int, seed: int) -> dict[str, Dense]:
    rng = np.random.default_rng(seed)
    values = {
        column.name: Dense(rng.integers(0, 100, len(keys)).astype(_NUMPY[column.kind]), rng.random(len(keys)) < 0.8)
        for column in columns
    }
    times = np.full(len(keys), at, dtype=np.int64)
    words = words_of(("text",), [keys], names=["id"])
    upsert(folder, Schema((("id", "text"),), columns), Rows(words, times, np.full(len(keys), NEVER), values))
    return values


_NUMPY = {"f4": np.float32, "f8": np.float64, "i4": np.int32, "i8": np.int64, "b1": np.uint8}


def expected(values: dict[str, Dense], names: list[str], rows: list[int]) -> np.ndarray:
    columns = [np.where(values[name].valid, values[name].values.astype(float), np.nan) for name in names]
    return np.array([[np.nan if row < 0 else column[row] for column in columns] for row in rows])


@pytest.mark.parametrize(("columns", "dtype"), [(MIXED, np.float64), (FLOATS, np.float32)], ids=["mixed", "float32"])
def test_values_nulls_and_unknown_entities(columns: tuple[Column, ...], dtype: type, folder: Path) -> None:
    keys = [f"h{number}" for number in range(40)]
    values = write(folder, columns, keys, at=1, seed=0)
    everything = [column.name for column in columns]
    for names in (everything, everything[::-1], everything[3:5], everything[:1]):
        direct = DirectReader(Reader(folder), names)
        for rows in ([3, -1, 7, 3], [39], [-1], list(range(40))):
            asked = [keys[row] if row >= 0 else "nobody" for row in rows]
            for found in (direct.read(asked), direct.prepare(asked).read()):
                np.testing.assert_array_equal(found, expected(values, names, rows))
                assert found.dtype == (dtype if names == everything or columns is FLOATS else found.dtype)
    assert DirectReader(Reader(folder), everything).read([]).shape == (0, len(columns))


def test_prepared_keys_stay_right_when_a_writer_moves_on(folder: Path) -> None:
    keys = [f"h{number}" for number in range(40)]
    names = [column.name for column in FLOATS]
    write(folder, FLOATS, keys[:30], at=1, seed=1)
    direct = DirectReader(Reader(folder), names)
    prepared = direct.prepare(keys)
    assert np.isnan(prepared.read()[30:]).all()
    small = write(folder, FLOATS, keys[:3] + keys[30:32], at=2, seed=2)
    np.testing.assert_array_equal(prepared.read()[[0, 1, 2, 30, 31]], expected(small, names, list(range(5))))
    large = write(folder, FLOATS, keys[::-1], at=3, seed=3)
    np.testing.assert_array_equal(prepared.read(), expected(large, names, list(range(40)))[::-1])
    np.testing.assert_array_equal(prepared.read(), direct.read(keys))


def test_rows_older_than_asked_for_count_as_absent(folder: Path) -> None:
    write(folder, FLOATS, ["h1", "h2", "h3", "h4"], at=10, seed=1)
    write(folder, FLOATS, ["h2"], at=20, seed=2)
    direct = DirectReader(Reader(folder), ["f0", "f1", "f2"])
    absent = np.isnan(direct.read(["h1", "h2", "h9"], not_before_us=20)).all(axis=1)
    assert absent.tolist() == [True, False, True]
    assert not np.isnan(direct.read(["h1"], not_before_us=10)).all()


def test_a_direct_reader_imports_neither_feast_nor_pandas() -> None:
    code = "import sys, ml.features.online_place; print(' '.join({name.split('.')[0] for name in sys.modules}))"
    root = Path(__file__).parents[3]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert {"feast", "pandas", "duckdb", "ibis"} & set(run.stdout.split()) == set()


def test_what_cannot_be_read_is_said(folder: Path) -> None:
    reader = Reader(folder)
    with pytest.raises(NoData, match="holds no features yet"):
        DirectReader(reader, ["f0"]).read(["h1"])
    write(folder, FLOATS, ["h1"], at=1, seed=1)
    with pytest.raises(NoData, match="no number called price"):
        DirectReader(reader, ["f0", "price"]).read(["h1"])
    with pytest.raises(UsageError, match="the key id is to be text: 7"):
        DirectReader(reader, ["f0"]).read([7])
