"""A model of code that nobody can look up again does not go live in production."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence
from ml.promotion.gates.base import Gate, GateResult, need


@dataclass(frozen=True)
class OfCommittedCode(Gate):
    """The code that trained the candidate was a commit and nothing besides.

    In development, where development keys sign bundles, every code passes: it is there to be changed.
    """

    name: ClassVar[str] = "code_version"
    reads: ClassVar[tuple[str, ...]] = ("code",)

    def examine(self, evidence: Evidence) -> GateResult:
        """Number: 1 where the tree had changes that are in no commit, else 0."""
        code = need(evidence.code, "which code trained the candidate")
        changed = 0.0 if code.clean else 1.0
        if not need(code.production, "whether this is production"):
            return self.say(Verdict.PASS, "in development any code may train", number=changed)
        if not code.commit or code.clean is None:
            return self.say(
                Verdict.HOLD, "which commit trained the candidate is not known: set code_version, and train again"
            )
        name = f"commit {code.commit[:12]}"
        if not code.clean:
            reason = f"trained by {name} with changes that are in no commit: commit them, and train again"
            return self.say(Verdict.FAIL, reason, number=changed, threshold=0.0)
        return self.say(Verdict.PASS, f"trained by {name}", number=changed, threshold=0.0)
