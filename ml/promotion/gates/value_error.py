"""Gate 7: values and cancellations are predicted without bias, and no more widely off than the champion's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence, FieldEvidence, ModelEvidence
from ml.promotion.gates.base import GateResult, MissingEvidence, ReadsModels, each_model, need, severest
from ml.promotion.gates.field_calibration import finite


@dataclass(frozen=True)
class ValueErrors(ReadsModels):
    """Of a model of values: cancellations by lead time, and the absolute error of net value beside the champion's.

    Gross value is known when a booking is made, so that its bias is none; that of net value is `calibration`'s. Predicted over
    actual cancellations of a lead bucket with `min_events` of them holds when it is shown to be outside `low` and `high`, and fails when shown to be outside
    `lowest` and `highest`, at `level` for all buckets together. The absolute error fails when it is shown to be higher than the champion's by `wape_margin` of the net value. Models without values
    pass.
    """

    name: ClassVar[str] = "value_error"
    reads: ClassVar[tuple[str, ...]] = ("champion_generation",)
    model_fields: ClassVar[tuple[str, ...]] = ("cancelled", "wape", "champion_wape", "wape_over_champion")
    low: float = 0.95
    high: float = 1.05
    lowest: float = 0.85
    highest: float = 1.15
    min_events: float = 200.0
    min_days: int = 7
    wape_margin: float = 0.02
    level: float = 0.95

    def examine(self, evidence: Evidence) -> GateResult:
        """Number: the difference of absolute errors, or predicted over actual cancellations of the lead bucket furthest off."""
        champion = need(evidence.champion_generation, "the champion's generation") > 0
        return each_model(self, evidence, lambda model: self._model(model, champion=champion))

    def _model(self, model: ModelEvidence, *, champion: bool) -> GateResult:
        if model.wape is None:
            if any(loss.name == "net_value_deviance" for loss in model.losses):
                raise MissingEvidence("the absolute error of net value was not measured")
            return self.say(Verdict.PASS, "it predicts no value", number=0.0)
        judged = [
            one for one in finite(model.cancelled) if one.events >= self.min_events and one.ratio.days >= self.min_days
        ]
        # All buckets together have the level (Bonferroni): seven good ones looked at singly would hold a third of all candidates.
        level = 1 - (1 - self.level) / max(len(judged), 1)
        results = [self._bucket(one, level) for one in judged]
        return severest([*results, self._wape(model, champion=champion)], missing="any error")

    def _bucket(self, one: FieldEvidence, level: float) -> GateResult:
        if not one.ratio.finite:
            raise MissingEvidence(f"predicted over actual cancellations of lead {one.label} is not finite")
        interval = one.ratio.interval(level)
        verdict = Verdict.PASS
        if interval.low > self.high or interval.high < self.low:
            verdict = Verdict.FAIL if interval.low > self.highest or interval.high < self.lowest else Verdict.HOLD
        reason = f"predicted / actual cancellations of lead {one.label} {one.ratio.mid:.3f}, {interval.low:.3f} to {interval.high:.3f}"
        limit = self.high if one.ratio.mid > 1 else self.low
        return self.say(verdict, reason, number=one.ratio.mid, threshold=limit, interval=interval, sample=one.rows)

    def _wape(self, model: ModelEvidence, *, champion: bool) -> GateResult:
        ours = need(model.wape, "the absolute error of net value")
        if not champion:
            return self.say(Verdict.PASS, f"absolute error {ours:.1%} of net value", number=ours)
        theirs = need(model.champion_wape, "the champion's absolute error")
        found = need(model.wape_over_champion, "the difference of absolute errors")
        if not found.finite:
            raise MissingEvidence("the difference of absolute errors has no finite error")
        interval = found.interval()
        verdict = Verdict.FAIL if interval.low > self.wape_margin else Verdict.PASS
        reason = f"absolute error {ours:.1%} of net value against the champion's {theirs:.1%}"
        return self.say(
            verdict, reason, number=found.mid, threshold=self.wape_margin, interval=interval, sample=found.rows
        )
