"""What the gates about bids share: each reads one part of the bidding evidence."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence, to_json
from ml.promotion.evidence_bids import DoesNotApply
from ml.promotion.gates.base import Gate, GateResult, MissingEvidence, need


@dataclass(frozen=True)
class BidGate(Gate):
    """A gate that judges the part of the bidding evidence that has its own name.

    Where the part does not apply to the market it passes with the number 0 and says why. Where it is missing it holds.
    """

    reads: ClassVar[tuple[str, ...]] = ()
    what: ClassVar[str]
    """What was not measured where the part is missing."""

    @abstractmethod
    def examine_part(self, part: Any) -> GateResult:
        """Judge the part, which is there and applies; use `need` for every number."""

    def examine(self, evidence: Evidence) -> GateResult:
        """The part's result."""
        bidding = need(evidence.bidding, self.what)
        part = getattr(bidding, self.name)
        if part is None and (why := dict(bidding.failed).get(self.name)):
            raise MissingEvidence(f"{self.what} was not measured: {why}")
        part = need(part, self.what)
        if isinstance(part, DoesNotApply):
            return self.say(Verdict.PASS, f"does not apply: {part.because}", number=0.0, sample=0)
        all_finite(part, self.what)
        return self.examine_part(part)

    def numbers(self, evidence: Evidence) -> dict[str, Any]:
        """The gate's own part alone."""
        return {self.name: to_json(getattr(evidence.bidding, self.name, None))}


def all_finite(value: Any, what: str) -> None:
    """Hold where any number of the evidence is not finite, also one that is only told: it was not measured as it says."""
    if isinstance(value, float) and not math.isfinite(value):
        raise MissingEvidence(f"a number of {what} is {value}, not a finite number")
    if is_dataclass(value):
        for item in fields(value):
            all_finite(getattr(value, item.name), f"{what} ({item.name})")
    elif isinstance(value, tuple):
        for part in value:
            all_finite(part, what)
