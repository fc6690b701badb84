"""Gate 13: in a market that turns, the candidate's bids lose no more than the champion's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence_bids import Shock
from ml.promotion.evidence_bids import Stress as Measured
from ml.promotion.gates.base import GateResult, need, severest
from ml.promotion.gates.bid_gate import BidGate


@dataclass(frozen=True)
class Stress(BidGate):
    """No shock leaves less than `min_share` of the champion's profit, or makes spend exceed the plan by `max_spend`.

    Where the champion earns next to nothing in a shock itself, the difference is held against its usual profit. Without a
    champion the bids must at least earn something while nothing happens.
    """

    name: ClassVar[str] = "stress"
    what: ClassVar[str] = "the bids under shocks"
    min_share: float = 0.80
    max_spend: float = 1.5
    least_base: float = 0.25

    def examine_part(self, part: Measured) -> GateResult:
        """Number: the smallest share of the champion's profit, or the spend over the plan that is too high."""
        usual = need(part.usual_profit_micros, "the usual profit")
        champion = need(part.champion, "whether there is a champion")
        if usual <= 0:
            who = "champion's" if champion else "candidate's"
            reason = f"the {who} bids earn nothing even without a shock"
            return self.say(Verdict.HOLD if champion else Verdict.FAIL, reason, number=usual, threshold=0.0)
        results = [
            self.part(shock.name, partial(self._shock, shock, usual, champion=champion)) for shock in part.shocks
        ]
        result = severest(results, missing="any shock")
        if result.verdict is not Verdict.PASS:
            return result
        worst = min if champion else max
        return worst(results, key=lambda one: one.number or 0.0)

    def _shock(self, shock: Shock, usual: float, *, champion: bool) -> GateResult:
        spend = need(shock.spend_over_plan, "spend over the plan")
        if spend > self.max_spend:
            reason = f"spend is {spend:.2f} of the plan"
            return self.say(Verdict.FAIL, reason, number=spend, threshold=self.max_spend)
        if not champion:
            return self.say(Verdict.PASS, f"spend is {spend:.2f} of the plan", number=spend, threshold=self.max_spend)
        ours = need(shock.candidate_profit_micros, "the candidate's profit")
        theirs = need(shock.champion_profit_micros, "the champion's profit")
        share = 1 + (ours - theirs) / max(theirs, self.least_base * usual)
        verdict = Verdict.PASS if share >= self.min_share else Verdict.FAIL
        reason = f"{share:.2f} of the champion's profit, spend {spend:.2f} of the plan"
        return self.say(verdict, reason, number=share, threshold=self.min_share)
