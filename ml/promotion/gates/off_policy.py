"""Gate 12: what really came of the logged clicks does not speak against the candidate's bids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.evaluation.interval import Interval
from ml.promotion.evidence_bids import OffPolicy as Measured
from ml.promotion.gates.base import GateResult, need
from ml.promotion.gates.bid_gate import BidGate


@dataclass(frozen=True)
class OffPolicy(BidGate):
    """Two estimates that may not contradict one another, from realised bookings.

    They fail the candidate where both show a loss beyond `margin`, hold it where one does, where they show
    opposite signs, or where neither rules a loss beyond `worst` out. A week of a small market's bookings leaves some per
    cent of doubt: a bound of -1 % would hold every candidate. Weights that come out beyond `low` to `high` on
    the mean, or that few clicks carry, say that propensities are wrong: the gate holds.
    """

    name: ClassVar[str] = "off_policy"
    what: ClassVar[str] = "off-policy estimates"
    margin: float = 0.02
    worst: float = 0.15
    min_ess_share: float = 0.10
    low: float = 0.80
    high: float = 1.25
    min_clicks: int = 200
    min_blocks: int = 7

    def examine_part(self, part: Measured) -> GateResult:
        """Number: the doubly robust estimate of the gain over the champion's profit."""
        clicks = need(part.clicks, "the number of mature clicks")
        ess = need(part.ess_share, "the effective sample size")
        weight = need(part.mean_weight, "the mean weight")
        if clicks < self.min_clicks:
            return self.say(Verdict.HOLD, f"{clicks} mature clicks are too few", number=float(clicks), sample=clicks)
        if ess < self.min_ess_share:
            reason = f"the effective sample is {ess:.0%} of {clicks} clicks: the logs say too little of these bids"
            return self.say(Verdict.HOLD, reason, number=ess, threshold=self.min_ess_share, sample=clicks)
        if not self.low <= weight <= self.high:
            reason = f"the mean weight is {weight:.2f}, not near 1: the log was not made as is thought"
            limit = self.high if weight > 1 else self.low
            return self.say(Verdict.HOLD, reason, number=weight, threshold=limit, sample=clicks)
        both = (need(part.snips, "SNIPS"), need(part.dr, "the doubly robust estimate"))
        return self._judge(both, clicks)

    def _judge(self, both: tuple[Interval, Interval], clicks: int) -> GateResult:
        snips, dr = both
        reason = (
            f"SNIPS {snips.mid:+.1%} ({snips.low:+.1%} to {snips.high:+.1%}), "
            f"DR {dr.mid:+.1%} ({dr.low:+.1%} to {dr.high:+.1%}) against the champion's profit"
        )
        lost = [one.high < -self.margin for one in both]
        opposite = (snips.low > 0 and dr.high < 0) or (dr.low > 0 and snips.high < 0)
        if any(one.blocks < self.min_blocks for one in both):
            verdict, reason = Verdict.HOLD, f"{reason}; too few blocks"
        elif all(lost):
            verdict = Verdict.FAIL
        elif any(lost) or opposite:
            verdict, reason = Verdict.HOLD, f"{reason}: they do not agree"
        else:
            verdict = Verdict.PASS if max(one.low for one in both) > -self.worst else Verdict.HOLD
        return self.say(verdict, reason, number=dr.mid, threshold=-self.margin, interval=dr, sample=clicks)
