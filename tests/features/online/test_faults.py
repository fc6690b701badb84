"""Killed at any step, a full disk, damaged files, two writers, another format: nothing lost, nothing mixed."""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from ml.core.digests import canonical_json
from ml.core.errors import CorruptArtefact, StoreUnavailable
from ml.features.online.files import one_writer
from ml.features.online.reader import Reader
from ml.features.online.writer import STEPS, delete, upsert
from tests.features.online.batches import batch, put, schema_of, versions

ROOT = Path(__file__).parents[3]
ENTITIES = range(100)
COMMITTED = {"swapped", "cleared"}


def in_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("before", "first", "last"),
    [(0, 0, 100), (1, 0, 20), (1, 0, 90)],
    ids=["the first write", "appended", "written anew"],
)
def test_killed_at_any_step_the_old_rows_or_the_new_ones_are_there_and_writing_goes_on(
    before: int, first: int, last: int, folder: Path, tmp_path: Path
) -> None:
    if before:
        put(folder, ENTITIES, before)
    arguments = (str(folder), str(tmp_path / "out"), str(first), str(last), "2")
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killed_writer.py")), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    died = json.loads(run.stdout)
    assert set(STEPS) < set(died)
    old = [before or None] * 100
    new = [2 if first <= number < last else before or None for number in ENTITIES]
    for place, code in died.items():
        assert code == -signal.SIGKILL, f"the writer was to be killed at {place}"
        view = tmp_path / "out" / place
        assert versions(view, ENTITIES) == (new if place in COMMITTED else old), place
        put(view, range(5), 3)
        assert versions(view, [0, 4]) == [3, 3], place
        put(view, range(first, last), 4)
        assert versions(view, ENTITIES) == [4 if first <= n < last else (3 if n < 5 else before) for n in ENTITIES], (
            place
        )


FULL_DISK = """
    import resource, signal, sys
    from pathlib import Path
    from tests.features.online.batches import put
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    put(Path(sys.argv[1]), range(0, 5000), 2)
"""


@pytest.mark.parametrize("allowed", [10, 1_000, 20_000, 60_000])
def test_on_a_full_disk_what_was_served_is_served_and_the_error_says_so(allowed: int, folder: Path) -> None:
    put(folder, ENTITIES, 1)
    run = in_python(FULL_DISK, folder, allowed)
    assert run.returncode == 1
    assert "StoreUnavailable" in run.stderr
    assert "the disk is full" in run.stderr and "what was served before is served still" in run.stderr
    assert versions(folder, ENTITIES) == [1] * 100
    put(folder, range(5000), 2)
    assert versions(folder, [0, 4999]) == [2, 2]


