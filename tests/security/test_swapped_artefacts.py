"""S8: what is loaded are the very bytes that were verified, however the files change between check and load."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from ml.core.digests import Digest
from ml.core.errors import CorruptArtefact, StoreUnavailable
from ml.lake.local import LocalBlobs
from ml.promotion.bundle import load_models, read_bundle, write_bundle
from ml.serving.bundle_cache import cached_bundle
from tests.promotion.test_bundle import KEYS, META, ROWS, TYPES, artefacts

GOOD = [0.125, 0.25, 0.5]
REFUSED = (CorruptArtefact, StoreUnavailable)
RACES = 150


def in_place(path: Path, data: bytes) -> None:
    """Over the same file, so that who has it open sees it change."""
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()


def by_rename(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.evil")
    beside.write_bytes(data)
    beside.replace(path)


def by_link(path: Path, data: bytes) -> None:
    elsewhere = path.parent / f"{path.name}.target"
    elsewhere.write_bytes(data)
    path.unlink()
    path.symlink_to(elsewhere)


def by_pipe(path: Path, data: bytes) -> None:
    path.unlink()
    os.mkfifo(path)


def taken_away(path: Path, data: bytes) -> None:
    path.unlink()


def grown(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data * 1000)


SWAPS: Mapping[str, Callable[[Path, bytes], None]] = {
    "in place": in_place,
    "by rename": by_rename,
    "by a link": by_link,
    "by a pipe": by_pipe,
    "taken away": taken_away,
    "grown": grown,
}
EVIL: Mapping[str, bytes] = {
    "value/model.txt": b"9.5",  # as long as the good one: no size gives it away
    "golden.json": artefacts(9.5)["golden.json"],
    "manifest.json": b"{}",
    "signature.json": b"{}",
}


class Swapping:
    """A folder of blobs in which somebody swaps a file just before or after the nth time that something is asked of it."""

    def __init__(self, under: LocalBlobs, at: int, swap: Callable[[], None]) -> None:
        self._under, self._at, self._swap = under, at, swap
        self.asked, self.swapped = 0, False

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self._under, name)
        if not callable(asked):
            return asked

        def then(*arguments: Any, **named: Any) -> Any:
            if self.asked == self._at and not self.swapped:
                self.swapped = True
                self._swap()
            self.asked += 1
            return asked(*arguments, **named)

        return then


@pytest.fixture
def stored(tmp_path: Path) -> tuple[LocalBlobs, Digest]:
    blobs = LocalBlobs(tmp_path / "blobs")
    return blobs, write_bundle(blobs, artefacts=artefacts(), meta=META, keys=KEYS)


def asked_for(blobs: LocalBlobs, digest: Digest) -> int:
    """How often the store is asked while a sound bundle is read."""
    watching = Swapping(blobs, -1, lambda: None)
    read_bundle(watching, digest, KEYS)  # type: ignore[arg-type]
    return watching.asked


@pytest.mark.parametrize(("how", "what"), list(product(SWAPS, EVIL)))
def test_a_file_swapped_at_any_moment_of_the_check_is_refused_or_does_not_matter(
    stored: tuple[LocalBlobs, Digest], how: str, what: str, tmp_path: Path
) -> None:
    blobs, digest = stored
    moments = asked_for(blobs, digest)
    assert moments >= 5  # manifest, signature, the list, each file
    outcomes = []
    for moment in range(moments):
        copy = LocalBlobs(tmp_path / f"copy-{moment}")
        shutil.copytree(blobs.root, copy.root)
        file = copy.root / "bundles" / digest / what
        swapping = Swapping(copy, moment, lambda file=file: SWAPS[how](file, EVIL[what]))
        try:
            bundle = read_bundle(swapping, digest, KEYS)  # type: ignore[arg-type]
        except REFUSED:
            outcomes.append("refused")
        else:
            shutil.rmtree(copy.root)  # nothing is read from there again
            assert load_models(bundle, types=TYPES)["value"].predict(ROWS)["p"].tolist() == GOOD
            outcomes.append("sound")
        assert swapping.swapped, "not injected"
    assert "refused" in outcomes


@pytest.mark.parametrize("cached", [False, True], ids=["from the store", "through the cache of a bid service"])
@pytest.mark.parametrize("how", ["in place", "by rename"])
def test_a_file_that_changes_all_the_time_is_never_loaded_in_its_other_form(
    stored: tuple[LocalBlobs, Digest], how: str, cached: bool, tmp_path: Path
) -> None:
    blobs, digest = stored
    file, good = blobs.root / "bundles" / digest / "value/model.txt", artefacts()["value/model.txt"]
    stop, swaps = threading.Event(), [0]

    def attacker() -> None:
        while not stop.is_set():
            SWAPS[how](file, EVIL["value/model.txt"])
            SWAPS[how](file, good)
            swaps[0] += 1

    thread = threading.Thread(target=attacker)
    thread.start()
    refused = 0
    try:
        for number in range(RACES):
            try:
                folder = tmp_path / f"cache-{number}"
                bundle = cached_bundle(blobs, folder, digest, KEYS) if cached else read_bundle(blobs, digest, KEYS)
            except REFUSED:
                refused += 1
                continue
            assert bundle.artefacts["value/model.txt"] == good
            assert load_models(bundle, types=TYPES)["value"].predict(ROWS)["p"].tolist() == GOOD
    finally:
        stop.set()
        thread.join()
    assert swaps[0] > 10 and 0 < refused < RACES, f"not injected: {swaps[0]} swaps, {refused} refusals"


def test_a_cache_that_somebody_poisons_is_not_believed(stored: tuple[LocalBlobs, Digest], tmp_path: Path) -> None:
    blobs, digest = stored
    cached_bundle(blobs, tmp_path / "cache", digest, KEYS)
    for name, data in EVIL.items():
        in_place(tmp_path / "cache/bundles" / digest / name, data)
        assert cached_bundle(blobs, tmp_path / "cache", digest, KEYS).artefacts == artefacts()
