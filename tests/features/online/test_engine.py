"""Writing and reading a view: newest rows, appended and rewritten files, several generations, keys, deletion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.core.errors import SchemaBreak, UsageError
from ml.features.online import snapshot as snapshots
from ml.features.online.keys import words_of, words_of_arrow
from ml.features.online.reader import Reader
from ml.features.online.schema import Batches, Column, Dense, KeyType, Rows, Schema
from ml.features.online.writer import compact, delete, drop, upsert
from tests.features.online.batches import COLUMNS, batch, put, schema_of, versions

ROOT = Path(__file__).parents[3]


def base_of(folder: Path) -> int:
    found = Reader(folder).snapshot()
    assert found is not None
    return found.manifest.base


def test_a_small_change_is_appended_and_a_large_one_written_anew(folder: Path) -> None:
    put(folder, range(100), 1)
    put(folder, range(20), 2)
    assert base_of(folder) == 1
    put(folder, [200, 201], 2)
    assert base_of(folder) == 1
    assert versions(folder, [0, 19, 20, 99, 200, 202]) == [2, 2, 1, 1, 2, None]
    put(folder, range(90), 3)
    assert base_of(folder) == 4
    assert versions(folder, [0, 89, 90, 99, 200]) == [3, 3, 1, 1, 2]


@pytest.mark.parametrize("key", ["int", "text"])
def test_many_writes_in_any_order_end_with_the_newest_rows(key: KeyType, folder: Path) -> None:
    rng = np.random.default_rng(0)
    newest: dict[Any, int] = {}
    for version in rng.permutation(np.arange(1, 80)).tolist():
        chosen = rng.choice(300, size=rng.integers(1, 30), replace=False).tolist()
        keys = [f"h{number}" * 1 for number in chosen] if key == "text" else chosen
        put(folder, keys, version, key=key)
        newest |= {each: max(version, newest.get(each, 0)) for each in keys}
    everyone = [f"h{number}" for number in range(300)] if key == "text" else list(range(300))
    assert versions(folder, everyone) == [newest.get(each) for each in everyone]
    compact(folder)
    assert versions(folder, everyone) == [newest.get(each) for each in everyone]
    held = Reader(folder).snapshot()
    assert held is not None
    assert held.manifest.rows == held.manifest.live == len(newest)


def test_a_batch_without_a_newer_row_writes_nothing(folder: Path) -> None:
    put(folder, [1, 2], 5)
    before = sorted(path.name for path in folder.iterdir())
    assert upsert(folder, schema_of(), batch([1, 2], 4)) is None
    assert sorted(path.name for path in folder.iterdir()) == before


def test_several_batches_are_written_as_one(folder: Path) -> None:
    long = ["h" + "0" * 20 + str(number) for number in range(5)]
    parts = [
        batch([f"h{number}" for number in range(40)], 2, key="text"),
        batch(long, 1, key="text"),
        batch([f"h{number}" for number in range(30, 60)], 3, key="text"),
        batch(["h0", "h1"], 1, key="text"),
    ]
    upsert(folder, schema_of("text"), Batches(parts))
    assert versions(folder, [f"h{number}" for number in range(61)]) == [2] * 30 + [3] * 30 + [None]
    assert versions(folder, long) == [1] * 5


def test_an_empty_batch_makes_an_empty_view(folder: Path) -> None:
    put(folder, [], 1)
    assert versions(folder, [1]) == [None]
    put(folder, [1], 1)
    assert versions(folder, [1]) == [1]


def test_the_key_may_grow_longer_with_a_later_batch(folder: Path) -> None:
    put(folder, ["h1", "h2"], 1, key="text")
    long = "h" + "0" * 20 + "3"
    put(folder, [long], 2, key="text")
    assert versions(folder, ["h1", "h2", long, "h" + "0" * 30 + "3"]) == [1, 1, 2, None]


def test_keys_with_one_hash_are_told_apart(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (snapshots, __import__("ml.features.online.writer", fromlist=["hashed"])):
        monkeypatch.setattr(module, "hashed", lambda words: np.zeros(len(words), dtype=np.uint64))
    keys = [f"h{number:012d}" for number in range(20)]
    put(folder, keys[:15], 1, key="text")
    put(folder, keys[3:5], 2, key="text")
    assert versions(folder, keys) == [1] * 3 + [2] * 2 + [1] * 10 + [None] * 5


def test_a_deleted_entity_is_forgotten_and_may_come_back(folder: Path) -> None:
    put(folder, range(10), 5)
    words = words_of(("int",), [[3, 4, 77]], names=["id"])
    assert delete(folder, words) == 2
    assert versions(folder, [2, 3, 4]) == [5, None, None]
    put(folder, [3], 1)
    assert versions(folder, [2, 3, 4]) == [5, 1, None]
    assert delete(folder / "other", words) == 0


def test_a_dropped_view_is_gone_and_who_has_it_open_keeps_it(folder: Path) -> None:
    put(folder, [1], 1)
    reader = Reader(folder)
    held = reader.snapshot()
    assert held is not None
    drop(folder)
    drop(folder)
    assert not folder.exists()
    assert held.values("version", np.array([0])).tolist() == [1]
    assert versions(folder, [1], reader=reader) == [None]


def test_other_columns_keep_what_is_the_same_and_other_keys_are_refused(folder: Path) -> None:
    put(folder, [1, 2], 1)
    other = Schema((("id", "int"),), (COLUMNS[1], Column("entity", "f4", "FLOAT"), Column("new", "i4", "INT32")))
    words = words_of(("int",), [[2]], names=["id"])
    two, one = np.array([2], dtype=np.int64), np.array([1], dtype=np.int64)
    upsert(folder, other, Rows(words, two, two, {"new": Dense(np.array([7], dtype=np.int32))}))
    held = Reader(folder).snapshot()
    assert held is not None
    rows = held.find(words_of(("int",), [[1, 2]], names=["id"]))
    assert held.valid(rows).tolist() == [[True, False, False], [False, False, True]]
    assert held.values("version", rows)[:1].tolist() == [1.0]
    with pytest.raises(SchemaBreak, match=r"keyed by id \(int\), not by id \(text\)"):
        upsert(folder, schema_of("text"), batch(["h1"], 3, key="text"))
    assert held.values("new", rows).tolist() == [0, 7]
    assert one.tolist() == [1]


def test_a_reader_sees_each_generation_whole_while_a_writer_goes_on(folder: Path) -> None:
    keys = list(range(50))
    put(folder, keys, 1)
    seen: list[set[int | None]] = []
    stop = threading.Event()

    def read() -> None:
        reader = Reader(folder)
        while not stop.is_set():
            seen.append(set(versions(folder, keys, reader=reader)))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for version in range(2, 20):
            put(folder, keys, version)
    finally:
        stop.set()
        thread.join()
    assert all(len(each) == 1 for each in seen), "a mixture of two writes was read"
    order = [version for each in seen for version in each if version is not None]
    assert order == sorted(order)


READING = """
import json, sys
from pathlib import Path
from ml.features.online.reader import Reader
from tests.features.online.batches import versions

