"""A private folder in memory for small mapped files that are written at every request.

A mapped page on a disk may hold its writer up while the disk is told to keep another file's bytes (a page under write-back is
protected, and touching it waits for the journal). A file system in memory has neither.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

SHARED: Final = Path("/dev/shm")  # noqa: S108  (a folder below it is used only if it is private)
OFF: Final = "off"
"""Instead of a folder: nothing is kept in memory."""

_ROOM = 1 << 20


def memory_folder(home: Path, asked: str = "", *, make: bool = False, shared: Path = SHARED) -> Path | None:
    """The folder in memory that belongs to a working folder, the same for every process that asks.

    Args:
        home: the working folder; another one, another folder in memory.
        asked: a folder to be used instead of `shared`; `off` for none.
        make: whether to make it if it is not there. Who only reads does not.
        shared: where folders in memory are.

    Returns:
        None where there is none, or where it is not private: whoever else could write there could forge what is counted.
    """
    if asked == OFF:
        return None
    parent = Path(asked) if asked else shared
    name = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16]
    folder = parent / f"bidwright-{name}"
    try:
        owner = home.stat().st_uid if home.exists() else os.geteuid()
        if make:
            if asked:
                parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            room = os.statvfs(folder)
            if room.f_bavail * room.f_frsize < _ROOM:
                return None
        found = folder.lstat()
    except OSError:
        return None
    private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077 and found.st_uid == owner
    return folder if private and (not make or owner == os.geteuid()) else None
