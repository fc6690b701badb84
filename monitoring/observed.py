"""A market day as its watchers see it: what moved, the likely cause, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from ml.core.verdict import Verdict
from monitoring.diagnosis import Diagnosis, diagnose
from monitoring.impact import Impact, impact
from monitoring.watchers import watch
from monitoring.watchers.limits import LIMITS, WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MARKET, MarketSeries

BLINDING = frozenset({"tracking"})
"""Causes under which bookings are made and not known."""

MISSING_BOOKINGS = frozenset({"same_day_bookings", "bookings_per_click"})


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
    def told(self) -> list[Watched]:
        """The findings that count in a verdict: what a part of the market is too small for is judged of the whole.

        A part that moved as the whole did counts, and is `implied`.
        """
        whole = {f.column for f in self.findings if f.scope == MARKET and f.verdict is Verdict.FAIL}
        return [
            replace(f, implied=f.verdict is Verdict.FAIL and f.scope != MARKET and f.column in whole)
            for f in self.findings
            if f.verdict is not Verdict.HOLD or f.scope == MARKET
        ]

    @property
    def blind_since(self) -> date | None:
        """Since when conversions are lost or late, so that nothing may be learned of these days; None where they are not.

        A guess is not enough: the likeliest cause has to be one that leaves the days blind, and bookings to be missing.
        """
        likely = self.diagnoses[0].cause if self.diagnoses else ""
        missing = [f for f in self.findings if f.column in MISSING_BOOKINGS and f.verdict is Verdict.FAIL]
        if likely not in BLINDING or not missing:
            return None
        return min((f.since for f in missing if f.since is not None), default=self.series.day)

    @property
    def judged(self) -> bool:
        """Whether watchers could judge anything; what they could not judge ends no incident."""
        return any(found.effect is not None for found in self.findings)


def observe(
    series: MarketSeries, day: date, limits: WatchLimits = LIMITS, *, before: str = "", currency: str = ""
) -> Observed:
    """Watch the last day of the series, name the likely cause of what moved, and what it costs.

    Args:
        series: up to the day, or longer.
        day: the market day.
        limits: what numbers are held against.
        before: the likeliest cause of the day before, where something moved then.
        currency: of the market, such as `EUR`, for sentences that people read.
    """
    series = series if series.day == day else series.up_to(day)
    findings = watch(series, day, limits)
    diagnoses = diagnose(findings, before=before)
    return Observed(findings, diagnoses, impact(series, findings, diagnoses, limits, currency=currency), series)
