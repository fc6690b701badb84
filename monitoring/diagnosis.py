"""The likely cause of what moved, from the pattern of what moved and what did not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monitoring.watchers.series import MARKET, Scope

CAUSES = ("demand", "rivals", "parity", "tracking", "feed", "cancellations", "auction", "model", "unknown")
"""What it can be."""


@dataclass(frozen=True)
class Diagnosis:
    """A likely cause: its share of the belief among all causes (0 to 1), and what speaks for it, in sentences."""

    cause: str
    share: float
    evidence: Sequence[str]
    scope: Scope = MARKET

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "cause": self.cause,
            "share": round(self.share, 4),
            "evidence": list(self.evidence),
            "partner": self.scope.partner,
            "point_of_sale": self.scope.point_of_sale,
        }
