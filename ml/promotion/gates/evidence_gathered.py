"""Before all gates: the evidence could be gathered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence
from ml.promotion.gates.base import Gate, GateResult, need


@dataclass(frozen=True)
class EvidenceGathered(Gate):
    """Gathering did not fail. What failed is told, and every gate that misses its numbers holds besides; no one can waive it."""

    name: ClassVar[str] = "evidence_gathered"
    reads: ClassVar[tuple[str, ...]] = ("gathered", "failure", "comparison")

    def examine(self, evidence: Evidence) -> GateResult:
        """Number: failures."""
        if need(evidence.gathered, "whether the evidence could be gathered"):
            return self.say(Verdict.PASS, "all of it was measured", number=0.0, threshold=0.0)
        return self.say(Verdict.HOLD, f"gathering the evidence failed: {evidence.failure}", number=1.0, threshold=0.0)
