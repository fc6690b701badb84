"""The one pacemaker of a service: from what all workers spent today to one multiplier per partner, and to what each may still spend.

It lives in the process that watches over the workers, in a thread of its own, and talks to them through their counters alone
(`ml.serving.spending`). Ten times a second it divides what is left of each budget among the workers that live, and once in a
quarter of an hour the pacer (`ml.bidding.pacing`) says how much of each bid is made. Two services that share their counters may each
have one: both divide what is left among all the workers.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from ml.bidding.day_budget import QUARTER_US, QUARTERS, DayBudget
from ml.bidding.pacing import SERVED, DayPlan, Pacer, pid
from ml.serving import spending
from ml.serving.instant import micros
from ml.serving.spend_files import PartnerCount, SpendFile, SpendFiles
from ml.serving.spending import ONE, RESERVE, spend_folders

if TYPE_CHECKING:
    from ml.core.clock import Clock
    from ml.core.settings import Settings

log = logging.getLogger("bidwright.serve")

TICK_S: Final = 0.1
STALE_US: Final = 10_000_000
"""Who gave no sign of life for so long is given nothing; a worker that hangs is killed sooner."""
_KEEP_US: Final = 10_000_000
_HALVES_US: Final = 60_000_000
"""While not all counters can be read, a multiplier above the even one halves in so long."""


class Kept(msgspec.Struct, frozen=True):
    """What outlives the machine's memory: of a day, per partner what was spent, what is withheld and the multiplier."""

    day: int = -1
    partners: dict[str, tuple[int, int, float]] = {}


@dataclass
class Paced:
    """A partner and its day.

    Attributes:
        pacer: what has been learned, kept from day to day.
        budget: the figures that it follows.
        multiplier: that is in force.
        total: expected cost of all bids of the day, in micros.
        carried: of it, what no counter has any more.
        withheld: of the budget, what may have been spent on this day before anybody counted.
        quarter: number since 1970 of the quarter of an hour that the multiplier is for; -1 before the first.
        whole: whether that quarter was seen from its begin.
        began: the total then.
    """

    pacer: Pacer
    budget: DayBudget
    multiplier: float = 1.0
    total: int = 0
    carried: int = 0
    withheld: int = 0
    quarter: int = -1
    whole: bool = False
    began: int = 0

    @property
    def left(self) -> int:
        """What may still be spent, in micros."""
        return max(int(self.budget.budget_micros * (1 - RESERVE)) - self.total - self.withheld, 0)