folder, reader, seen = Path(sys.argv[1]), Reader(Path(sys.argv[1])), []
print("ready", flush=True)
while not seen or seen[-1] != [int(sys.argv[2])]:
    now = sorted(set(versions(folder, range(300), reader=reader)))
    if not seen or seen[-1] != now:
        seen.append(now)
print(json.dumps(seen))
"""


def test_reading_processes_see_whole_generations_in_their_order(folder: Path) -> None:
    put(folder, range(300), 1)
    command = [sys.executable, "-c", READING, str(folder), "12"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    readers = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for reader in readers:
            assert reader.stdout is not None and reader.stdout.readline() == "ready\n"
        for version in range(2, 13):
            put(folder, range(300), version)
        answers = [reader.communicate(timeout=120)[0] for reader in readers]
    finally:
        for reader in readers:
            reader.kill()
    for answer in answers:
        seen = json.loads(answer)
        assert all(len(each) == 1 for each in seen), "a mixture of two writes was read"
        assert seen == sorted(seen) and seen[-1] == [12]


TEXT = st.text(max_size=40)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXT, st.integers(-(2**63), 2**63 - 1), TEXT), min_size=1, max_size=20, unique=True))
def test_keys_from_python_and_from_arrow_are_the_same_and_no_two_are_equal(rows: list[tuple[str, int, str]]) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)]
    types: list[tuple[KeyType, ...]] = [("text", "int", "text")]
    for kinds in types:
        python = words_of(kinds, columns, names=["a", "b", "c"])
        arrow = words_of_arrow(kinds, [pa.array(c) for c in columns], names=["a", "b", "c"])
        assert (python == arrow).all()
        assert len({row.tobytes() for row in python}) == len(rows)


@pytest.mark.parametrize(
    ("types", "columns"),
    [
        (("text",), [["a", 1]]),
        (("text",), [[b"a"]]),
        (("text",), [[None]]),
        (("int",), [["1"]]),
        (("int",), [[1.0]]),
        (("int",), [[True]]),
        (("int",), [[2**63]]),
        (("text", "int"), [["a"], ["1"]]),
        (("text", "int"), [["a"], [True]]),
        (("text", "int"), [[1], [1]]),
        (("bytes",), [["a"]]),
    ],
    ids=str,
)
def test_a_key_of_the_wrong_type_is_refused(types: tuple[KeyType, ...], columns: list[Any]) -> None:
    with pytest.raises(UsageError, match="key"):
        words_of(types, columns, names=["x", "y"][: len(types)])


@pytest.mark.parametrize(
    ("one", "other"),
    [(["a\0"], ["a"]), (["a\x1fb", "c"], ["a", "b\x1fc"]), (["x" * 40], ["x" * 41]), (["\0"], ["00"]), ([""], ["\0"])],
)
def test_keys_that_look_alike_are_not_equal(one: list[str], other: list[str]) -> None:
    def key(parts: list[str]) -> bytes:
        return words_of(("text",) * len(parts), [[part] for part in parts], names=["a", "b"]).tobytes().rstrip(b"\0")

    assert key(one) != key(other)


def test_bytes_are_keys_too(folder: Path) -> None:
    kinds: tuple[KeyType, ...] = ("bytes",)
    values = [b"", b"\0", b"a", b"\xff" * 50]
    words = words_of(kinds, [values], names=["id"])
    assert (words == words_of_arrow(kinds, [pa.array(values)], names=["id"])).all()
    assert len({row.tobytes() for row in words}) == 4
