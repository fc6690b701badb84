"""Gate 4a: the model earns its complexity, for it beats the logistic baseline on the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.evaluation.interval import LEVEL, better
from ml.promotion.evidence import Evidence, ModelEvidence
from ml.promotion.gates.base import GateResult, MissingEvidence, ModelGate, need


@dataclass(frozen=True)
class BeatsBaseline(ModelGate):
    """The primary loss shows a gain over the baseline (see `ml.evaluation.interval.better`)."""

    name: ClassVar[str] = "beats_baseline"
    model_fields: ClassVar[tuple[str, ...]] = ("losses",)
    min_blocks: int = 7
    min_rows: int = 300
    level: float = LEVEL

    def examine_model(self, model: ModelEvidence, evidence: Evidence) -> GateResult:  # noqa: ARG002
        """Number: the candidate's mean loss minus the baseline's."""
        if not model.losses:
            raise MissingEvidence("no loss was measured")
        loss = model.losses[0]
        ours, theirs = need(loss.candidate, f"its {loss.name}"), need(loss.baseline, f"the baseline's {loss.name}")
        difference = need(loss.over_baseline, f"the difference of {loss.name} from the baseline")
        if difference.level < self.level:
            raise MissingEvidence(f"the interval has level {difference.level}, {self.level} is needed")
        verdict = better(difference, min_blocks=self.min_blocks, min_rows=self.min_rows)
        reason = f"{loss.name} {ours:.4g} against the baseline's {theirs:.4g}{_MEANING[verdict]}"
        if not difference.enough(min_blocks=self.min_blocks, min_rows=self.min_rows):
            reason += f"; {difference.rows} rows in {difference.blocks} blocks are too few"
        return self.say(
            verdict, reason, number=difference.mid, threshold=0.0, interval=difference, sample=difference.rows
        )


_MEANING = {
    Verdict.PASS: ", a gain",
    Verdict.HOLD: ", no gain shown yet",
    Verdict.FAIL: ", no gain",
}
