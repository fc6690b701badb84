"""A folder as a blob store: whole blobs or none, clear sentences when the disk says no."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ml.core.errors import NoData, StoreUnavailable, UsageError
from ml.lake.blobs import BlobStore, check_key, open_blobs


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return open_blobs(str(tmp_path / "store"), cache=tmp_path / "cache")


def test_what_was_put_is_got_and_a_second_put_replaces_it(blobs: BlobStore) -> None:
    blobs.put("a/b.txt", b"one")
    blobs.put("a/b.txt", b"two")
    assert blobs.get("a/b.txt") == b"two"
    assert blobs.exists("a/b.txt")
    assert blobs.local_path("a/b.txt").read_bytes() == b"two"


def test_opening_a_store_creates_nothing(tmp_path: Path) -> None:
    store = open_blobs(str(tmp_path / "store"), cache=tmp_path / "cache")
    assert store.list("") == []
    assert not store.exists("a")
    assert list(tmp_path.iterdir()) == []


def test_an_absent_blob_is_no_data(blobs: BlobStore) -> None:
    blobs.put("folder/file", b"x")
    for key in ("nothing", "folder", "folder/file/below"):
        with pytest.raises(NoData, match=key):
            blobs.get(key)
        with pytest.raises(NoData, match=key):
            blobs.local_path(key)


def test_list_gives_the_keys_with_the_prefix_in_order(blobs: BlobStore) -> None:
    for key in ("m/clicks/day=2", "m/clicks/day=1", "m/clicks_extra/day=1", "m/b", "other"):
        blobs.put(key, b"")
    assert blobs.list("m/clicks/") == ["m/clicks/day=1", "m/clicks/day=2"]
    assert blobs.list("m/clicks") == ["m/clicks/day=1", "m/clicks/day=2", "m/clicks_extra/day=1"]
    assert blobs.list("m/clicks/day=2") == ["m/clicks/day=2"]
    assert blobs.list("") == ["m/b", "m/clicks/day=1", "m/clicks/day=2", "m/clicks_extra/day=1", "other"]
    assert blobs.list("absent/") == []


def test_delete_removes_the_blob_and_the_folders_it_leaves_empty(blobs: BlobStore, tmp_path: Path) -> None:
    blobs.put("a/b/c", b"x")
    blobs.put("a/d", b"x")
    blobs.delete("a/b/c")
    blobs.delete("a/b/c")
    assert blobs.list("") == ["a/d"]
    assert not (tmp_path / "store" / "a" / "b").exists()


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../up", "a/../../up", "a//b", "a/./b", "a\\b", "a\0b", "a/"])
def test_a_key_cannot_leave_the_store(blobs: BlobStore, key: str) -> None:
    with pytest.raises(UsageError):
        check_key(key)
    with pytest.raises(UsageError):
        blobs.put(key, b"x")


@pytest.mark.parametrize("url", ["", "ftp://host/folder", "s3://"])
def test_a_url_that_names_no_store_is_a_usage_error(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        open_blobs(url, cache=tmp_path)


def test_a_write_that_fails_half_way_leaves_the_old_blob_and_no_rest(
    blobs: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs.put("a/b", b"old")
    synced: list[int] = []

    def fail(handle: int) -> None:
        synced.append(handle)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreUnavailable, match="disk is full"):
        blobs.put("a/b", b"new")
    assert len(synced) == 1  # the fault happened, after the bytes were written
    assert blobs.get("a/b") == b"old"
    assert [path.name for path in (tmp_path / "store" / "a").iterdir()] == ["b"]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from ml.core.errors import StoreUnavailable
from ml.lake.blobs import open_blobs

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
store = open_blobs(sys.argv[1], cache=Path(sys.argv[1]))
store.put("small", b"x" * 9_000)
try:
    store.put("large", b"x" * 100_000)
except StoreUnavailable as error:
    print(error)
"""


def test_a_full_disk_is_one_clear_sentence_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """A real limit of the kernel, in a child process: the small blob fits, the large one does not."""
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "large could not be written: the disk is full or a size limit is reached" in child.stdout
    assert "free some space" in child.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 10_000


def test_a_folder_that_cannot_be_used_is_store_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = open_blobs(str(tmp_path / "file"), cache=tmp_path)
    with pytest.raises(StoreUnavailable, match="could not be written"):
        store.put("a/b", b"x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_says_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreUnavailable, match="may not be written"):
            open_blobs(str(tmp_path / "store"), cache=tmp_path).put("a", b"x")
    finally:
        tmp_path.chmod(0o700)


def test_no_more_than_the_limit_is_read(blobs: BlobStore) -> None:
    blobs.put("a/b.txt", b"three")
    assert (blobs.read("a/b.txt", limit=3), blobs.read("a/b.txt", limit=9)) == (b"thr", b"three")
    for key in ("nothing", "a", "a/b.txt/below"):
        with pytest.raises(NoData, match=key):
            blobs.read(key, limit=3)


def test_a_limited_read_goes_through_no_link(blobs: BlobStore, tmp_path: Path) -> None:
    blobs.put("a/b.txt", b"here")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.txt").write_bytes(b"there")
    (tmp_path / "store" / "folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "store" / "a" / "link.txt").symlink_to(tmp_path / "elsewhere" / "b.txt")
    for key in ("folder/b.txt", "a/link.txt"):
        with pytest.raises(UsageError, match="is a symbolic link"):
            blobs.read(key, limit=9)
    (tmp_path / "linked").symlink_to(tmp_path / "store")  # where the store itself lies is its owner's affair
    assert open_blobs(str(tmp_path / "linked"), cache=tmp_path).read("a/b.txt", limit=9) == b"here"


def test_a_named_pipe_is_no_blob(blobs: BlobStore, tmp_path: Path) -> None:
    blobs.put("a/b.txt", b"here")
    os.mkfifo(tmp_path / "store" / "a" / "pipe")
    with pytest.raises(NoData, match="a/pipe"):
        blobs.read("a/pipe", limit=9)


def test_a_folder_that_was_moved_is_listed_and_a_circle_of_links_ends(blobs: BlobStore, tmp_path: Path) -> None:
    blobs.put("a/b.txt", b"here")
    (tmp_path / "store" / "a").rename(tmp_path / "moved")
    (tmp_path / "store" / "a").symlink_to(tmp_path / "moved")
    assert blobs.list("a/") == ["a/b.txt"]
    for name in ("one", "two"):
        (tmp_path / "moved" / name).symlink_to(tmp_path / "moved")
    with pytest.raises(StoreUnavailable, match="symbolic links"):
        blobs.list("a/")
