"""Gate 5: what the model promises is what comes, in money."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.evaluation.interval import within
from ml.promotion.evidence import ModelEvidence
from ml.promotion.gates.base import GateResult, IntervalGate


@dataclass(frozen=True)
class Calibration(IntervalGate):
    """Predicted over realised lies between `lowest` and `highest`, shown by its interval.

    Promising too much is judged harder than promising too little. A value per click of 1.15 times the truth
    costs 3 % of profit and raises spend by 40 %, one of 0.8 costs about 4 % and lowers spend; 1.5 costs 29 %,
    0.5 costs 25 %, and 2.0 all of it.
    """

    name: ClassVar[str] = "calibration"
    model_fields: ClassVar[tuple[str, ...]] = ("calibration",)
    lowest: float = 0.80
    highest: float = 1.15

    def examine_model(self, model: ModelEvidence) -> GateResult:
        """Number: predicted over realised; threshold: the limit on its side of 1."""
        ratio = self.usable(model.calibration, "predicted over realised")
        verdict = within(ratio, low=self.lowest, high=self.highest, min_blocks=self.min_blocks, min_rows=self.min_rows)
        reason = f"predicted / realised {ratio.mid:.3f}, {ratio.low:.3f} to {ratio.high:.3f}, limits {self.lowest} to {self.highest}"
        if verdict is Verdict.FAIL:
            reason += ": it promises too much" if ratio.mid > 1 else ": it promises too little"
        reason += self.too_few(ratio)
        limit = self.highest if ratio.mid > 1 else self.lowest
        return self.say(verdict, reason, number=ratio.mid, threshold=limit, interval=ratio, sample=ratio.rows)
