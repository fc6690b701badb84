"""Gate 4b: nothing is lost against the champion on the same mature rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.evaluation.interval import not_worse
from ml.promotion.evidence import Evidence, LossEvidence, ModelEvidence
from ml.promotion.gates.base import GateResult, IntervalGate, need, severest


@dataclass(frozen=True)
class NotWorseThanChampion(IntervalGate):
    """Each loss is not worse than the champion's by a share of it (see `ml.evaluation.interval.not_worse`).

    The first loss has `margin_share`, the others `guard_margin_share`. The margin is no licence to lose: it is
    the loss that a retrain may cost for the sake of fresh data, and below it an A/A pair would never pass.
    Without a champion this gate passes, for `BeatsBaseline` stands in.
    """

    name: ClassVar[str] = "not_worse_than_champion"
    reads: ClassVar[tuple[str, ...]] = ("champion_generation",)
    model_fields: ClassVar[tuple[str, ...]] = ("losses",)
    margin_share: float = 0.02
    guard_margin_share: float = 0.04

    def examine(self, evidence: Evidence) -> GateResult:
        """Number: the worst loss's difference from the champion's; generation 0 when there is no champion."""
        if need(evidence.champion_generation, "the champion's generation") == 0:
            reason = "first champion: none is live in this market, so the baseline stands in"
            return self.say(Verdict.PASS, reason, number=0.0, sample=0)
        return super().examine(evidence)

    def examine_model(self, model: ModelEvidence) -> GateResult:
        """The worst of the model's losses, the first in order."""
        shares = [self.margin_share] + [self.guard_margin_share] * len(model.losses)
        results = [
            self.part(loss.name, lambda loss=loss, share=share: self._loss(loss, share))  # type: ignore[misc]
            for loss, share in zip(model.losses, shares[: len(model.losses)], strict=True)
        ]
        return severest(results, missing="any loss")

    def _loss(self, loss: LossEvidence, share: float) -> GateResult:
        ours, theirs = need(loss.candidate, "its mean"), need(loss.champion, "the champion's mean")
        difference = self.usable(loss.over_champion, "the difference from the champion")
        margin = share * abs(theirs)
        verdict = not_worse(difference, margin=margin, min_blocks=self.min_blocks, min_rows=self.min_rows)
        reason = f"{ours:.4g} against the champion's {theirs:.4g}, margin {margin:.2g}{_MEANING[verdict]}"
        reason += self.too_few(difference)
        return self.say(
            verdict, reason, number=difference.mid, threshold=margin, interval=difference, sample=difference.rows
        )


_MEANING = {
    Verdict.PASS: ": not worse",
    Verdict.HOLD: ": not shown either way",
    Verdict.FAIL: ": worse",
}
