"""A market day as its watchers see it: what moved, the likely cause, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from monitoring.diagnosis import Diagnosis, diagnose
from monitoring.impact import Impact, impact
from monitoring.watchers import watch
from monitoring.watchers.limits import LIMITS, WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MarketSeries


@dataclass(frozen=True)
class Observed:
    """What watchers found on a day.

    Attributes:
        findings: of every watcher, PASS and HOLD included.
        diagnoses: the likely causes, the likeliest first; none where nothing moved.
        impact: what it costs a day, before anyone retrains; None where it cannot be told.
        series: what they looked at, for charts.
    """

    findings: Sequence[Watched]
    diagnoses: Sequence[Diagnosis]
    impact: Impact | None
    series: MarketSeries

    @property
    def judged(self) -> bool:
        """Whether watchers could judge anything; what they could not judge ends no incident."""
        return any(found.effect is not None for found in self.findings)

    def numbers(self) -> dict[str, Any]:
        """What the ledger keeps: the keys `watchers`, `diagnosis` and `impact` of `DriftReport.numbers`."""
        return {
            "watchers": [found.as_json() for found in self.findings],
            "diagnosis": [found.as_json() for found in self.diagnoses],
            "impact": self.impact.as_json() if self.impact else None,
        }


def observe(series: MarketSeries, day: date, limits: WatchLimits = LIMITS, *, before: str = "") -> Observed:
    """Watch the last day of the series, name the likely cause of what moved, and what it costs.

    Args:
        series: up to the day, or longer.
        day: the market day.
        limits: what numbers are held against.
        before: the likeliest cause of the day before, where something moved then.
    """
    series = series if series.day == day else series.up_to(day)
    findings = watch(series, day, limits)
    diagnoses = diagnose(findings, before=before)
    return Observed(findings, diagnoses, impact(series, findings, diagnoses, limits), series)
