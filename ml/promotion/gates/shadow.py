"""Gate 18: beside the champion, without spending, the candidate bid for some days without an alarm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence_bids import Shadow as Measured
from ml.promotion.gates.base import GateResult, need
from ml.promotion.gates.bid_gate import BidGate


@dataclass(frozen=True)
class Shadow(BidGate):
    """Days in shadow, critical alarms, and what it promised for the champion's bids over what came of them."""

    name: ClassVar[str] = "shadow"
    what: ClassVar[str] = "the run in shadow"
    min_days: int = 7
    max_off: float = 0.10

    def examine_part(self, part: Measured) -> GateResult:
        """Number: critical alarms, days short of the least, or how far the promise is off."""
        days, critical = need(part.days, "the days in shadow"), need(part.critical, "the number of critical alarms")
        if critical:
            reason = f"{critical} critical alarms in {days} days of shadow"
            return self.say(Verdict.FAIL, reason, number=float(critical), threshold=0.0, sample=days)
        if days < self.min_days:
            reason = f"{days} of {self.min_days} days in shadow"
            return self.say(Verdict.HOLD, reason, number=float(days), threshold=float(self.min_days), sample=days)
        off = abs(need(part.predicted_over_realised, "promise over what came") - 1)
        verdict = Verdict.PASS if off <= self.max_off else Verdict.FAIL
        reason = f"{days} days in shadow, promises off by {off:.1%}"
        return self.say(verdict, reason, number=off, threshold=self.max_off, sample=days)
