"""The event log of one worker: takes decisions on the hot path, makes them durable on a thread, and says how many are.

A decision counts as logged once its segment was synced to the disk, never before. Where the disk cannot keep up or is full,
decisions are counted as lost with the reason, and the service goes on. The counters lie in a mapped file, so that after a
kill `ml.serving.event_log_recover` can say how many decisions were answered and not logged: in memory, where there is a
folder for that, because a page on the disk that is being synced would hold the hot path up; then the file beside the
segments is a copy of each commit, for the case that the machine's memory is gone too.

Files in `<home>/events/<market>/`: `<name>-<number>.open`, which is written to; `.log`, which is sealed; `<name>.count`. A name is
one life of one worker.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ml.core.errors import StoreUnavailable
from ml.core.memory import memory_folder
from ml.serving import event_log_frames as frames
from ml.serving.event_log_frames import Decided, encode_event

if TYPE_CHECKING:
    from ml.core.settings import Settings

OPEN, SEALED, COUNT = ".open", ".log", ".count"

COUNT_MARK = int.from_bytes(b"BWEVENT1", "little")
DECIDED, LOST_AT_DOOR, DURABLE, LOST_BEHIND = 1, 2, 3, 4
"""Places of the counters in a count file, in words of eight bytes; the first word is its mark. The first two are written by the
thread that appends, the others by the one that writes."""

_COUNT_BYTES = 4096
_EMPTY = COUNT_MARK.to_bytes(8, "little").ljust(_COUNT_BYTES, b"\0")
_CHUNK_BYTES = 8 << 20
_RETRY_S = 1.0
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Disk:
    """What the log does to files; a test puts one in its place that fails, or that dies in the middle."""

    def write(self, handle: int, data: bytes | memoryview, offset: int) -> int:
        """Write at an offset; how many bytes were."""
        return os.pwrite(handle, data, offset)

    def sync(self, handle: int) -> None:
        """Make a file's bytes last."""
        os.fdatasync(handle)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, and make the name last."""
        old.rename(new)
        sync_folder(new.parent)


def events_folder(home: Path, market: str) -> Path:
    """Where the segments of a market lie."""
    return home / "events" / market


def events_memory(settings: Settings, market: str, *, make: bool = False) -> Path | None:
    """Where the counters of a market's logs lie in memory; None where there is no private place (`make`: made if need be)."""
    memory = memory_folder(settings.home, settings.serve_memory, make=make)
    return None if memory is None else memory / "events" / market


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class EventLog:
    """The log of one process; `append` and `close` belong to one thread, the counters may be read from any.

    Args:
        folder: of `events_folder`; made if it is not there.
        market: whose decisions these are.
        worker: which worker of the service, such as "0"; letters and digits.
        memory: of `events_memory`; None counts in a file beside the segments.
        disk: what is done to files.
        segment_bytes: a segment of this size is sealed.
        segment_s: a segment is sealed this long after its first record.
        sync_s: how long a decision waits at most until it is written, while the disk keeps up.
        sync_bytes: as soon as so much waits, it is written.
        memory_bytes: more than this never waits; what comes then is lost.

    Raises:
        StoreUnavailable: the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        market: str,
        worker: str,
        memory: Path | None = None,
        disk: Disk | None = None,
        segment_bytes: int = 64 << 20,
        segment_s: float = 60.0,
        sync_s: float = 0.2,
        sync_bytes: int = 1 << 20,
        memory_bytes: int = 64 << 20,
    ) -> None:
        self._folder, self._market = folder, market
        self._disk = disk or Disk()
        self._segment_bytes, self._segment_s = segment_bytes, segment_s
        self._sync_s, self._sync_bytes, self._memory_bytes = sync_s, sync_bytes, memory_bytes
        self.name, self._count_handle = _new_count_file(folder, worker)
        self._counts_at, self._count_file = _mapped(memory, self.name, self._count_handle)
        self._words = memoryview(self._count_file).cast("Q")
        self._queue: deque[bytes] = deque()
        self._bytes_in = self._bytes_out = 0
        self._lost: dict[str, int] = {}
        self._lost_behind: dict[str, int] = {}
        self._closed = False
        self._trouble = ""
        self._wake = threading.Event()
        # The writer's own.
        self._held: list[bytes] = []
        self._held_payload = 0
        self._segment: _Segment | None = None
        self._number = 0
        self._thread = threading.Thread(target=self._run, name="event-log", daemon=True)
        self._thread.start()

    def append(self, decisions: Sequence[Decided]) -> None:
        """Take the decisions of a batch, before they are answered; never waits and never raises."""
        taken: list[bytes] = []
        size = 0
        room = self._memory_bytes - (self._bytes_in - self._bytes_out)
        for one in decisions:
            try:
                payload = encode_event(one)
            except Exception:  # noqa: BLE001  (what cannot be logged is counted; its answer is not held up)
                self._lose("not encodable")
                continue
            size += len(payload)
            if size > room or self._closed or len(payload) > frames.MAX_PAYLOAD:
                size -= len(payload)
                self._lose("closed" if self._closed else self._trouble or "behind")
                continue
            taken.append(payload)
        # First the counter: a kill between the two may count a decision that was not given, never the other way round.
        self._words[DECIDED] += len(decisions)
        self._bytes_in += size
        self._queue.extend(taken)
        if self._bytes_in - self._bytes_out > self._sync_bytes and not (self._trouble or self._wake.is_set()):
            self._wake.set()

    def counts(self) -> Mapping[str, int]:
        """`taken`, `logged` (durable) and `lost` decisions since the start; what is neither of the last two waits."""
        return {
            "taken": self._words[DECIDED],
            "logged": self._words[DURABLE],
            "lost": self._words[LOST_AT_DOOR] + self._words[LOST_BEHIND],
        }

    def lost(self) -> Mapping[str, int]:
        """Lost decisions by reason: behind, disk full, disk, memory, not encodable, closed."""
        found = dict(self._lost)
        for reason, count in dict(self._lost_behind).items():
            found[reason] = found.get(reason, 0) + count
        return found

    @property
    def trouble(self) -> str:
        """Why nothing can be written at the moment: "disk full" or "disk"; empty while all is well."""
        return self._trouble

    def close(self) -> None:
        """Make durable what was taken and seal the segment; the second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._wake.set()
        self._thread.join()
        if self._copy_counts() and self._counts_at is not None:
            self._counts_at.unlink(missing_ok=True)
        lost = self._words[LOST_AT_DOOR] + self._words[LOST_BEHIND]
        if not lost and self._segment is None:
            # Nothing is left to be told; otherwise the count file stays for whoever collects the segments.
            (self._folder / f"{self.name}{COUNT}").unlink(missing_ok=True)
        fcntl.flock(self._count_handle, fcntl.LOCK_UN)  # the mapping holds the file open
        os.close(self._count_handle)

    def _copy_counts(self) -> bool:
        """Keep the counters beside the segments too, where they are not mapped from there; whether they are there now."""
        if self._counts_at is None:
            return True
        try:
            os.pwrite(self._count_handle, self._words[: LOST_BEHIND + 1].tobytes(), 0)
        except OSError:
            return False
        return True

    def _lose(self, reason: str) -> None:
        self._lost[reason] = self._lost.get(reason, 0) + 1
        self._words[LOST_AT_DOOR] += 1

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(_RETRY_S if self._trouble else self._sync_s)
            self._wake.clear()
            self._step()
        self._step(drain=True)
        if self._segment is not None:
            self._attempt(self._seal)
        left = len(self._held) + len(self._queue)
        if left:
            self._lost_behind[self._trouble or "disk"] = left
            self._words[LOST_BEHIND] += left

    def _step(self, *, drain: bool = False) -> None:
        """Commit what waits, and seal what is full or old; what comes meanwhile waits for the next time, or for more."""
        while self._queue or self._held:
            self._take()
            if not self._attempt(self._commit):
                return
            if self._segment is not None and self._segment.offset >= self._segment_bytes:
                self._attempt(self._seal)
            if not drain and self._bytes_in - self._bytes_out < self._sync_bytes:
                break
        segment = self._segment
        if segment is not None and time.monotonic() - segment.begun >= self._segment_s:
            self._attempt(self._seal)

    def _take(self) -> None:
        while self._queue and self._held_payload < _CHUNK_BYTES:
            payload = self._queue.popleft()
            self._held.append(frames.record(payload))
            self._held_payload += len(payload)

    def _attempt(self, work: Callable[[], object]) -> bool:
        """Do something to the disk; where it fails, say why and keep what was to be written."""
        try:
            work()
        except OSError as error:
            self._trouble = "disk full" if error.errno in _FULL else "disk"
            return False
        except MemoryError:  # a group is joined before it is written
            self._trouble = "memory"
            return False
        self._trouble = ""
        return True

    def _commit(self) -> None:
        """Write and sync what is held; it counts as durable after that, and only then leaves the memory."""
        segment = self._segment or self._begin()
        data = b"".join(self._held)
        _write(self._disk, segment.handle, data, segment.offset)
        try:
            self._disk.sync(segment.handle)
        except OSError:
            # The kernel may have forgotten what it could not write: these records go into another file.
            with suppress(OSError):
                self._abandon(segment)
            raise
        segment.hasher.update(data)
        segment.offset += len(data)
        segment.records += len(self._held)
        self._words[DURABLE] += len(self._held)
        self._copy_counts()
        self._bytes_out += self._held_payload
        self._held, self._held_payload = [], 0

    def _begin(self) -> _Segment:
        self._number += 1
        path = self._folder / f"{self.name}-{self._number:06d}{OPEN}"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        segment = _Segment(path, handle)
        try:
            data = frames.header(self._market, self.name, self._number, self._words[DURABLE])
            _write(self._disk, handle, data, 0)
            sync_folder(self._folder)
        except OSError:
            os.close(handle)
            path.unlink(missing_ok=True)
            raise
        segment.hasher.update(data)
        segment.offset = len(data)
        self._segment = segment
        return segment

    def _seal(self) -> None:
        """End the segment; where that fails, it stays open and is tried again."""
        segment = self._segment
        if segment is None:
            return
        data = frames.footer(segment.records, segment.hasher.digest())
        _write(self._disk, segment.handle, data, segment.offset)
        os.ftruncate(segment.handle, segment.offset + len(data))
        self._disk.sync(segment.handle)
        self._disk.rename(segment.path, segment.path.with_suffix(SEALED))
        os.close(segment.handle)
        self._segment = None

    def _abandon(self, segment: _Segment) -> None:
        """End a segment whose sync failed with what is durable of it; where even that fails, `recover` does it later."""
        self._segment = None
        try:
            os.ftruncate(segment.handle, segment.offset)
            if segment.records:
                data = frames.footer(segment.records, segment.hasher.digest())
                _write(self._disk, segment.handle, data, segment.offset)
                self._disk.rename(segment.path, segment.path.with_suffix(SEALED))
            else:
                segment.path.unlink()
        finally:
            os.close(segment.handle)


