"""Gate 4a: the model earns its complexity, for it beats the logistic baseline on the same rows, or is that baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.evaluation.interval import better
from ml.promotion.evidence import ModelEvidence
from ml.promotion.gates.base import GateResult, IntervalGate, need


@dataclass(frozen=True)
class BeatsBaseline(IntervalGate):
    """The loss shows a gain over the baseline (see `ml.evaluation.interval.better`)."""

    name: ClassVar[str] = "beats_baseline"
    model_fields: ClassVar[tuple[str, ...]] = ("baseline_loss",)

    def examine_model(self, model: ModelEvidence) -> GateResult:
        """Number: the candidate's mean loss minus the baseline's."""
        loss = need(model.baseline_loss, "the loss to compare with the baseline's")
        ours, theirs = need(loss.candidate, f"its {loss.name}"), need(loss.baseline, f"the baseline's {loss.name}")
        difference = self.usable(loss.over_baseline, f"the difference of {loss.name} from the baseline")
        enough = difference.enough(min_blocks=self.min_blocks, min_rows=self.min_rows)
        if enough and difference.low == difference.high == 0.0:
            verdict, meaning = Verdict.PASS, ": the baseline itself predicts, so there is no complexity to earn"
        else:
            verdict = better(difference, min_blocks=self.min_blocks, min_rows=self.min_rows)
            meaning = _MEANING[verdict] + self.too_few(difference)
        reason = f"{loss.name} {ours:.4g} against the baseline's {theirs:.4g}{meaning}"
        return self.say(
            verdict, reason, number=difference.mid, threshold=0.0, interval=difference, sample=difference.rows
        )


_MEANING = {
    Verdict.PASS: ", a gain",
    Verdict.HOLD: ", no gain shown yet",
    Verdict.FAIL: ", no gain",
}
