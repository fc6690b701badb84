"""What a worker's bids are expected to cost, by partner and UTC day, in a small mapped file; and what it may still spend.

A file belongs to one worker and goes on through every change of plan, bundle and rollout. A worker that dies leaves it, with what it counted
and what it may still spend, to the next that starts on the same day, so that one that dies all day long neither leaves a file with
each life nor begins each with a first allowance. The worker writes what it bids and the figures of the plan that it follows; the pacemaker of the service (`ml.serving.pacemaker`) writes the multiplier and
the sum up to which this worker may go. These sums come to no more than the day's budget over all workers, so that the budget holds
whatever becomes of the pacemaker. Every number is an aligned int64 that is stored whole, with one writer; no lock.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ml.bidding.day_budget import QUARTERS, DayBudget
from ml.core.memory import memory_folder
from ml.serving.joints import Step

if TYPE_CHECKING:
    from ml.core.settings import Settings
    from ml.serving.messages import Scored

log = logging.getLogger("bidwright.serve")

DAY_US: Final = 86_400_000_000
_HOUR_US: Final = 3_600_000_000
ONE: Final = 1_000_000_000
"""The multiplier 1, as it is kept."""
PATTERN: Final = "spend-*.i64"

MAGIC: Final = 0x4257_5350_4E44_3031  # "BWSPND01"
MAGIC_AT, SIZE_AT, PID_AT, STARTED_AT, BEAT_AT, DAY_AT, SLOTS_AT, FOLLOWED_AT, TOLD_AT, TROUBLE_AT, LOCKED_AT = range(
    11
)
"""Words of the head. `STARTED_AT` is the instant from which on the day was counted, `DAY_AT` the day since 1970 that is counted, 0 while it
changes; `TOLD_AT` and `TROUBLE_AT` are the pacemaker's: the instant at which it last wrote, and whether it cannot read all counters. Where
`LOCKED_AT` is 1, the file's worker holds an exclusive lock on it for as long as it lives."""
HEAD: Final = 16

_NAME: Final = 32
NAME_SIZE, BUDGET, KNOWN, SPENT, BIDS, TABLE_BIDS, ALLOWED, MULTIPLIER, TOTAL = range(_NAME, _NAME + 9)
"""Words of a partner's slot after its name. The worker's: bytes of the name, the day's budget (0: not paced any more), whether
the shares were seen, expected cost and sum of the models' bids, sum of the bids of the published table. The pacemaker's: up to
which expected cost this worker may go, the multiplier, the expected cost of all workers."""
SHARES: Final = _NAME + 9
SLOT: Final = SHARES + QUARTERS
SLOTS: Final = 64
WORDS: Final = HEAD + SLOTS * SLOT
SHARE_ONE: Final = 1_000_000

RESERVE: Final = 0.003
"""Share of a budget that is given to nobody but to workers who have heard nothing yet (`first_allowance`)."""
_MOST_WORKERS: Final = 64


def spend_folders(settings: Settings, *, make: bool = False) -> tuple[Path, Path | None]:
    """Where the workers of a market count what they spend: in its home, and in memory where that is private, as for the arms."""
    memory = memory_folder(settings.home, settings.serve_memory, make=make)
    name = settings.market_name
    return settings.serving / "spend" / name, None if memory is None else memory / "spend" / name