class _Segment:
    """The segment that is written to; what stands before `offset` is durable."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path, self.handle = path, handle
        self.offset = self.records = 0
        self.hasher = hashlib.sha256()
        self.begun = time.monotonic()


def _write(disk: Disk, handle: int, data: bytes, offset: int) -> None:
    """All of it, at its place: what a failed attempt left behind is overwritten."""
    view = memoryview(data)
    done = 0
    while done < len(view):
        done += disk.write(handle, view[done:], offset + done)


def _mapped(memory: Path | None, name: str, handle: int) -> tuple[Path | None, mmap.mmap]:
    """The counters, mapped: from a file in memory, which is returned too, else from the count file itself."""
    if memory is not None:
        path = memory / f"{name}{COUNT}"
        try:
            memory.mkdir(parents=True, exist_ok=True, mode=0o700)
            inner = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                os.pwrite(inner, _EMPTY, 0)
                return path, mmap.mmap(inner, _COUNT_BYTES)
            finally:
                os.close(inner)  # the mapping holds the file
        except OSError:
            with suppress(OSError):
                path.unlink(missing_ok=True)
    return None, mmap.mmap(handle, _COUNT_BYTES)


def _new_count_file(folder: Path, worker: str) -> tuple[str, int]:
    """A name that nobody has, and its count file, locked for as long as this process lives and filled with blocks of its own,
    because a mapped page that the disk has no room for would kill the process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            name = f"{worker}.{os.urandom(5).hex()}"
            path = folder / f"{name}{COUNT}"
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            fcntl.flock(handle, fcntl.LOCK_EX)
            os.pwrite(handle, _EMPTY, 0)
            os.fsync(handle)
            if os.fstat(handle).st_nlink:  # nobody took it for one that was left behind, before it was locked
                return name, handle
            os.close(handle)
    except OSError as error:
        raise StoreUnavailable(
            f"the event log cannot be opened in {folder}: {error.strerror}",
            left="no decision was taken",
            next="free space, or correct the folder's owner and mode",
        ) from error
