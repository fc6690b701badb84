"""What a watcher is, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol

from monitoring.findings import Finding, finite
from monitoring.watchers.limits import WatchLimits
from monitoring.watchers.series import MARKET, MarketSeries, Scope


@dataclass(frozen=True)
class Watched(Finding):
    """A finding of a watcher: one measure of one part of the market. `check` is the watcher's name, `column` the measure.

    FAIL: it moved, by more than is worth a word (`effect`) and more than it does by itself (`evidence`). PASS: it did not, or
    it is evidence of a cause and no reason for an alarm by itself. HOLD: it cannot be told, and `reason` says why.

    Attributes:
        scope: which part of the market.
        effect: logarithm of now over before (or over what was expected); None where it cannot be told.
        evidence: strength of the evidence over what an alarm needs: 1 and more convinces; None likewise.
        now, before: the measure on the judged day (or days) and what it is held against.
        since: the first day on which it was off.
        noticed_at: the end of the hour in which an hourly detector crossed its limit.
        moved: whether it moved.
    """

    scope: Scope = MARKET
    effect: float | None = None
    evidence: float | None = None
    now: float | None = None
    before: float | None = None
    since: date | None = None
    noticed_at: datetime | None = None
    moved: bool = False

    @property
    def direction(self) -> int:
        """1 and -1: it moved up or down. 0: it did not move, or cannot be told."""
        if not self.moved or not self.effect:
            return 0
        return 1 if self.effect > 0 else -1

    def as_json(self) -> dict[str, Any]:
        """The finding as plain JSON values."""
        return {
            **super().as_json(),
            "partner": self.scope.partner,
            "point_of_sale": self.scope.point_of_sale,
            "effect": finite(self.effect),
            "evidence": finite(self.evidence),
            "now": finite(self.now),
            "before": finite(self.before),
            "moved": self.moved,
            "since": self.since.isoformat() if self.since else None,
            "noticed_at": self.noticed_at.isoformat() if self.noticed_at else None,
        }


class Watcher(Protocol):
    """Looks at the series up to their last day. Judges nothing from what is missing: that is HOLD."""

    def __call__(self, series: MarketSeries, day: date, limits: WatchLimits) -> list[Watched]:
        """A finding for each measure and part of the market that it watches, PASS and HOLD included."""
        ...
