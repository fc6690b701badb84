"""After a worker died: seal what it left, and say how many decisions were answered and are not in the log.

A worker that lives holds a lock on its count file; its segments are left alone. What a dead one wrote is in its open
segment up to the last whole record, whether it was synced or not: a kill loses what waited in memory, a loss of power also
what the disk had not been told to keep. A torn end is cut off; a record that is damaged inside stays where it is and is
named when the segment is collected.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from ml.core.digests import canonical_json
from ml.core.errors import StoreUnavailable
from ml.serving import event_log_frames as frames
from ml.serving.event_log import (
    COUNT,
    COUNT_MARK,
    DECIDED,
    DURABLE,
    LOST_AT_DOOR,
    LOST_BEHIND,
    OPEN,
    SEALED,
    sync_folder,
)

LOSSES = "losses.jsonl"
"""What workers lost, one line each, for people; a worker has two only where the recovery died after its line."""

_HEADER_BYTES = 4096
_SIZE = 8 * (LOST_BEHIND + 1)
"""Of the counters, in bytes."""


@dataclass
class Recovered:
    """What was found after dead workers, summed.

    Attributes:
        workers: of which something was left.
        segments: that were open and are sealed now.
        events: whole records in them.
        lost_unacknowledged: decisions that were answered, were never told to be durable, and are not in the log.
        lost_counted: decisions that the workers themselves had counted as lost, because the disk was full or too slow.
        lost_damaged: decisions that were durable once and are not whole any more.
        torn_bytes: cut off from the ends.
        damaged_bytes: of frames that are damaged inside; they stay in the segment and are named when it is collected.
    """

    workers: int = 0
    segments: int = 0
    events: int = 0
    lost_unacknowledged: int = 0
    lost_counted: int = 0
    lost_damaged: int = 0
    torn_bytes: int = 0
    damaged_bytes: int = 0

    def as_json(self) -> dict[str, int]:
        """For people and programs."""
        return asdict(self)


def recover(folder: Path, memory: Path | None = None) -> Recovered:
    """Seal every segment that a dead worker left open, and count what it lost; again, nothing is left to do.

    A repeat after a crash of its own counts nothing twice and nothing less.

    Args:
        folder: of `ml.serving.event_log.events_folder`.
        memory: where workers may have their counters (`ml.serving.event_log.events_memory`). Where those are gone, as after
            a loss of power, the copy of the last commit counts, and what came after it is not known.

    Raises:
        StoreUnavailable: the folder cannot be read or written; what was sealed stays so.
    """
    found = Recovered()
    if not folder.is_dir():
        return found
    names = {path.name.removesuffix(COUNT) for path in folder.glob(f"*{COUNT}")}
    names |= {path.name.rpartition("-")[0] for path in folder.glob(f"*{OPEN}")}
    try:
        for name in sorted(names):
            _recover_one(folder, memory, name, found)
    except OSError as error:
        raise StoreUnavailable(
            f"the event log in {folder} cannot be recovered: {error.strerror}",
            left="what is sealed stays",
            next="free space, or correct the folder's owner and mode, and run it again",
        ) from error
    return found


def _recover_one(folder: Path, memory: Path | None, name: str, found: Recovered) -> None:
    count = folder / f"{name}{COUNT}"
    try:
        handle = os.open(count, os.O_RDWR)
    except FileNotFoundError:  # it ended well, or another process has told of it and has not sealed everything
        for left in _left_open(folder, name):
            _seal(left, found)
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if memory is not None:
            _fetch(memory / f"{name}{COUNT}", handle)
        words = memoryview(os.pread(handle, _SIZE, 0).ljust(_SIZE, b"\0")).cast("Q")
        durable, open_ones = words[DURABLE], _left_open(folder, name)
        present = _present(open_ones, durable)
        # Before a segment counts as sealed, so that a crash in between makes nothing look lost that is there.
        os.pwrite(handle, max(present, durable).to_bytes(8, "little"), 8 * DURABLE)
        os.fdatasync(handle)
        for left in open_ones:
            _seal(left, found)
        if words[0] == COUNT_MARK:  # else it died before its first decision
            counted = words[LOST_AT_DOOR] + words[LOST_BEHIND]
            damaged = max(durable - present, 0)
            found.lost_counted += counted
            found.lost_damaged += damaged
            gone = max(words[DECIDED] - counted - present - damaged, 0)
            found.lost_unacknowledged += gone
            if gone or counted or damaged:
                _note(folder, {"name": name, "unacknowledged": gone, "counted": counted, "damaged": damaged})
        found.workers += 1
        count.unlink(missing_ok=True)
        sync_folder(folder)
    finally:
        os.close(handle)


def _fetch(counters: Path, handle: int) -> None:
    """Bring a dead worker's counters from memory into its count file; then they are in one place only."""
    try:
        data = counters.read_bytes()[:_SIZE]
    except OSError:
        return
    if len(data) == _SIZE and int.from_bytes(data[:8], "little") == COUNT_MARK:
        os.pwrite(handle, data, 0)
        os.fdatasync(handle)
    counters.unlink(missing_ok=True)


