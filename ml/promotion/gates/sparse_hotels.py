"""Gate 8: a hotel that hardly booked is not taken at its own few bookings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence_bids import SparseHotels as Measured
from ml.promotion.gates.base import GateResult, need
from ml.promotion.gates.bid_gate import BidGate


@dataclass(frozen=True)
class SparseHotels(BidGate):
    """Shrinkage is judged by what the model does, whatever it is made of.

    A raw ratio repeats the whole excess of a hotel's bookings over the expected ones; the spread of all hotels
    justifies a part of it (`ought`). Above that by `hold_excess` the gate holds, by `fail_excess` it fails. Besides, few clicks
    of such hotels may have a multiplier beyond 0.4 to 2.5, a bid may be more than twice the worth of a click with a small
    probability only, and those with the highest multipliers must keep what they promise.
    """

    name: ClassVar[str] = "sparse_hotels"
    what: ClassVar[str] = "what the model makes of hotels with few bookings"
    hold_excess: float = 0.20
    fail_excess: float = 0.35
    max_outside_share: float = 0.10
    max_over_bid_share: float = 0.04
    max_promised: float = 1.25
    min_bookings: int = 30

    def examine_part(self, part: Measured) -> GateResult:
        """Number: the share of the excess that multipliers repeat, or the first other number beyond its limit."""
        sparse = need(part.sparse, "the number of hotels with few bookings")
        if sparse == 0:
            return self.say(Verdict.PASS, "no hotel has few bookings", number=0.0, sample=0)
        follows, ought = need(part.follows, "what multipliers repeat"), need(part.ought, "what they ought to repeat")
        outside = need(part.outside_share, "the share of clicks with a multiplier beyond the limits")
        over = need(part.over_bid_share, "the probability of bids above twice the worth of a click")
        bookings = need(part.bookings, "the bookings of hotels that have few")
        reason = (
            f"multipliers of {sparse} hotels repeat {follows:.2f} of their bookings' excess, where {ought:.2f} is justified; "
            f"{outside:.1%} of clicks beyond the limits, {over:.1%} chance of a bid above twice the worth"
        )
        if bookings < self.min_bookings:
            return self.say(Verdict.HOLD, f"{reason}; {bookings} bookings are too few", number=follows, sample=bookings)
        promised = part.promised
        if promised is not None and promised.finite:
            reason += (
                f"; the highest promise {promised.mid:.2f} of what came ({promised.low:.2f} to {promised.high:.2f})"
            )
            if promised.low > self.max_promised:
                return self.say(
                    Verdict.FAIL, reason, number=promised.mid, threshold=self.max_promised, interval=promised,
                    sample=promised.rows,
                )  # fmt: skip
        limit = ought + self.hold_excess
        if follows > ought + self.fail_excess:
            return self.say(Verdict.FAIL, reason, number=follows, threshold=limit, sample=bookings)
        for number, most in ((outside, self.max_outside_share), (over, self.max_over_bid_share)):
            if number > most:
                return self.say(Verdict.FAIL, reason, number=number, threshold=most, sample=bookings)
        verdict = Verdict.HOLD if follows > limit else Verdict.PASS
        return self.say(verdict, reason, number=follows, threshold=limit, sample=bookings)
