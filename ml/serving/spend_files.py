"""The workers' counters of what is spent, as the pacemaker sees them: read, and told what each may still spend."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ml.bidding.day_budget import QUARTERS, DayBudget
from ml.serving import spending as at_word
from ml.serving.spending import HEAD, MAGIC, PATTERN, SHARE_ONE, SHARES, SLOT, SLOTS, WORDS, name_of


@dataclass(frozen=True)
class PartnerCount:
    """One partner in one file: where it stands, expected cost and sums of bids, what is allowed, its
    plan's budget (0: not paced), and since when it was counted."""

    at: int
    spent: int
    bids: int
    table_bids: int
    allowed: int
    budget: int
    started_us: int


class SpendFile:
    """One worker's file, mapped.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("r+b") as file:
            if os.fstat(file.fileno()).st_size != WORDS * 8:
                raise ValueError(f"{path.name} has another size")
            self._map = mmap.mmap(file.fileno(), WORDS * 8)
        self._words = memoryview(self._map).cast("q")
        self._budgets: tuple[int, dict[str, DayBudget]] = (-1, {})
        self.check()

    def check(self) -> None:
        """Raise ValueError where it is no longer what it was."""
        words = self._words
        if (
            words[at_word.MAGIC_AT] != MAGIC
            or words[at_word.SIZE_AT] != WORDS
            or not 0 <= words[at_word.SLOTS_AT] <= SLOTS
        ):
            raise ValueError(f"{self.path.name} is damaged")
        if any(count.spent < 0 or count.bids < 0 or count.table_bids < 0 for count in self.partners().values()):
            raise ValueError(f"{self.path.name} has counted backwards")

    @property
    def day(self) -> int:
        """The day since 1970 that is counted."""
        return self._words[at_word.DAY_AT]

    @property
    def beat_us(self) -> int:
        """The last sign of life."""
        return self._words[at_word.BEAT_AT]

    @property
    def followed_us(self) -> int:
        """Since when it follows its plan."""
        return self._words[at_word.FOLLOWED_AT]

    def partners(self) -> dict[str, PartnerCount]:
        """What was counted of each partner."""
        words = self._words
        return {
            name_of(words, at): PartnerCount(
                at,
                words[at + at_word.SPENT],
                words[at + at_word.BIDS],
                words[at + at_word.TABLE_BIDS],
                words[at + at_word.ALLOWED],
                words[at + at_word.BUDGET],
                words[at_word.STARTED_AT],
            )
            for at in self._places()
        }

    def budgets(self) -> dict[str, DayBudget]:
        """The figures of the partners that this worker's plan paces."""
        if self._budgets[0] == self.followed_us:
            return self._budgets[1]
        words, since, found = self._words, self.followed_us, {}
        for at in self._places():
            if words[at + at_word.BUDGET] > 0:
                shares = tuple(share / SHARE_ONE for share in words[at + SHARES : at + SHARES + QUARTERS].tolist())
                with suppress(ValueError):
                    budget = DayBudget(words[at + at_word.BUDGET], shares, known=bool(words[at + at_word.KNOWN]))
                    found[name_of(words, at)] = budget
        self._budgets = since, found
        return found

    def tell(self, at: int, *, allowed: int | None, multiplier: int, total: int, now_us: int, trouble: bool) -> None:
        """Tell the worker of a partner's slot; None leaves what it may spend as it is."""
        words = self._words
        if allowed is not None:
            words[at + at_word.ALLOWED] = allowed
        words[at + at_word.MULTIPLIER], words[at + at_word.TOTAL] = multiplier, total
        words[at_word.TOLD_AT], words[at_word.TROUBLE_AT] = now_us, trouble

    def close(self) -> None:
        """Give the mapping back."""
        self._words.release()
        self._map.close()

    def _places(self) -> range:
        return range(HEAD, HEAD + self._words[at_word.SLOTS_AT] * SLOT, SLOT)


class SpendFiles:
    """Every worker's file in these folders."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._known: dict[Path, SpendFile] = {}

    @property
    def open(self) -> list[SpendFile]:
        """Those that can be read."""
        return [*self._known.values()]

    def look(self) -> str:
        """Open what is new and forget what is gone; what cannot be read, as a sentence, empty where all can be."""
        wrong: list[str] = []
        found: set[Path] = set()
        for folder in self._folders:
            try:
                found |= {*folder.glob(PATTERN)}
            except OSError as error:
                wrong.append(f"{folder}: {error.strerror}")
        for path in self._known.keys() - found:
            self._known.pop(path).close()
        for path in sorted(found):
            try:
                # What is mapped and was cut off may not be touched.
                if path.stat().st_size != WORDS * 8:
                    raise ValueError(f"{path.name} has another size")
                if path in self._known:
                    self._known[path].check()
                else:
                    self._known[path] = SpendFile(path)
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                wrong.append(str(error))
                if path in self._known:
                    self._known.pop(path).close()
        return "; ".join(wrong)

    def sweep(self, *, before_day: int) -> None:
        """Remove what dead workers counted on days before this one, and what cannot be read."""
        known = {file.path: file for file in self.open}
        for folder in self._folders:
            with suppress(OSError):
                for path in folder.glob(PATTERN):
                    file = known.get(path)
                    if file is None or 0 < file.day < before_day:
                        path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give every mapping back."""
        for file in self._known.values():
            file.close()
        self._known = {}
