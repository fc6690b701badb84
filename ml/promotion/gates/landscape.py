"""Gate 9: where bids were moved at random, clicks and cost came as the candidate's landscape expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.evaluation.interval import Interval, Limits, within
from ml.promotion.evidence_bids import LandscapeCheck
from ml.promotion.gates.base import GateResult, need, severest
from ml.promotion.gates.bid_gate import BidGate


@dataclass(frozen=True)
class Landscape(BidGate):
    """Expected over realised, and how often a partner's day lay within its 80 % interval.

    A tenth of bias is what one wants; a week or two of tries are a few hundred clicks of hotels that differ, whose sum
    strays by that much. So the estimates have the limits `low` and `high`, of cost wider ones by `cost_slack`, and the
    intervals must reach into them. Coverage is of independent clicks; below `least_covered` curves are wrong in places.
    """

    name: ClassVar[str] = "landscape"
    what: ClassVar[str] = "the landscape against bids that were moved at random"
    low: float = 0.75
    high: float = 1.30
    lowest: float = 0.60
    highest: float = 1.60
    cost_slack: float = 1.2
    least_covered: float = 0.50
    min_groups: int = 8
    min_auctions: int = 1_000
    min_hotels: int = 20

    def examine_part(self, part: LandscapeCheck) -> GateResult:
        """Number: expected over realised clicks or cost, whichever is judged harder, or the coverage."""
        clicks = Limits(self.low, self.high, self.lowest, self.highest)
        slack = self.cost_slack
        cost = Limits(self.low / slack, self.high * slack, self.lowest / slack, self.highest * slack)
        results = [
            self.part("clicks", lambda: self._ratio(need(part.clicks, "expected over realised"), clicks)),
            self.part("cost", lambda: self._ratio(need(part.cost, "expected over realised"), cost)),
            self.part("coverage", lambda: self._coverage(part)),
        ]
        return severest(results, missing="the landscape")

    def _ratio(self, ratio: Interval, limits: Limits) -> GateResult:
        verdict = within(ratio, limits, min_blocks=self.min_hotels, min_rows=self.min_auctions)
        reason = f"expected / realised {ratio.mid:.2f}, {ratio.low:.2f} to {ratio.high:.2f}"
        limit = limits.high if ratio.mid > 1 else limits.low
        return self.say(verdict, reason, number=ratio.mid, threshold=limit, interval=ratio, sample=ratio.rows)

    def _coverage(self, part: LandscapeCheck) -> GateResult:
        groups = need(part.groups, "the number of partners' days")
        if groups < self.min_groups:
            reason = f"{groups} partners' days are too few to say how often intervals hold"
            return self.say(Verdict.PASS, reason, number=0.0, sample=groups)
        covered = need(part.covered, "the share of intervals that hold")
        verdict = Verdict.PASS if covered >= self.least_covered else Verdict.FAIL
        reason = f"{covered:.0%} of 80 % intervals hold, of {groups} partners' days"
        return self.say(verdict, reason, number=covered, threshold=self.least_covered, sample=groups)
