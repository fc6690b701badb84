"""Blobs as files below a folder."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ml.core.errors import NoData, StoreUnavailable, UsageError
from ml.lake.blobs import check_key

_TEMPORARY = ".writing-"  # files with this start are unfinished writes and belong to nobody

_MOST_LINKS = 4  # one behind another, from the root of a store to a blob

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}


class LocalBlobs:
    """A folder of files; `put` writes beside the target, syncs and renames."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __repr__(self) -> str:
        return f"LocalBlobs({str(self.root)!r})"

    def put(self, key: str, data: bytes) -> None:
        """Store `data` under `key`, whole or not at all."""
        path = self._path(key)
        with _clear_errors(f"{path} could not be written", left="what was there before is unchanged"):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)

    def get(self, key: str) -> bytes:
        """The bytes under `key`; NoData if there are none."""
        path = self._path(key)
        with _clear_errors(f"{path} could not be read"):
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise _absent(key, self.root) from None

    def read(self, key: str, *, limit: int) -> bytes:
        """The first `limit` bytes under `key`; NoData if there are none, UsageError where a link is on the way."""
        path = self._path(key)
        with _clear_errors(f"{path} could not be read"):
            on_the_way = [path, *path.parents][: key.count("/") + 1]
            if link := next((place for place in on_the_way if place.is_symlink()), None):
                raise UsageError(
                    f"{link} is a symbolic link",
                    left="nothing was read through it",
                    next="put what it points to in its place",
                )
            try:
                # Not blocking, so that a named pipe cannot hold us up; no link, if one came in just now.
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except (FileNotFoundError, NotADirectoryError):
                raise _absent(key, self.root) from None
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                os.close(handle)
                raise _absent(key, self.root)
            with os.fdopen(handle, "rb") as file:
                return file.read(limit)

    def exists(self, key: str) -> bool:
        """Whether there is a blob under `key`."""
        with _clear_errors(f"{self.root} could not be read"):
            return self._path(key).is_file()

    def list(self, prefix: str) -> list[str]:
        """Every key that starts with `prefix`, sorted."""
        with _clear_errors(f"{self.root} could not be read"):
            return sorted(_walk(self.root, "", prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        """The bytes of every blob whose key starts with `prefix`; one that goes away meanwhile is left out."""
        found = {}
        with _clear_errors(f"{self.root} could not be read"):
            for key in self.list(prefix):
                with suppress(FileNotFoundError):
                    found[key] = (self.root / key).stat().st_size
        return found

    def delete(self, key: str) -> None:
        """Remove the blob under `key` and the folders this leaves empty."""
        path = self._path(key)
        with _clear_errors(f"{path} could not be removed"):
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self.root or not _remove_if_empty(folder):
                    return

    def server_time(self) -> None:
        """A folder has no clock of its own."""
        return

    def local_path(self, key: str) -> Path:
        """The file itself; NoData if there is none."""
        if not self.exists(key):
            raise _absent(key, self.root)
        return self._path(key)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to a new file beside `path`, sync it and rename it over `path`; OSError if it cannot."""
    handle, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _remove_if_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False  # not empty, or another writer is just filling it
    return True


def _walk(folder: Path, base: str, prefix: str, *, links: int = 0) -> Iterator[str]:
    """Keys below `folder`, whose own key is `base`; folders that cannot hold a match are not opened.

    `links` is how many links to folders led here: a person may have moved a folder elsewhere, but a circle of links
    would never end.
    """
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return  # nothing was written yet, or another process has just removed it
    for entry in entries:
        key = base + entry.name
        if entry.is_dir():
            if f"{key}/".startswith(prefix) or prefix.startswith(f"{key}/"):
                followed = links + entry.is_symlink()
                if followed > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), key)
                yield from _walk(folder / entry.name, f"{key}/", prefix, links=followed)
        elif key.startswith(prefix) and not entry.name.startswith(_TEMPORARY):
            yield key


def _absent(key: str, root: Path) -> NoData:
    return NoData(f"there is no {key} in {root}")


@contextmanager
def _clear_errors(what: str, *, left: str = "") -> Iterator[None]:
    """Turn an OSError into a StoreUnavailable that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            reason, advice = "the disk is full or a size limit is reached", "free some space and run it again"
        elif error.errno in _FORBIDDEN:
            reason, advice = "the folder may not be written or read", "check its owner, its mode and its mount"
        else:
            reason, advice = error.strerror or str(error), "check the folder and run it again"
        raise StoreUnavailable(f"{what}: {reason}", left=left, next=advice) from error