class Pacemaker:
    """Paces the partners of one market.

    Args:
        folders: where workers count, of `ml.serving.spending.spend_folders`.
        kept: a file on disk that says what was spent today once the memory has forgotten.
        now_us: the present instant, microseconds since 1970, UTC.

    Attributes:
        paced: by partner.
        trouble: why not all counters can be read; empty while they can.
    """

    def __init__(self, folders: Sequence[Path], kept: Path, *, now_us: Callable[[], int]) -> None:
        self._files, self._kept_at, self._now_us = SpendFiles(folders), kept, now_us
        self._born, self._last, self._day = now_us(), now_us(), -1
        self._kept_us = 0
        self._before = _read(kept)
        self.paced: dict[str, Paced] = {}
        self.trouble = ""

    def tick(self) -> None:
        """Look at every counter once, and tell every worker; to be called some ten times a second."""
        now_us = self._now_us()
        self._look(now_us)
        files = [file for file in self._files.open if file.day == now_us // spending.DAY_US]
        alive = [file for file in files if abs(now_us - file.beat_us) <= STALE_US]
        counts = [(file, file.partners()) for file in files]
        for name, budget in _followed(alive).items():
            own = [(file, found[name]) for file, found in counts if name in found]
            one = self._known(name, budget, [count for _, count in own], now_us)
            if self.trouble:
                self._fall(one, now_us - self._last)
            else:
                self._count(one, [count for _, count in own], now_us)
            self._tell(one, [(file, count) for file, count in own if file in alive and count.budget], now_us)
        if now_us // spending.DAY_US != self._day or now_us - self._kept_us >= _KEEP_US:
            self._keep(now_us)
        self._last = now_us

    def close(self) -> None:
        """Remember what was spent; the counters stay."""
        self._keep(self._now_us())
        self._files.close()

    def _look(self, now_us: int) -> None:
        """Open the counters that are new; say what cannot be read."""
        trouble = self._files.look()
        day = now_us // spending.DAY_US
        if day != self._day:
            # What cannot be read was of a day that is over.
            self._files.sweep(before_day=day - 1)
            trouble = self._files.look()
        if trouble != self.trouble:
            log.warning("counters of what is spent: %s", trouble or "all can be read again")
        self.trouble = trouble

    def _known(self, name: str, budget: DayBudget, counts: Sequence[PartnerCount], now_us: int) -> Paced:
        """A partner's state, made at its first sight of this life."""
        one = self.paced.get(name)
        if one is None:
            one = self.paced[name] = Paced(Pacer(SERVED, pid), budget)
            self._recall(name, one, counts, now_us)
            log.info("the partner %s is paced: %s micros a day", name, budget.budget_micros)
        one.budget = budget
        return one

    def _recall(self, name: str, one: Paced, counts: Sequence[PartnerCount], now_us: int) -> None:
        """What is known of the day so far from an earlier life; where nothing is, its share of the budget counts as spent."""
        before = self._before.partners.get(name)
        if before is not None:
            one.multiplier = one.pacer.budget_multiplier = one.pacer.roas_multiplier = min(
                max(before[2], SERVED.low), 1.0
            )
        today = self._before.day == now_us // spending.DAY_US
        if before is not None and today:
            one.carried, one.withheld = max(before[0] - _spent(counts), 0), before[1]
        elif not any(count.spent and count.started_us < self._born for count in counts):
            one.withheld = int(one.budget.budget_micros * _elapsed(one.budget, now_us))

    def _count(self, one: Paced, counts: Sequence[PartnerCount], now_us: int) -> None:
        """Add up what was spent; in a new quarter of an hour, ask the pacer."""
        quarter = now_us // QUARTER_US
        if quarter // QUARTERS != one.quarter // QUARTERS and one.quarter >= 0:
            self._learn(one, quarter)
            one.total = one.carried = 0
            one.withheld = (
                0 if quarter % QUARTERS == 0 else int(one.budget.budget_micros * _elapsed(one.budget, now_us))
            )
        one.total = max(one.total, one.carried + _spent(counts))
        if quarter == one.quarter:
            return
        if one.quarter >= 0 and quarter // QUARTERS == one.quarter // QUARTERS:
            self._learn(one, quarter)
        shares = np.array(one.budget.shares)
        plan = DayPlan(float(one.budget.budget_micros), shares, None, 1.0)
        one.pacer.start_day(plan, spent_micros=float(one.total + one.withheld))
        one.multiplier = min(max(one.pacer.multiplier(quarter % QUARTERS), 0.0), 1.0)
        one.whole = one.quarter >= 0 and quarter == one.quarter + 1
        one.quarter, one.began = quarter, one.total

    def _learn(self, one: Paced, quarter: int) -> None:
        """Tell the pacer what the quarter that ended cost, if it was seen from begin to end."""
        if one.whole and quarter == one.quarter + 1:
            one.pacer.told(float(one.total - one.began), 0.0)
        else:
            one.pacer.skip()

    def _fall(self, one: Paced, passed_us: int) -> None:
        """Not all counters can be read: keep the multiplier, and let it fall to the one that spends what is left evenly."""
        one.whole = False
        even = one.multiplier
        if one.quarter >= 0 and one.pacer.rate_at_one > 0:
            even = min(even, one.pacer.wanted_rate / one.pacer.rate_at_one)
        one.multiplier = max(even, one.multiplier * 0.5 ** (max(passed_us, 0) / _HALVES_US))

    def _tell(self, one: Paced, own: Sequence[tuple[SpendFile, PartnerCount]], now_us: int) -> None:
        """Divide what is left; who is to have less hears of it first, so that all together never have more."""
        each = one.left // len(own) if own else 0
        told = sorted(own, key=lambda each_own: each_own[1].spent + each - each_own[1].allowed)
        for file, count in told:
            file.tell(
                count.at,
                allowed=None if self.trouble else count.spent + each,
                multiplier=round(one.multiplier * ONE),
                total=one.total,
                now_us=now_us,
                trouble=bool(self.trouble),
            )

    def _keep(self, now_us: int) -> None:
        """Write down what was spent; a full disk only means that the last word is older."""
        self._day, self._kept_us = now_us // spending.DAY_US, now_us
        if not self.paced:
            return
        today = {name: one for name, one in self.paced.items() if one.quarter // QUARTERS == self._day}
        kept = Kept(self._day, {name: (one.total, one.withheld, one.multiplier) for name, one in today.items()})
        with suppress(OSError):
            self._kept_at.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = self._kept_at.with_name(f".{self._kept_at.name}.{os.getpid()}")
            new.write_bytes(msgspec.json.encode(kept))
            new.replace(self._kept_at)


@contextmanager
def pacing(settings: Settings, clock: Clock) -> Iterator[bool]:
    """Pace the workers of this process for as long as it lasts; whether that is asked for."""
    if not settings.serve_pacing:
        yield False
        return
    folders = [folder for folder in spend_folders(settings, make=True) if folder is not None]
    kept = settings.serving / f"spend-{settings.market_name}.json"
    made, over = Pacemaker(folders, kept, now_us=lambda: micros(clock)), threading.Event()
    thread = threading.Thread(target=_beat, args=(made, over), name="pacemaker", daemon=True)
    thread.start()
    try:
        yield True
    finally:
        over.set()
        thread.join(5.0)


def _beat(made: Pacemaker, over: threading.Event) -> None:
    failed = False
    while not over.wait(TICK_S):
        try:
            made.tick()
            failed = False
        except Exception:
            # What each worker may spend stays as it is, so that the budget holds.
            if not failed:
                log.exception("what is spent could not be paced; multipliers stay as they are")
            failed = True
    made.close()


def _followed(alive: Sequence[SpendFile]) -> dict[str, DayBudget]:
    """The budget of each partner as the newest plan of the workers has it that names it."""
    newest = max((file.followed_us for file in alive), default=0)
    found: dict[str, DayBudget] = {}
    for file in alive:
        if file.followed_us == newest:
            found = found | file.budgets()
    for file in alive:
        found = file.budgets() | found
    return found


def _spent(counts: Sequence[PartnerCount]) -> int:
    """Expected cost of all bids; those of the published table cost as much of their sum as the models' own."""
    spent, bids = sum(count.spent for count in counts), sum(count.bids for count in counts)
    table = sum(count.table_bids for count in counts)
    return spent + (table * spent // bids if bids else 0)


def _elapsed(budget: DayBudget, now_us: int) -> float:
    """The share of the day's traffic that is over."""
    quarter, into = divmod(now_us % spending.DAY_US, QUARTER_US)
    return sum(budget.shares[:quarter]) + budget.shares[quarter] * into / QUARTER_US


def _read(kept: Path) -> Kept:
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(kept.read_bytes(), type=Kept)
    return Kept()
