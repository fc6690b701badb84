"""Gate 8: what the online store serves is what the models are trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence
from ml.promotion.gates.base import Gate, GateResult, MissingEvidence, need


@dataclass(frozen=True)
class FeatureParity(Gate):
    """Of every feature at least `min_share` of the values served were exactly those of the training set's join.

    A market whose history was imported has served nothing yet: then the read-back of what was put online counts alone.
    """

    name: ClassVar[str] = "feature_parity"
    reads: ClassVar[tuple[str, ...]] = ("serving",)
    min_share: float = 0.999
    min_rows: int = 50

    def examine(self, evidence: Evidence) -> GateResult:
        """Number: the share of exact matches of the feature that has the least."""
        serving = need(evidence.serving, "what the online store serves")
        compared, read_back = need(serving.compared, "the served sample"), need(serving.read_back, "the read-back")
        if compared + read_back < self.min_rows:
            raise MissingEvidence(f"only {compared + read_back} entities were compared, {self.min_rows} are needed")
        if not compared:
            reason = f"{read_back} entities were equal when read back; no decision has been served yet"
            return self.say(Verdict.PASS, reason, number=1.0, threshold=self.min_share, sample=read_back)
        share = need(serving.worst_share, "the share of exact matches")
        verdict = Verdict.PASS if share >= self.min_share else Verdict.FAIL
        reason = f"over {serving.days} days {share:.2%} of {compared} served entities were exactly the training set's"
        if verdict is Verdict.FAIL:
            reason += f", least of all in {serving.worst_feature}"
        return self.say(verdict, reason, number=share, threshold=self.min_share, sample=compared)
