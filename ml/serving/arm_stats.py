"""What each arm did, counted by each worker in a small mapped file, summed up by whoever judges.

A file belongs to one worker and one `StatsKey`: a new rollout, a new step, a changed champion or a restarted worker begins
a new file at zero, so that nothing is ever mixed or reset under a reader. There is one writer a file and no lock; every
number is an aligned int64 that is stored whole. Requests are counted before what happened to them, so that a reader in
between sees a request without its error, never an error without its request. Files of dead workers keep counting: what
they counted did happen. `read_all` says which workers still beat.
"""

from __future__ import annotations

import math
import mmap
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import numpy.typing as npt

from ml.core.errors import StoreUnavailable, UsageError
from ml.core.memory import memory_folder
from ml.serving.arms import ARMS, Arm

if TYPE_CHECKING:
    from ml.core.settings import Settings

Ints = npt.NDArray[np.int64]


class Count(IntEnum):
    """The counters of an arm, in the order of the file. All but the sums count requests, each at most once."""

    REQUESTS = 0
    CANDIDATES = 1
    """Candidates of all requests."""
    ERRORS = 2
    """The arm's model failed; what was answered came from further down the ladder."""
    LATE = 3
    """The deadline was missed."""
    NO_BID = 4
    """The answer holds no bid at all."""
    DEFAULTS = 5
    """At least one candidate was bid on with defaults for missing features."""
    FALLBACK = 6
    """Something else than the arm's model answered: previous bundle, table, or nothing."""
    FALLBACK_MODEL = 7
    """The previous bundle answered."""
    FALLBACK_TABLE = 8
    """The last published bids answered."""
    OUT_OF_RANGE = 9
    """The model gave at least one number that is not finite or not within its range."""
    WITH_BIDS = 10
    """The answer holds a bid; the two sums of logarithms are over these."""
    BID_MICROS = 11
    """Sum of all bids."""
    LOG_BID = 12
    """Sum over requests of the log of their mean bid in micros, times `LOG_SCALE`."""
    LOG_BID_SQUARED = 13
    """The same of its square."""
    SPEND_MICROS = 14
    """What the bids are expected to cost (`ml.serving.counting`)."""
    SPEND_SQUARED = 15
    """Sum over requests of the square of that, in thousandths of a unit; stays at 2**62 where it would pass it."""
    TRIED = 16
    """Requests that the candidate of a canary was tried on beside its own, after others had answered them; no other counter
    knows of these."""
    TRIED_ERRORS = 17
    """Of these, those for which it failed."""


LOG_SCALE: Final = 1 << 20
STEPS: Final = 8
"""Latency buckets per doubling: each is at most 12.5 % wide."""
OCTAVES: Final = 24
"""Latencies from below 8 microseconds to 2**24, some 17 seconds; what is longer is in the last bucket."""
BUCKETS: Final = STEPS * (OCTAVES - 2)

_FULL: Final = 1 << 62
_MAGIC: Final = 0x4257_4152_4D53_3033  # "BWARMS03"
_HEAD: Final = 64
"""Words before the counters."""
_MAGIC_AT, _GENERATION_AT, _ROLLOUT_AT, _ANALYSIS_AT, _PID_AT, _STARTED_AT, _BEAT_AT, _SIZE_AT, _WHY_SIZE_AT = range(9)
_WHY_AT: Final = 16
"""From here to the end of the head: why the candidate cannot be loaded, UTF-8."""
_ARM: Final = len(Count) + BUCKETS
_WORDS: Final = _HEAD + ARMS * _ARM
_WORD: Final = 8
"""Bytes of a word."""
_NAME = re.compile(r"^arms-(\d+)-(\d+)-(\d+)-\w+\.i64$")


@dataclass(frozen=True)
class StatsKey:
    """What a file counts: a champion generation and, where a rollout is under way, its id and analysis (else 0 and 0).

    The analysis grows with every step and every restart of the analysis (`ml.ledger.rollouts.Rollout.analysis`).
    """

    generation: int
    rollout: int = 0
    analysis: int = 0


@dataclass(frozen=True)
class ArmCounts:
    """The sums of one arm over all workers.

    Attributes:
        counts: by `Count`, shape (len(Count),).
        latency: requests per bucket, shape (BUCKETS,); `bucket_top_us` gives the buckets' upper ends.
    """

    counts: Ints
    latency: Ints

    def __getitem__(self, name: Count) -> int:
        return int(self.counts[name])


@dataclass(frozen=True)
class Worker:
    """One file: whose it is, since when, and when it last gave a sign of life (instants in microseconds, UTC).

    `refused` says why this worker cannot load the candidate; empty where it can, or did not try yet.
    """

    pid: int
    started_us: int
    beat_us: int
    stale: bool
    refused: str = ""


