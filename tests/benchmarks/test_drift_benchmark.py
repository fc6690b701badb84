"""The benchmark of drift judges what it says it judges."""

from __future__ import annotations

from pathlib import Path

from benchmarks.drift import MOVED, child


def test_ours_finds_every_column_that_moved_and_no_other(tmp_path: Path) -> None:
    child("data", tmp_path, 10_000)
    found = child("ours", tmp_path, 10_000)
    assert found["moved"] == len(MOVED)
    assert found["false"] == 0