def _note(folder: Path, lost: dict[str, object]) -> None:
    """Write a loss down before the count file goes: who asked for the recovery may die before telling anybody."""
    handle = os.open(folder / LOSSES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, canonical_json(lost) + b"\n")
        os.fdatasync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class _Left:
    """An open segment of a dead worker: the records that are kept of it, and where they end."""

    path: Path
    scan: frames.Scan
    kept: int
    end: int

    @property
    def first(self) -> int | None:
        """How many records the worker's segments before it hold; None where its header is damaged."""
        return self.scan.header.first if self.scan.header is not None else None


def _left_open(folder: Path, name: str) -> list[_Left]:
    scans = [(path, frames.scan(path.read_bytes())) for path in sorted(folder.glob(f"{name}-*{OPEN}"))]
    found = []
    for path, one in scans:
        end = one.end if one.torn_bytes else one.size
        kept = len(one.records)
        after = _header_after(path)
        if one.header is not None and after is not None and kept > after.first - one.header.first:
            # Its sync had failed; what follows is said again by the next segment.
            kept = after.first - one.header.first
            end = one.records[kept][0]
        found.append(_Left(path, one, kept, end))
    return found


def _header_after(path: Path) -> frames.Header | None:
    """The header of the same worker's next segment, if that lies here."""
    name, _, number = path.stem.rpartition("-")
    for end in (OPEN, SEALED):
        following = path.with_name(f"{name}-{int(number) + 1:06d}{end}")
        if following.exists():
            with following.open("rb") as file:
                return frames.scan(file.read(_HEADER_BYTES)).header
    return None


def _present(open_ones: list[_Left], durable: int) -> int:
    """How many of a worker's decisions are in its segments."""
    if not open_ones:
        return durable
    last = open_ones[-1]
    if last.first is None or _header_after(last.path) is not None:
        return durable  # how many came before it cannot be told any more, or it is not the last
    gone = sum(
        max(after.first - one.first - one.kept, 0)
        for one, after in pairwise(open_ones)
        if one.first is not None and after.first is not None
    )
    return last.first + last.kept - gone


def _seal(left: _Left, found: Recovered) -> None:
    """Cut off the torn end, write the footer, and rename; a segment without a record goes."""
    one = left.scan
    found.torn_bytes += one.torn_bytes
    found.damaged_bytes += one.damaged_bytes
    if not left.kept and not one.damaged_bytes:
        left.path.unlink()
        return
    handle = os.open(left.path, os.O_RDWR)
    try:
        if one.footer is None or one.gaps or left.kept != len(one.records):
            os.ftruncate(handle, left.end)
            data = os.pread(handle, left.end, 0)
            footer = frames.footer(left.kept, hashlib.sha256(data).digest())
            os.pwrite(handle, footer, left.end)
        os.fdatasync(handle)
    finally:
        os.close(handle)
    left.path.rename(left.path.with_suffix(SEALED))
    sync_folder(left.path.parent)
    found.segments += 1
    found.events += left.kept