@dataclass(frozen=True)
class AllStats:
    """Every worker's counts of one key.

    Attributes:
        arms: the sums of each arm; all zero where no worker has counted yet.
        workers: every readable file of the key, dead workers' included.
        damaged: files of the key that could not be read.
    """

    key: StatsKey
    arms: Mapping[Arm, ArmCounts]
    workers: tuple[Worker, ...]
    damaged: tuple[str, ...] = ()

    @property
    def alive(self) -> int:
        """Workers that beat within the time given to `read_all`."""
        return sum(not worker.stale for worker in self.workers)


class ArmStats:
    """A worker's counters of one key; use from one thread. About 1.5 microseconds a request."""

    def __init__(self, folder: Path, key: StatsKey, *, at_us: int) -> None:
        """Make the worker's file, at zero.

        Args:
            folder: where all workers of a service count; made if it is not there.
            key: what is counted.
            at_us: the present instant, microseconds since 1970, UTC.

        Raises:
            StoreUnavailable: the folder cannot be written.
        """
        self.key = key
        words = np.zeros(_WORDS, dtype="<i8")
        head = (_MAGIC, key.generation, key.rollout, key.analysis, os.getpid(), at_us, at_us, _WORDS)
        words[: len(head)] = head
        prefix = f"arms-{key.generation}-{key.rollout}-{key.analysis}-"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Appears under its name only once it is whole: a reader never sees a file without its head.
            handle, made = tempfile.mkstemp(dir=folder, prefix=".arms-")
            with os.fdopen(handle, "r+b") as file:
                file.write(words.tobytes())
                file.flush()
                self._map = mmap.mmap(file.fileno(), words.nbytes)
            self.path = folder / (prefix + Path(made).name.removeprefix(".arms-") + ".i64")
            Path(made).rename(self.path)
        except OSError as error:
            raise StoreUnavailable(
                f"the counters in {folder} cannot be written: {error.strerror}",
                left="bids are served; the rollout has no numbers and holds",
                next="make room on the disk, or see to the folder's rights, and start the worker again",
            ) from error
        self._words = memoryview(self._map).cast("q")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def record(
        self,
        arm: int,
        *,
        latency_us: int,
        candidates: int,
        bids: int,
        bid_micros: int,
        spend_micros: int = 0,
        flags: tuple[Count, ...] = (),
    ) -> None:
        """Count one request.

        Args:
            arm: the `Arm` that the request belongs to, also where another model answered for it in the end.
            latency_us: from the moment the request was due to its answer.
            candidates: how many it had.
            bids: how many of them are bid on; 0 counts as no bid.
            bid_micros: the sum of these bids.
            spend_micros: what they are expected to cost.
            flags: which of `ERRORS`, `LATE`, `DEFAULTS`, `FALLBACK`, `FALLBACK_MODEL`, `FALLBACK_TABLE` and
                `OUT_OF_RANGE` are true of it, each once.
        """
        words, at = self._words, _HEAD + arm * _ARM
        words[at] += 1
        words[at + 1] += candidates
        if bids > 0 and bid_micros > 0:
            log = math.log(bid_micros / bids)
            words[at + 10] += 1
            words[at + 11] += bid_micros
            words[at + 12] += round(log * LOG_SCALE)
            words[at + 13] += round(log * log * LOG_SCALE)
            words[at + 14] += spend_micros
            words[at + 15] = min(words[at + 15] + (spend_micros // 1_000) ** 2, _FULL)
        else:
            words[at + 4] += 1
        for flag in flags:
            words[at + flag] += 1
        words[at + len(Count) + bucket(latency_us)] += 1

    def tried(self, *, failed: bool) -> None:
        """Count one request that the candidate was tried on beside its own (`Count.TRIED`)."""
        at = _HEAD + Arm.CANARY * _ARM
        self._words[at + Count.TRIED] += 1
        self._words[at + Count.TRIED_ERRORS] += failed

    def refuse(self, why: str) -> None:
        """Say that the candidate cannot be loaded here, and why; empty: that it can be. May be called from any thread."""
        room = (_HEAD - _WHY_AT) * _WORD
        text = why.encode(errors="replace")[:room]
        self._words[_WHY_SIZE_AT] = 0
        self._map[_WHY_AT * _WORD : _WHY_AT * _WORD + len(text)] = text
        self._words[_WHY_SIZE_AT] = len(text)

    def beat(self, at_us: int) -> None:
        """Say that the worker is alive; at least once a second, also when there is nothing to count."""
        self._words[_BEAT_AT] = at_us

    def close(self) -> None:
        """Give the mapping back; the file stays, for those who sum up."""
        self._words.release()
        self._map.close()


def read_all(
    folder: Path, key: StatsKey, *, now_us: int, stale_after_us: int = 10_000_000, also: Path | None = None
) -> AllStats:
    """The sums of every worker's file of a key, in one folder or in two.

    A worker is stale when its last sign of life is more than `stale_after_us` away from now, to either side: a beat from the
    future is a clock that jumped. No folder and no file give zeros and no worker. Reading disturbs nobody.
    """
    workers: list[Worker] = []
    damaged: list[str] = []
    sums = np.zeros((ARMS, _ARM), dtype=np.int64)
    pattern = f"arms-{key.generation}-{key.rollout}-{key.analysis}-*.i64"
    for path in sorted(path for place in (folder, also) if place is not None for path in place.glob(pattern)):
        try:
            words = np.frombuffer(path.read_bytes(), dtype="<i8")
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            damaged.append(path.name)
            continue
        counts = words[_HEAD:]
        if len(words) != _WORDS or not _is_of(words, key) or (counts < 0).any():
            damaged.append(path.name)
            continue
        beat = int(words[_BEAT_AT])
        stale = abs(now_us - beat) > stale_after_us
        why = words[_WHY_AT:_HEAD].tobytes()[: max(int(words[_WHY_SIZE_AT]), 0)].decode(errors="replace")
        workers.append(Worker(int(words[_PID_AT]), int(words[_STARTED_AT]), beat, stale, why))
        sums += counts.reshape(ARMS, _ARM)
    return AllStats(key, {arm: _arm_counts(sums[arm]) for arm in Arm}, tuple(workers), tuple(damaged))


def arms_folders(settings: Settings, *, make: bool = False) -> tuple[Path, Path | None]:
    """Where the workers of a market's service count: in its home, and in memory where that is private (`make`: made if need be).

    A worker counts in the second where it has one; a judge reads both.
    """
    memory = memory_folder(settings.home, settings.serve_memory, make=make)
    name = settings.market_name
    return settings.serving / "arms" / name, None if memory is None else memory / "arms" / name


def sweep(folder: Path, keep: StatsKey) -> int:
    """Remove the files of former champions and rollouts; returns how many. Those of `keep` and of later ones stay."""
    removed = 0
    newest = (keep.generation, keep.rollout, keep.analysis)
    for path in folder.glob("arms-*.i64"):
        named = _NAME.match(path.name)
        if named and tuple(int(number) for number in named.groups()) < newest:
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def bucket(latency_us: int) -> int:
    """The bucket of a latency.

    >>> [bucket(us) for us in (-5, 0, 7, 8, 15, 16, 17, 18, 1 << 40)]
    [0, 0, 7, 8, 15, 16, 16, 17, 175]
    """
    if latency_us < STEPS:
        return max(latency_us, 0)
    shift = latency_us.bit_length() - 4
    place = (shift << 3) + (latency_us >> shift)
    return place if place < BUCKETS else BUCKETS - 1


def bucket_top_us(place: int) -> int:
    """The end of a bucket, microseconds, itself not within it.

    >>> [bucket_top_us(place) for place in (0, 7, 8, 16, 17)]
    [1, 8, 9, 18, 20]
    """
    if not 0 <= place < BUCKETS:
        raise UsageError(f"there is no bucket {place}", next=f"give 0 to {BUCKETS - 1}")
    if place < 2 * STEPS:
        return place + 1
    shift = (place >> 3) - 1
    return ((place & 7) + STEPS + 1) << shift


BUCKET_TOPS_US: Final[Ints] = np.array([bucket_top_us(place) for place in range(BUCKETS)], dtype=np.int64)


def _is_of(words: Ints, key: StatsKey) -> bool:
    head = words[[_MAGIC_AT, _GENERATION_AT, _ROLLOUT_AT, _ANALYSIS_AT, _SIZE_AT]]
    return bool((head == (_MAGIC, key.generation, key.rollout, key.analysis, _WORDS)).all())


def _arm_counts(sums: Ints) -> ArmCounts:
    counts = sums[: len(Count)].copy()
    # Between a reader's first word and its last a request may have been counted in part.
    for name in (*range(Count.ERRORS, Count.OUT_OF_RANGE + 1), Count.WITH_BIDS):
        counts[name] = min(counts[name], counts[Count.REQUESTS])
    counts[Count.TRIED_ERRORS] = min(counts[Count.TRIED_ERRORS], counts[Count.TRIED])
    return ArmCounts(counts, sums[len(Count) :])
