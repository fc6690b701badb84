"""Gate 4c: it tells rows apart as well as the champion does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence, ModelEvidence
from ml.promotion.gates.base import GateResult, MissingEvidence, ReadsModels, each_model, need

RANKS_CLICKS = "conversion"


@dataclass(frozen=True)
class Discrimination(ReadsModels):
    """AUC of at least the champion's less `margin`, within what the error of the difference allows.

    Holds where the whole interval of the difference lies below the margin, and fails where it lies below `failed`: the log loss decides what is
    better, and this gate keeps a ranking from being traded for a level. `margin` and `failed` are those of the conversion model, by which clicks
    are told apart; the others, which a bid reads as an amount and whose losses in money are held by other gates, have `guard_margin` and `guard_failed`.
    Without a champion there is nothing to compare.
    """

    name: ClassVar[str] = "discrimination"
    reads: ClassVar[tuple[str, ...]] = ("champion_generation",)
    model_fields: ClassVar[tuple[str, ...]] = ("auc", "champion_auc", "auc_over_champion")
    margin: float = 0.002
    failed: float = 0.01
    guard_margin: float = 0.01
    guard_failed: float = 0.02

    def examine(self, evidence: Evidence) -> GateResult:
        """Number: the difference of AUC of the model that lost the most."""
        first = need(evidence.champion_generation, "the champion's generation") == 0
        return each_model(self, evidence, self._first if first else self._model)

    def _first(self, model: ModelEvidence) -> GateResult:
        reason = f"AUC {need(model.auc, 'its AUC'):.3f}; no champion to compare with"
        return self.say(Verdict.PASS, reason, number=0.0, threshold=-self.margin)

    def _model(self, model: ModelEvidence) -> GateResult:
        ours, theirs = need(model.auc, "its AUC"), need(model.champion_auc, "the champion's AUC")
        found = need(model.auc_over_champion, "the difference of AUC")
        if not found.finite:
            raise MissingEvidence("the difference of AUC has no finite error")
        interval = found.interval()
        strict = model.name == RANKS_CLICKS
        margin, failed = (self.margin, self.failed) if strict else (self.guard_margin, self.guard_failed)
        verdict = Verdict.PASS
        if interval.high < -margin:
            verdict = Verdict.FAIL if interval.high < -failed else Verdict.HOLD
        reason = f"AUC {ours:.4f} against the champion's {theirs:.4f}, {interval.low:+.4f} to {interval.high:+.4f}"
        return self.say(verdict, reason, number=found.mid, threshold=-margin, interval=interval, sample=found.rows)
