"""What watchers hold numbers against: how large a move must be, and how sure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Level:
    """When a measure counts as moved.

    Attributes:
        effect: smallest logarithm of now over before that is worth a word.
        sigmas: distance from what it was, in standard deviations of its own past.
        least: fewest events (of the measure's denominator) a day that say anything.
        floor: least standard deviation of the logarithm that a day is thought to have by itself.
    """

    effect: float
    sigmas: float = 5.0
    least: float = 100.0
    floor: float = 0.01


@dataclass(frozen=True)
class WatchLimits:
    """Everything that watchers hold numbers against.

    Attributes:
        levels: by measure; those that are not named have the watcher's own.
        reference_days, gap_days: a level is held against so many days, which end so many days before the judged one.
        least_days: fewer reference days say nothing.
        years_between: false alarms of one always-valid detector on one part of the market are at least so far apart, at the
            mean; the bound is a wide one.
    """

    levels: Mapping[str, Level] = field(default_factory=dict)
    reference_days: int = 28
    gap_days: int = 3
    least_days: int = 14
    years_between: float = 2.0

    def level(self, measure: str, own: Level) -> Level:
        """The limit of a measure."""
        return self.levels.get(measure, own)


LIMITS = WatchLimits()
