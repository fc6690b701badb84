"""A judgement has three values; missing evidence is HOLD, never PASS."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """What a gate or a check concludes."""

    PASS = "PASS"  # noqa: S105  (a verdict, not a password)
    HOLD = "HOLD"
    FAIL = "FAIL"


_SEVERITY = {Verdict.PASS: 0, Verdict.HOLD: 1, Verdict.FAIL: 2}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The severest of several verdicts; of none at all, HOLD, because nothing was shown.

    >>> worst([Verdict.PASS, Verdict.HOLD])
    <Verdict.HOLD: 'HOLD'>
    >>> worst([])
    <Verdict.HOLD: 'HOLD'>
    """
    return max(verdicts, key=_SEVERITY.__getitem__, default=Verdict.HOLD)