def test_a_second_writer_is_refused_and_a_dead_one_holds_nothing(folder: Path) -> None:
    put(folder, ENTITIES, 1)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl,sys; f=open(sys.argv[1],'ab'); fcntl.flock(f,2); print('held',flush=True); input()",
            str(folder / "LOCK"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    try:
        with pytest.raises(StoreUnavailable, match=r"another process is writing into .*; nothing was written"):
            put(folder, ENTITIES, 2)
        assert versions(folder, [1]) == [1]
    finally:
        holder.kill()
        holder.communicate()
    put(folder, ENTITIES, 2)
    assert versions(folder, [1]) == [2]


def test_two_writers_in_one_process_exclude_each_other_too(folder: Path) -> None:
    put(folder, ENTITIES, 1)
    with one_writer(folder), pytest.raises(StoreUnavailable, match="another process is writing"):
        put(folder, ENTITIES, 2)


def spoil(path: Path) -> None:
    """Turn a bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def remove(path: Path) -> None:
    path.unlink()


def files_of(folder: Path, generation: int) -> list[str]:
    return [*json.loads((folder / f"{generation:010d}.json").read_text())["view"]["pieces"], f"{generation:010d}.json"]


@pytest.mark.parametrize("damage", [spoil, truncate, remove])
@pytest.mark.parametrize("changed", [20, 90], ids=["appended", "written anew"])
def test_of_a_damaged_generation_the_one_before_is_served_and_it_is_said(
    changed: int, damage: Callable[[Path], None], folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder, ENTITIES, 1)
    put(folder, range(changed), 2)
    whole = [2 if number < changed else 1 for number in ENTITIES]
    tried = 0
    for name in files_of(folder, 2):
        view = tmp_path / name.replace(".", "_")
        shutil.copytree(folder, view)
        if damage is not remove and name in set(files_of(folder, 1)):
            # A file of both generations: damage to the part of the later one, which lies at its end.
            continue
        damage(view / name)
        caplog.clear()
        reader = Reader(view)
        with caplog.at_level(logging.ERROR):
            if damage is remove and name in set(files_of(folder, 1)):
                with pytest.raises(CorruptArtefact, match="there is no earlier generation"):
                    reader.snapshot()
                continue
            assert versions(view, ENTITIES, reader=reader) == [1] * 100, name
        tried += 1
        assert reader.damage is not None
        assert "generation 1, the one before, is served" in str(reader.damage)
        assert [record.getMessage() for record in caplog.records] == [str(reader.damage)]
        put(view, range(changed), 3)
        assert reader.snapshot() is not None
        assert reader.damage is None
        assert versions(view, ENTITIES, reader=reader) == [3 if number < changed else 1 for number in ENTITIES]
    assert tried >= (2 if changed == 20 else 8)
    assert versions(folder, ENTITIES) == whole


def test_damage_in_what_was_appended_serves_the_rows_before_it(folder: Path) -> None:
    put(folder, ENTITIES, 1)
    put(folder, range(20), 2)
    times = folder / "1.times"
    data = bytearray(times.read_bytes())
    data[-1] ^= 1
    times.write_bytes(data)
    reader = Reader(folder)
    assert versions(folder, ENTITIES, reader=reader) == [1] * 100
    assert reader.damage is not None and "1.times does not match its checksum" in str(reader.damage)


def test_damage_in_a_base_serves_the_base_before_it(folder: Path) -> None:
    put(folder, ENTITIES, 1)
    put(folder, ENTITIES, 2)
    put(folder, range(10), 3)
    spoil_first = folder / "2.f4"
    data = bytearray(spoil_first.read_bytes())
    data[0] ^= 1
    spoil_first.write_bytes(data)
    assert versions(folder, ENTITIES) == [1] * 100


def test_without_a_whole_generation_reading_and_writing_say_so(folder: Path) -> None:
    put(folder, ENTITIES, 1)
    spoil(folder / "1.times")
    sentence = r"are damaged: .*1\.times does not match its checksum; there is no earlier generation to serve; move the"
    with pytest.raises(CorruptArtefact, match=sentence):
        Reader(folder).snapshot()
    with pytest.raises(CorruptArtefact, match=sentence):
        put(folder, ENTITIES, 2)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"nonsense", b"0000000009.json"])
def test_a_damaged_current_file_does_not_stop_readers_nor_writers(content: bytes, folder: Path) -> None:
    put(folder, ENTITIES, 1)
    put(folder, ENTITIES, 2)
    (folder / "CURRENT").write_bytes(content)
    assert versions(folder, [0]) == [2]
    put(folder, ENTITIES, 3)
    assert versions(folder, [0]) == [3]


def test_a_view_in_another_format_is_named_and_left_alone(folder: Path) -> None:
    put(folder, ENTITIES, 1)
    manifest = folder / "0000000001.json"
    held = json.loads(manifest.read_text())
    manifest.write_bytes(canonical_json({**held, "format": 0}))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    sentence = r"holds features in format 0, and this version reads format 1; nothing of it was changed.*materialise"
    for act in (
        lambda: Reader(folder).snapshot(),
        lambda: put(folder, ENTITIES, 2),
        lambda: delete(folder, batch([1], 1).words),
    ):
        with pytest.raises(CorruptArtefact, match=sentence):
            act()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="could not be written"):
        upsert(tmp_path / "store" / "view", schema_of(), batch([1], 1))


def test_the_disk_holds_no_more_than_the_generations_that_are_kept(folder: Path) -> None:
    for version in range(1, 30):
        put(folder, range(version % 7 * 10 + 5), version)
    manifests = sorted(path.name for path in folder.glob("*.json"))
    assert 2 <= len(manifests) <= 3
    named = {name for each in manifests for name in files_of(folder, int(each.split(".")[0]))}
    assert {path.name for path in folder.iterdir()} == named | {"CURRENT", "LOCK"}


def test_the_limit_of_file_sizes_is_not_set_in_this_process() -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
