"""Gate 2: the labels are mature, or their immaturity is corrected; and there are enough of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence import ModelEvidence
from ml.promotion.gates.base import GateResult, ModelGate, need


@dataclass(frozen=True)
class LabelMaturity(ModelGate):
    """At least `min_accounted_share` of the training rows have a certain label or enter as an expectation.

    An open booking taken as "not cancelled", or left out, biases a model: naive conversion rates of the last
    7 days are 15 % too low. At least `min_certain_share` must be certain, for an expectation has to be learned
    from something. Too few rows to judge on is HOLD: more will come.
    """

    name: ClassVar[str] = "label_maturity"
    model_fields: ClassVar[tuple[str, ...]] = (
        "training_rows",
        "certain_rows",
        "corrected_rows",
        "evaluation_rows",
        "positives",
    )
    min_accounted_share: float = 0.95
    min_certain_share: float = 0.5
    min_training_rows: int = 1000
    min_evaluation_rows: int = 300
    min_positives: int = 30

    def examine_model(self, model: ModelEvidence) -> GateResult:
        """Number: the share of training rows that are accounted for."""
        rows = need(model.training_rows, "the number of training rows")
        certain = need(model.certain_rows, "the number of training rows with a certain outcome")
        corrected = need(model.corrected_rows, "the number of corrected training rows")
        judged = need(model.evaluation_rows, "the number of evaluation rows")
        positives = need(model.positives, "the number of positive evaluation rows")
        for what, have, least in (
            ("training rows", rows, self.min_training_rows),
            ("evaluation rows", judged, self.min_evaluation_rows),
            ("positive evaluation rows", min(positives, judged - positives), self.min_positives),
        ):
            if have < least:
                reason = f"{have} {what} (of the rarer outcome)" if "positive" in what else f"{have} {what}"
                return self.say(
                    Verdict.HOLD, f"{reason}; {least} are needed", number=have, threshold=least, sample=judged
                )
        return self._shares(rows, certain=certain, accounted=certain + corrected, judged=judged)

    def _shares(self, rows: int, *, certain: int, accounted: int, judged: int) -> GateResult:
        share, sure = accounted / rows, certain / rows
        reason = f"{share:.1%} of {rows} training rows are certain or corrected, {sure:.1%} certain; {judged} judged"
        if share < self.min_accounted_share or share > 1:
            return self.say(Verdict.FAIL, reason, number=share, threshold=self.min_accounted_share, sample=rows)
        if sure < self.min_certain_share:
            return self.say(Verdict.FAIL, reason, number=sure, threshold=self.min_certain_share, sample=rows)
        return self.say(Verdict.PASS, reason, number=share, threshold=self.min_accounted_share, sample=rows)
