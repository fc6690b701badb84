"""Gate 10: asked about real rows with one thing changed, the models answer as money and units demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence_bids import Monotonicity as Measured
from ml.promotion.evidence_bids import Probe
from ml.promotion.gates.base import GateResult, need, severest
from ml.promotion.gates.bid_gate import BidGate


@dataclass(frozen=True)
class Monotonicity(BidGate):
    """Every property of every probe.

    A property may be broken by at most `max_broken` of the rows, by weight. Where an answer is to be a proportion, its
    elasticity may be off by `max_off`, and where it is to stay, by `max_drift`: twice the nights at the same price a night are
    twice the stay, and a price in another currency is the same traveller. Between one and two of these it holds.
    """

    name: ClassVar[str] = "monotonicity"
    what: ClassVar[str] = "the models' answers to changed rows"
    max_broken: float = 0.05
    max_off: float = 0.25
    max_drift: float = 0.75
    min_rows: int = 50

    def examine_part(self, part: Measured) -> GateResult:
        """Number: the share of rows that break a property, or how far a proportion is off; of the worst probe."""
        results = [self.part(probe.name, lambda probe=probe: self._probe(probe)) for probe in part.probes]  # type: ignore[misc]
        result = severest(results, missing="any property")
        if result.verdict is not Verdict.PASS:
            return result
        rows = min(need(probe.rows, "the number of rows asked") for probe in part.probes)
        worst = max(need(probe.broken, "the share of rows that break it") for probe in part.probes)
        reason = f"{len(part.probes)} properties hold; at most {worst:.1%} of rows break one"
        return self.say(Verdict.PASS, reason, number=worst, threshold=self.max_broken, sample=rows)

    def _probe(self, probe: Probe) -> GateResult:
        rows = need(probe.rows, "the number of rows asked")
        broken = need(probe.broken, "the share of rows that break it")
        if rows < self.min_rows:
            return self.say(Verdict.HOLD, f"{rows} rows are too few", number=float(rows), sample=rows)
        if probe.wanted is not None:
            return self._proportion(probe, probe.wanted, rows)
        verdict = Verdict.PASS if broken <= self.max_broken else Verdict.FAIL
        reason = f"{broken:.1%} of {rows} rows break it, the worst by {need(probe.worst, 'the worst break'):.1%}"
        return self.say(verdict, reason, number=broken, threshold=self.max_broken, sample=rows)

    def _proportion(self, probe: Probe, wanted: float, rows: int) -> GateResult:
        elasticity = need(probe.elasticity, "its elasticity")
        off, limit = abs(elasticity - wanted), self.max_off if wanted else self.max_drift
        verdict = Verdict.PASS if off <= limit else Verdict.HOLD if off <= 2 * limit else Verdict.FAIL
        reason = f"elasticity {elasticity:.2f} where {wanted:g} is wanted"
        return self.say(verdict, reason, number=off, threshold=limit, sample=rows)
