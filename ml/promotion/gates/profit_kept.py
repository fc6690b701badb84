"""Gate 4e: bids by its worth earn no less than bids by the champion's, on the same clicks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence
from ml.promotion.gates.base import Gate, GateResult, MissingEvidence, need


@dataclass(frozen=True)
class ProfitKept(Gate):
    """Profit at bids by worth, on clicks that were won and are mature, is within `margin` of the champion's.

    Fails where more is shown to be lost, passes where less is, and holds in between. Under `min_bookings` the number is told and does not
    hold: a few bookings decide it, and the losses of the models, which hold on few rows by themselves, see more.
    """

    name: ClassVar[str] = "profit_kept"
    reads: ClassVar[tuple[str, ...]] = ("champion_generation", "profit")
    margin: float = 0.02
    min_bookings: int = 100
    level: float = 0.90

    def examine(self, evidence: Evidence) -> GateResult:
        """Number: the difference of profit as a share of the champion's."""
        if need(evidence.champion_generation, "the champion's generation") == 0:
            return self.say(Verdict.PASS, "no champion to compare with", number=0.0, sample=0)
        profit = need(evidence.profit, "the profit at bids by worth")
        if not profit.applies:
            reason = "no partner to bid to: the deviance of net value is the error in money"
            return self.say(Verdict.PASS, reason, number=0.0, sample=0)
        bookings = need(profit.bookings, "the number of bookings")
        if bookings < self.min_bookings:
            reason = f"{bookings} bookings are too few to tell profits apart"
            return self.say(Verdict.PASS, reason, number=0.0, threshold=-self.margin, sample=bookings)
        need(profit.candidate, "the profit by the candidate")
        need(profit.champion, "the profit by the champion")
        found = need(profit.difference, "the difference of profits")
        if not found.finite:
            raise MissingEvidence("the difference of profits has no finite error")
        interval = found.interval(self.level)
        verdict = Verdict.HOLD
        if interval.low >= -self.margin:
            verdict = Verdict.PASS
        elif interval.high < -self.margin:
            verdict = Verdict.FAIL
        reason = f"profit {found.mid:+.1%} against the champion's, {interval.low:+.1%} to {interval.high:+.1%}"
        return self.say(
            verdict, reason, number=found.mid, threshold=-self.margin, interval=interval, sample=profit.clicks
        )
