"""Gate 11: in the auctions of the last days the candidate's bids earn no less than the champion's, at the same budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence_bids import Replay as Measured
from ml.promotion.gates.base import GateResult, need
from ml.promotion.gates.bid_gate import BidGate


@dataclass(frozen=True)
class Replay(BidGate):
    """The gain over the champion's profit, by a judge that is neither of them (`ml.promotion.measure_bids`).

    Passes where a loss beyond `margin` has a probability below `max_probability`, fails where a loss beyond it is that sure.
    `min_gain` is 0 by rule less the margin: a retrain for the sake of fresh data need not earn more; which of two is better is
    `NotWorseThanChampion`'s to say, on outcomes alone.
    """

    name: ClassVar[str] = "replay"
    what: ClassVar[str] = "the replay of the last days' auctions"
    margin: float = 0.05
    min_days: int = 5
    min_auctions: int = 1_000

    def examine_part(self, part: Measured) -> GateResult:
        """Number: profit over the champion's, less 1."""
        gain = need(part.gain, "the gain over the champion's profit")
        days, auctions = need(part.days, "the number of days"), need(part.auctions, "the number of auctions")
        trust, scale = need(part.trust, "belief in the candidate"), need(part.scale, "the scale of what came")
        need(part.candidate_profit_micros, "the candidate's profit")
        if need(part.champion_profit_micros, "the champion's profit") <= 0:
            reason = "the champion's bids earn nothing here, so that there is no profit to compare with"
            return self.say(Verdict.HOLD, reason, number=gain.mid, interval=gain, sample=auctions)
        reason = (
            f"profit {gain.mid:+.1%} against the champion's ({gain.low:+.1%} to {gain.high:+.1%}); "
            f"belief in the candidate {trust:.0%}, what came {scale:.2f} of what was promised"
        )
        if days < self.min_days or auctions < self.min_auctions:
            verdict = Verdict.HOLD
            reason += f"; {auctions} auctions of {days} days are too few"
        else:
            verdict = (
                Verdict.PASS if gain.low >= -self.margin else Verdict.FAIL if gain.high < -self.margin else Verdict.HOLD
            )
        return self.say(verdict, reason, number=gain.mid, threshold=-self.margin, interval=gain, sample=auctions)
