"""Writing files so that what is committed is on the disk, and in one piece."""

from __future__ import annotations

import errno
import fcntl
import os
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.core.errors import StoreUnavailable
from ml.features.online.manifest import Piece

_SYNCS = 8
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Appended:
    """A file that is written from an offset on; `close` tells which piece was written. `sync_files` makes it last."""

    def __init__(self, path: Path, begin: int) -> None:
        self._file = path.open("r+b" if begin else "wb", buffering=0)
        self._file.truncate(begin)  # what a writer that died had appended
        self._file.seek(begin)
        self._begin, self._length, self._crc = begin, 0, 0

    @property
    def end(self) -> int:
        """The length of the file so far."""
        return self._begin + self._length

    def write(self, array: npt.NDArray[Any]) -> None:
        """Append an array's bytes."""
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        self._crc = zlib.crc32(data, self._crc)
        done = 0
        while done < len(data):
            done += self._file.write(data[done:])
        self._length += len(data)

    def close(self) -> Piece:
        """Close the file; also what is left open by an error, whose piece nothing names."""
        self._file.close()
        return self._begin, self._length, self._crc


def sync_files(folder: Path, names: Iterable[str]) -> None:
    """Make files and their names last. At once, because a disk syncs ten files in little more time than one."""
    with ThreadPoolExecutor(_SYNCS) as pool:
        list(pool.map(_sync, (folder / name for name in names)))
    _sync(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; StoreUnavailable where another process or thread does. A dead process holds none."""
    with (folder / "LOCK").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreUnavailable(
                f"another process is writing into {folder}",
                left="nothing was written, and what was there is served",
                next="let it finish and run this again",
            ) from None
        yield


@contextmanager
def clear_errors(folder: Path) -> Iterator[None]:
    """What the disk refuses, in a sentence."""
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        raise StoreUnavailable(
            f"{folder} could not be written: {'the disk is full' if full else error.strerror}",
            left="what was served before is served still",
            next="make room on the disk and run it again"
            if full
            else "see to the folder and its disk, and run it again",
        ) from error
