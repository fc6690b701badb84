"""Gate 19: going back was rehearsed lately, and was quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence_bids import RollbackDrill as Measured
from ml.promotion.gates.base import GateResult, need
from ml.promotion.gates.bid_gate import BidGate


@dataclass(frozen=True)
class RollbackDrill(BidGate):
    """Age of the last drill and how long it took. An old or slow drill holds: it says nothing against the candidate."""

    name: ClassVar[str] = "rollback_drill"
    what: ClassVar[str] = "the last drill of a rollback"
    max_age_days: float = 30.0
    max_s: float = 900.0

    def examine_part(self, part: Measured) -> GateResult:
        """Number: the age of the drill in days, or the seconds that it took where these are too many."""
        age, took = need(part.age_days, "the age of the last drill"), need(part.took_s, "how long the drill took")
        reason = f"a rollback was rehearsed {age:.0f} days ago and took {took:.0f} s"
        if took > self.max_s:
            return self.say(Verdict.HOLD, reason, number=took, threshold=self.max_s)
        verdict = Verdict.PASS if age <= self.max_age_days else Verdict.HOLD
        return self.say(verdict, reason, number=age, threshold=self.max_age_days)
