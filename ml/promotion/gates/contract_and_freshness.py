"""Gate 1: the inputs kept their contract and are of today."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence
from ml.promotion.gates.base import Gate, GateResult, MissingEvidence, need


@dataclass(frozen=True)
class ContractAndFreshness(Gate):
    """Data up to the market day, features up to the market day, and no missing or held day where it matters.

    A missing or held day within the last `recent_days` fails; older ones are allowed up to
    `max_unfit_share` of the days, because they are left out of training. A row of such a day that was used
    all the same fails at any age.
    """

    name: ClassVar[str] = "contract_and_freshness"
    reads: ClassVar[tuple[str, ...]] = ("day", "inputs")
    recent_days: int = 7
    max_unfit_share: float = 0.05

    def examine(self, evidence: Evidence) -> GateResult:
        """Number: days behind, else used unfit days, else recent unfit days, else the share of older ones."""
        inputs = need(evidence.inputs, "the state of the inputs")
        need(inputs.data_digest, "the digest of the data")
        first, last = need(inputs.first_day, "the first day"), need(inputs.last_day, "the last day with data")
        watermark = need(inputs.watermark, "the features' watermark")
        used = need(inputs.unfit_days_used, "the use of missing and held days")
        unfit = {*need(inputs.missing_days, "the missing days"), *need(inputs.held_days, "the held days")}
        days = (evidence.day - first).days + 1
        if days < 1:
            raise MissingEvidence(f"the days from {first} to {evidence.day} are none: their state was not measured")
        behind = (evidence.day - min(last, watermark)).days
        if behind > 0:
            which = "data" if last <= watermark else "features"
            return self._fail(f"the {which} are {behind} days behind {evidence.day}", number=behind, sample=days)
        if used:
            return self._fail(f"rows of missing or held days were used: {_list(used)}", number=len(used), sample=days)
        recent = {day for day in unfit if day > evidence.day - timedelta(days=self.recent_days)}
        if recent:
            reason = f"missing or held within the last {self.recent_days} days: {_list(recent)}"
            return self._fail(reason, number=len(recent), sample=days)
        share = len(unfit) / days
        verdict = Verdict.PASS if share <= self.max_unfit_share else Verdict.FAIL
        reason = f"data and features reach {evidence.day}; {len(unfit)} of {days} days were missing or held"
        return self.say(verdict, reason, number=share, threshold=self.max_unfit_share, sample=days)

    def _fail(self, reason: str, *, number: int, sample: int) -> GateResult:
        return self.say(Verdict.FAIL, reason, number=float(number), threshold=0.0, sample=sample)


def _list(days: Iterable[date]) -> str:
    """The newest three, and how many more."""
    newest = sorted(days, reverse=True)
    more = f" and {len(newest) - 3} more" if len(newest) > 3 else ""
    return ", ".join(day.isoformat() for day in newest[:3]) + more
