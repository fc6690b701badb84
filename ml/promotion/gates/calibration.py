"""Gate 5: what the model promises is what comes, in money."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.evaluation.interval import Limits, within
from ml.promotion.evidence import ModelEvidence
from ml.promotion.gates.base import GateResult, IntervalGate


@dataclass(frozen=True)
class Calibration(IntervalGate):
    """Predicted over realised lies between `low` and `high`, and its interval between `lowest` and `highest`.

    The limits are set by what they cost, and promising too much is judged harder than too little: a value per
    click of 1.15 times the truth costs 3 % of profit and raises spend by 40 %, one of 0.8 costs about as much
    and lowers spend; 1.3 and 0.7 cost 10 % each, 1.5 costs 29 %, 2.0 all of it.

    These limits leave room for a young market's few bookings. Where the sample is large enough to know better, its upper bound no
    more than `sharp_width` above the estimate, the upper bound has to lie at or below `sharp_high`: else it holds, and fails where the whole interval lies above.
    """

    name: ClassVar[str] = "calibration"
    model_fields: ClassVar[tuple[str, ...]] = ("calibration",)
    low: float = 0.80
    high: float = 1.15
    lowest: float = 0.70
    highest: float = 1.25
    sharp_width: float = 0.03
    sharp_high: float = 1.08

    def examine_model(self, model: ModelEvidence) -> GateResult:
        """Number: predicted over realised; threshold: the limit of the estimate on its side of 1."""
        ratio = self.usable(model.calibration, "predicted over realised")
        limits = Limits(self.low, self.high, self.lowest, self.highest)
        verdict = within(ratio, limits, min_blocks=self.min_blocks, min_rows=self.min_rows)
        sharp = ratio.high - ratio.mid <= self.sharp_width and ratio.high > self.sharp_high
        if sharp and verdict is Verdict.PASS:
            verdict = Verdict.FAIL if ratio.low > self.sharp_high else Verdict.HOLD
        reason = f"predicted / realised {ratio.mid:.3f} (limits {self.low} to {self.high}), "
        reason += f"{ratio.low:.3f} to {ratio.high:.3f} (limits {self.lowest} to {self.highest})"
        reason += f"; of a sample this large the upper bound is to be {self.sharp_high} at most" if sharp else ""
        if verdict is Verdict.FAIL:
            reason += ": it promises too much" if ratio.mid > 1 else ": it promises too little"
        reason += self.too_few(ratio)
        limit = self.high if ratio.mid > 1 else self.low
        return self.say(verdict, reason, number=ratio.mid, threshold=limit, interval=ratio, sample=ratio.rows)
