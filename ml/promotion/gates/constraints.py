"""Gate 14: the candidate's bids keep to the budget, the floor, the cap and their own plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence_bids import Constraints as Measured
from ml.promotion.gates.base import GateResult, need
from ml.promotion.gates.bid_gate import BidGate


@dataclass(frozen=True)
class Constraints(BidGate):
    """In simulated weeks, of days as they came.

    A limit is kept where at most `max_weeks` of the weeks break it beyond its tolerance, and the mean day spends no
    more than `max_over` above the budget. Spend that the market as it is would take beyond what the bids are expected
    to cost by `max_plan_over` says that the plan is wrong. A budget or floor that is not set is not judged.
    """

    name: ClassVar[str] = "constraints"
    what: ClassVar[str] = "budget, floor and caps in simulated weeks"
    max_over: float = 0.05
    max_weeks: float = 0.10
    max_plan_over: float = 0.30
    min_weeks: int = 50

    def examine_part(self, part: Measured) -> GateResult:
        """Number: the first beyond its limit, else the spend over the plan, less 1."""
        weeks, above = need(part.weeks, "the number of weeks"), need(part.above_cap, "the number of bids above the cap")
        plan = need(part.plan_over, "spend over the plan")
        numbers = [("bids are above the cap", float(above), 0.0)]
        if need(part.has_budget, "whether there is a budget"):
            numbers += [
                (
                    "spend of the mean day over the budget, less 1",
                    need(part.budget_over, "spend over the budget"),
                    self.max_over,
                ),
                (
                    "share of weeks that overspend",
                    need(part.weeks_over, "the share of weeks that overspend"),
                    self.max_weeks,
                ),
            ]
        if need(part.has_floor, "whether there is a floor"):
            under = need(part.weeks_under_floor, "the share of weeks below the floor")
            numbers.append(("share of weeks below the floor on the return", under, self.max_weeks))
        numbers.append(("spend over the plan, less 1", plan, self.max_plan_over))
        if weeks < self.min_weeks:
            return self.say(Verdict.HOLD, f"{weeks} weeks are too few", number=float(weeks), sample=weeks)
        for name, number, limit in numbers:
            if number > limit:
                return self.say(Verdict.FAIL, f"{name}: {number:.3g}", number=number, threshold=limit, sample=weeks)
        reason = "; ".join(f"{name}: {number:.3g}" for name, number, _ in numbers)
        return self.say(Verdict.PASS, reason, number=plan, threshold=self.max_plan_over, sample=weeks)
