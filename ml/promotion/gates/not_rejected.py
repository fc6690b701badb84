"""A candidate that a person turned down is not offered again by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence
from ml.promotion.gates.base import Gate, GateResult, need


@dataclass(frozen=True)
class NotRejected(Gate):
    """Nobody refused this very digest, and no request for it went unanswered. A waiver of this gate offers it again."""

    name: ClassVar[str] = "not_rejected"
    reads: ClassVar[tuple[str, ...]] = ("rejections",)

    def examine(self, evidence: Evidence) -> GateResult:
        """Number: refusals."""
        found = need(evidence.rejections, "whether the candidate was refused before")
        if not found:
            return self.say(Verdict.PASS, "nobody refused this version", number=0.0, threshold=0.0)
        return self.say(Verdict.FAIL, "; ".join(found), number=float(len(found)), threshold=0.0)
