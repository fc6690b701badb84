"""Gate 15: publishing the candidate changes bids and spend by no more than a market can do to a champion in its time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence import BidChange as Change
from ml.promotion.evidence import Evidence
from ml.promotion.gates.base import Gate, GateResult, need, severest
from ml.promotion.gates.bid_gate import all_finite


@dataclass(frozen=True)
class BidChange(Gate):
    """Size of the change against what the live champion would bid today, by expected volume.

    Both are held against the same market: what rivals did since yesterday, and how it is said to a partner, is not the
    candidate's doing. What is published moves by a limited share a day besides (`max_bid_change`).

    A champion ages, and the longer it stands the more a good candidate differs from it: a gate that fails every
    difference keeps the old champion for good. So a change above the small limits passes, and a person is asked where the
    setting `approval` asks (`ml.promotion.policy.approval_needed`); only what no market does in the life of a champion fails.
    Spend may fall by more than it may rise: two thirds of the spend still earn 98 % of the profit, while 40 % more of it
    earn 3 % less. The median has the limit of a fall of spend: where every cell falls alike, both are the same number. Tables that share little volume cannot be compared: HOLD. The hotels with the most volume are among the
    numbers.
    """

    name: ClassVar[str] = "bid_change"
    reads: ClassVar[tuple[str, ...]] = ("bids",)
    small_median_change: float = 0.15
    small_p99_change: float = 0.60
    small_spend_rise: float = 0.15
    small_spend_fall: float = 0.30
    max_median_change: float = 0.50
    max_p99_change: float = 2.0
    max_spend_rise: float = 0.40
    max_spend_fall: float = 0.50
    min_matched_share: float = 0.5

    def examine(self, evidence: Evidence) -> GateResult:
        """Number: the first change beyond its limit, else that of the spend, of the worst table."""
        bids = need(evidence.bids, "the change of bids")
        if not need(bids.published_before, "whether a champion bids"):
            reason = "no champion bids in this market yet, so nothing changes"
            return self.say(Verdict.PASS, reason, number=0.0, sample=0)
        results = [self.part(change.name, lambda change=change: self._table(change)) for change in bids.changes]  # type: ignore[misc]
        return severest(results, missing="the change of any table")

    def _table(self, change: Change) -> GateResult:
        cells = need(change.cells, "the number of cells")
        matched = need(change.matched_share, "the share of matched volume")
        spend = need(change.spend_change, "the change of spend")
        median = need(change.median_change, "the median change")
        p99 = need(change.p99_change, "the 99th percentile of the change")
        all_finite(change.top_hotels, "the change of the hotels with the most volume")
        if matched < self.min_matched_share:
            reason = f"only {matched:.0%} of the volume is in cells that both know"
            return self.say(Verdict.HOLD, reason, number=matched, threshold=self.min_matched_share, sample=cells)
        reason = f"spend {spend:+.1%}, median change {median:.1%}, 99th percentile {p99:.1%}"
        up = spend > 0
        limits = (
            (
                spend,
                self.small_spend_rise if up else -self.small_spend_fall,
                self.max_spend_rise if up else -self.max_spend_fall,
            ),
            (median, self.small_median_change, self.max_median_change),
            (p99, self.small_p99_change, self.max_p99_change),
        )
        for number, _, most in limits:
            if abs(number) > abs(most):
                return self.say(Verdict.FAIL, reason, number=number, threshold=most, sample=cells)
        for number, small, _ in limits:
            if abs(number) > abs(small):
                reason += "; large, so that a person is asked where the setting asks"
                return self.say(Verdict.PASS, reason, number=number, threshold=limits[0][2], sample=cells)
        return self.say(Verdict.PASS, reason, number=spend, threshold=limits[0][2], sample=cells)