def first_allowance(budget_micros: int) -> int:
    """What a worker may spend of a day's budget before it heard of the pacemaker, in micros; of 64 workers less than the reserve.

    >>> first_allowance(1_000_000_000)
    46875
    """
    return max(int(budget_micros * RESERVE) // _MOST_WORKERS, 1)


class Spending:
    """What one worker spends and may spend; used from its loop alone.

    Args:
        folder: where all workers of the service count; None where nobody paces, and every multiplier is 1.
        why_not: then the reason, for people.
        share: of each budget, what all workers that count in this folder may spend; above 0, at most 1.
    """

    def __init__(self, folder: Path | None, *, why_not: str = "", share: float = 1.0) -> None:
        self._folder, self._why_not, self._share = folder, why_not, share
        self._at: dict[str, int] = {}
        self._slots: dict[str, int] = {}
        self._since = self._until = 0
        self._map: mmap.mmap | None = None
        self._words = memoryview(bytearray(HEAD * 8)).cast("q")

    @property
    def partners(self) -> tuple[str, ...]:
        """Those that are paced."""
        return tuple(self._at)

    def follow(self, budgets: Mapping[str, DayBudget], at_us: int) -> None:
        """Pace these partners from now on, and no other; what was counted stays."""
        if self._folder is None or (not budgets and self._map is None):
            return
        if self._map is None:
            self._open(self._folder, at_us)
        words = self._words
        for name, at in self._slots.items():
            if name not in budgets:
                words[at + BUDGET] = 0
        self._at = {}
        for name, figures in budgets.items():
            place = self._slots.get(name) or self._new(name)
            if place is None:
                log.warning("the partner %s is not paced: there are %d already, or its name is too long", name, SLOTS)
                continue
            at = place
            words[at + KNOWN] = figures.known
            for quarter, share in enumerate(figures.shares):
                words[at + SHARES + quarter] = round(share * SHARE_ONE)
            words[at + BUDGET] = budget = max(int(figures.budget_micros * self._share), 1)
            if not words[at + ALLOWED]:
                words[at + ALLOWED] = first_allowance(budget)
            self._at[name] = at
        words[SLOTS_AT] = len(self._slots)
        words[FOLLOWED_AT] = max(at_us, words[FOLLOWED_AT] + 1)

    def turn(self, at_us: int) -> None:
        """Begin a new day where it is one; to be called before what is decided at an instant is asked and counted.

        A clock that goes back by less than an hour does not bring yesterday back.
        """
        if self._since - _HOUR_US <= at_us < self._until:
            return
        day, words = at_us // DAY_US, self._words
        words[DAY_AT] = 0
        for at in self._slots.values():
            words[at + SPENT] = words[at + BIDS] = words[at + TABLE_BIDS] = words[at + TOTAL] = 0
            words[at + ALLOWED] = first_allowance(words[at + BUDGET])
        words[DAY_AT] = day
        self._since, self._until = day * DAY_US, (day + 1) * DAY_US

    def of(self, partner: str) -> float:
        """The multiplier of bids to a partner, 0 to 1; 1 for one that is not paced."""
        at = self._at.get(partner)
        if at is None:
            return 1.0
        words = self._words
        return 0.0 if words[at + SPENT] >= words[at + ALLOWED] else words[at + MULTIPLIER] / ONE

    def add(self, partner: str, scored: Scored, spend_micros: int, step: Step) -> None:
        """Count one answer to a partner.

        Args:
            partner: that asked.
            scored: the answer.
            spend_micros: what it is expected to cost; of the published table's bids nobody knows.
            step: of the ladder.
        """
        at = self._at.get(partner)
        if at is None:
            return
        words, bids = self._words, sum(scored.bid_micros)
        if step is Step.TABLE:
            words[at + TABLE_BIDS] += bids
        else:
            words[at + SPENT] += spend_micros
            words[at + BIDS] += bids

    def beat(self, at_us: int) -> None:
        """Say that the worker is alive, at least once a second; a new day is one without a request too."""
        self.turn(at_us)
        self._words[BEAT_AT] = at_us

    def state(self) -> dict[str, Any]:
        """For people: what is paced and how, or why nothing is."""
        words = self._words
        return {
            "why_not": self._why_not or ("" if self._at else "the plan has no budget of a day, so that every multiplier is 1"),
            "trouble": "not every counter can be read: multipliers fall and no more is allowed" if words[TROUBLE_AT] else "",
            "partners": {
                name: {
                    "multiplier": self.of(name),
                    "spend_expected_micros": words[at + TOTAL],
                    "budget_micros": words[at + BUDGET],
                    "traffic": "seen" if words[at + KNOWN] else "not known by the hour, so that it is taken for even",
                }
                for name, at in self._at.items()
            },
        }  # fmt: skip

    def _new(self, name: str) -> int | None:
        """The place of a new partner; None where there is none."""
        data = name.encode()
        if len(self._slots) == SLOTS or len(data) > _NAME * 8:
            return None
        at, words = HEAD + len(self._slots) * SLOT, self._words
        words[at : at + _NAME] = memoryview(data.ljust(_NAME * 8, b"\0")).cast("q")
        words[at + NAME_SIZE], words[at + MULTIPLIER] = len(data), ONE
        self._slots[name] = at
        return at

    def _open(self, folder: Path, at_us: int) -> None:
        """Go on with the file of a dead worker, or make one; where none can be made, count in memory of this worker: it then has its first
        allowance and no more."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._map = _left_by_the_dead(folder, at_us) or _made(folder, at_us)
        except OSError as error:
            log.warning("what is spent cannot be counted in %s (%s), so that little is bid", folder, error.strerror)
            self._why_not = f"what is spent cannot be counted: {error.strerror}; bids stop after the first allowance"
            self._map = mmap.mmap(-1, WORDS * 8)
            self._map[:] = _blank(at_us).tobytes()
        self._words = words = memoryview(self._map).cast("q")
        words[PID_AT], words[BEAT_AT] = os.getpid(), at_us
        self._slots = {name_of(words, at): at for at in range(HEAD, HEAD + words[SLOTS_AT] * SLOT, SLOT)}
        self._since = self._until = 0
        if words[DAY_AT] == at_us // DAY_US:
            self._since, self._until = words[DAY_AT] * DAY_US, (words[DAY_AT] + 1) * DAY_US
        self.turn(at_us)


def _blank(at_us: int) -> memoryview:
    words = memoryview(bytearray(WORDS * 8)).cast("q")
    words[MAGIC_AT], words[SIZE_AT], words[STARTED_AT], words[LOCKED_AT] = MAGIC, WORDS, at_us, 1
    return words


def _made(folder: Path, at_us: int) -> mmap.mmap:
    """A new file, locked before others see it."""
    handle, made = tempfile.mkstemp(dir=folder, prefix=".spend-")
    with os.fdopen(handle, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.write(_blank(at_us))
        file.flush()
        # The mapping keeps the file open, and the lock with it.
        mapped = mmap.mmap(file.fileno(), WORDS * 8)
    Path(made).rename(folder / (Path(made).name.removeprefix(".") + ".i64"))
    return mapped


def _left_by_the_dead(folder: Path, at_us: int) -> mmap.mmap | None:
    """The file of a worker of today that nobody holds any more, locked; none where there is none.

    One of an earlier day is left to the pacemaker, which removes it: with it go names of partners that are gone.
    """
    for path in sorted(folder.glob(PATTERN)):
        with suppress(OSError), path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_size != WORDS * 8:
                continue
            mapped = mmap.mmap(file.fileno(), WORDS * 8)
            with memoryview(mapped) as whole, whole.cast("q") as words:
                ours = (words[MAGIC_AT], words[SIZE_AT], words[LOCKED_AT], words[DAY_AT]) == (
                    MAGIC,
                    WORDS,
                    1,
                    at_us // DAY_US,
                )
                if ours and 0 <= words[SLOTS_AT] <= SLOTS:
                    return mapped
            mapped.close()
    return None


def name_of(words: memoryview, at: int) -> str:
    """The partner of a slot."""
    return bytes(words[at : at + _NAME].cast("B")[: words[at + NAME_SIZE]]).decode(errors="replace")
