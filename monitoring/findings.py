"""What a check found: one number against one limit, with the sentence that a person reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ml.core.verdict import Verdict, worst

COLD_START, SMALL_MARKET = "cold_start", "small_market"
"""Checks that could not be made because a market is young or small: told in the report, no reason to wake anybody."""

QUIET = frozenset({COLD_START, SMALL_MARKET})


@dataclass(frozen=True)
class Finding:
    """One check of one column (or of a whole set of rows, when `column` is empty).

    `number` is what was measured and `limit` what it was held against, both None where the check
    has no number. `subject` names the rows, such as `bookings`. `implied` where another finding says the same
    of the whole, so that its reason need not be read again for each part.
    """

    check: str
    subject: str
    column: str
    verdict: Verdict
    number: float | None
    limit: float | None
    reason: str
    implied: bool = False

    def as_json(self) -> dict[str, Any]:
        """The finding as plain JSON values; a number that is not finite becomes null."""
        return {
            "check": self.check,
            "subject": self.subject,
            "column": self.column,
            "verdict": self.verdict.value,
            "number": finite(self.number),
            "limit": finite(self.limit),
            "reason": self.reason,
        }


def finite(number: float | None, digits: int = 6) -> float | None:
    """A number fit for JSON, rounded; None for one that is missing, NaN or infinite.

    >>> finite(1 / 3), finite(float("nan")), finite(None)
    (0.333333, None, None)
    """
    if number is None or not math.isfinite(number):
        return None
    return round(float(number), digits)


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """The severest verdict; HOLD when nothing was checked."""
    return worst(finding.verdict for finding in findings)


def reasons_of(findings: Sequence[Finding]) -> list[str]:
    """The reasons of everything that did not pass, failures first; what another finding implies is not said again."""
    told = [finding for finding in findings if not finding.implied]
    return [f.reason for verdict in (Verdict.FAIL, Verdict.HOLD) for f in told if f.verdict is verdict]


def alarming(findings: Iterable[Finding], verdict: Verdict) -> list[Finding]:
    """The findings of a verdict that a person should hear of."""
    return [finding for finding in findings if finding.verdict is verdict and finding.check not in QUIET]


def held(check: str, subject: str, reason: str, *, column: str = "") -> Finding:
    """A finding that says that nothing could be judged, and why."""
    return Finding(check, subject, column, Verdict.HOLD, None, None, reason)


def first_line(error: BaseException) -> str:
    """The class of an error and the first line of what it says.

    >>> first_line(ValueError("no rows\\nat all"))
    'ValueError: no rows'
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
