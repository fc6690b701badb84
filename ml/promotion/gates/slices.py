"""Gate 4f: no part of the market pays for the gain of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.evaluation.slices import FALSE_SHARE, discoveries
from ml.promotion.evidence import Evidence, ModelEvidence
from ml.promotion.gates.base import GateResult, ReadsModels, each_model, need


@dataclass(frozen=True)
class Slices(ReadsModels):
    """In no slice with support is the loss shown to be higher than the champion's by more than `margin_share` of it.

    By partner, market, device, lead time, length of stay, price, and size of the hotel. Among all slices of a model the share of false
    findings is held at `false_share` (`ml.evaluation.slices`). A slice without support is in the numbers and decides nothing.
    """

    name: ClassVar[str] = "slices"
    reads: ClassVar[tuple[str, ...]] = ("champion_generation",)
    model_fields: ClassVar[tuple[str, ...]] = ("slices",)
    margin_share: float = 0.05
    false_share: float = FALSE_SHARE
    min_rows: int = 200
    min_positives: int = 30
    min_days: int = 7

    def examine(self, evidence: Evidence) -> GateResult:
        """Number: the largest difference in a slice with support, as a share of the champion's loss there."""
        if need(evidence.champion_generation, "the champion's generation") == 0:
            return each_model(
                self, evidence, lambda _: self.say(Verdict.PASS, "no champion to compare with", number=0.0)
            )
        return each_model(self, evidence, self._model)

    def _model(self, model: ModelEvidence) -> GateResult:
        slices = need(model.slices, "the slices")
        for one in slices:
            need(one.champion, f"the champion's loss in {one.field} {one.label}")
            need(one.difference.mid, f"the difference in {one.field} {one.label}")
        judged = [
            one
            for one in slices
            if one.rows >= self.min_rows
            and min(one.positives, one.rows - one.positives) >= self.min_positives
            and one.difference.days >= self.min_days
        ]
        if not judged:
            reason = f"none of {len(slices)} slices has support"
            return self.say(Verdict.PASS, reason, number=0.0, threshold=self.margin_share, sample=0)
        for one in judged:
            need(one.difference.error, f"the error of the difference in {one.field} {one.label}")
        lost = discoveries(
            [one.difference.p_above(self.margin_share * one.champion) for one in judged], share=self.false_share
        )
        shares = [one.difference.mid / one.champion for one in judged]
        named = [place for place, found in enumerate(lost) if found]
        worst = max(named or range(len(judged)), key=lambda place: shares[place])
        one = judged[worst]
        if named:
            names = ", ".join(f"{judged[n].field} {judged[n].label} {shares[n]:+.1%}" for n in named[:5])
            reason, verdict = f"it loses in {len(named)} of {len(judged)} slices: {names}", Verdict.FAIL
        else:
            reason = f"no loss shown in {len(judged)} slices, at most {shares[worst]:+.1%} in {one.field} {one.label}"
            verdict = Verdict.PASS
        return self.say(
            verdict,
            reason,
            number=shares[worst],
            threshold=self.margin_share,
            interval=one.difference.interval(),
            sample=one.rows,
        )
