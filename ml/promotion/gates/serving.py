"""Gate 17: served from its bytes in a process of its own, the candidate says what it said here, and in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence_bids import ServingRehearsal
from ml.promotion.gates.base import GateResult, need
from ml.promotion.gates.bid_gate import BidGate


@dataclass(frozen=True)
class Serving(BidGate):
    """Equality bit for bit of at least `min_matched`, and the processor time of one prediction.

    The time is of the models as trained, on one row, without the service's faster engine and its waiting: a model that is
    slow here is slow there.
    """

    name: ClassVar[str] = "serving"
    what: ClassVar[str] = "the rehearsal in a process of its own"
    min_matched: float = 0.999
    max_p99_ms: float = 100.0
    min_compared: int = 100
    min_timed: int = 50

    def examine_part(self, part: ServingRehearsal) -> GateResult:
        """Number: the share of predictions that are the same, else the 99th percentile in ms."""
        fault = need(part.fault, "whether the process answered")
        if fault:
            return self.say(Verdict.FAIL, f"it cannot be served: {fault}", number=0.0, threshold=self.min_matched)
        compared, timed = need(part.compared, "the number of predictions"), need(part.timed, "the number of times")
        matched, p99 = need(part.matched_share, "the share that is the same"), need(part.p99_ms, "the time of one")
        reason = (
            f"{matched:.2%} of {compared} predictions are the same bit for bit; one takes {p99:g} ms (99th percentile)"
        )
        if compared < self.min_compared or timed < self.min_timed:
            return self.say(Verdict.HOLD, f"{reason}; too few", number=matched, sample=compared)
        if matched < self.min_matched:
            return self.say(Verdict.FAIL, reason, number=matched, threshold=self.min_matched, sample=compared)
        if p99 > self.max_p99_ms:
            return self.say(Verdict.HOLD, reason, number=p99, threshold=self.max_p99_ms, sample=timed)
        return self.say(Verdict.PASS, reason, number=matched, threshold=self.min_matched, sample=compared)
