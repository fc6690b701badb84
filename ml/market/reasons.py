"""Marks on rows: why each of them is not accepted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

Reasons = npt.NDArray[np.object_]
"""For each row its reason, or None for an accepted row; shape (n,)."""

REPEATED_ROW = "repeated_row"
"""The reason of a row that came before, letter for letter."""


class Marks:
    """The reasons of n rows while they are being judged; the first reason of a row stays."""

    def __init__(self, n: int) -> None:
        self._codes: npt.NDArray[np.int16] = np.zeros(n, dtype=np.int16)
        self._labels: list[str | None] = [None]

    def mark(self, reason: str, places: npt.ArrayLike) -> None:
        """Give `reason` to the rows at `places` that have none yet."""
        where = np.asarray(places, dtype=np.intp)
        if where.size:
            self._labels.append(reason)
            self._codes[where[self._codes[where] == 0]] = len(self._labels) - 1

    @property
    def good(self) -> npt.NDArray[np.bool_]:
        """Which rows have no reason yet; shape (n,)."""
        good: npt.NDArray[np.bool_] = self._codes == 0
        return good

    def reasons(self, start: int, stop: int) -> Reasons:
        """The reasons of the rows from `start` up to `stop`."""
        return np.array(self._labels, dtype=object)[self._codes[start:stop]]


def reason_counts(reasons: Reasons) -> dict[str, int]:
    """How many rows each reason has, most frequent first, then by name."""
    counts = pd.Series(reasons, dtype=object).value_counts()
    return {str(reason): int(count) for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))}
