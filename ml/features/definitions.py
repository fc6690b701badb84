"""The feature views: what is computed, for whom, over which windows. A window or a measure is one line here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import ibis

from ml.core.errors import UsageError
from ml.features.facts import Tables, booking_facts, traffic_facts
from ml.features.measures import BOOKING_MEASURES, TRAFFIC_MEASURES, Dtype, Measure
from ml.features.rolling import LONGEST_WINDOW_DAYS, rolling

EVENT_TIMESTAMP = "event_timestamp"
"""Column of a feature row: the instant that it describes, the end of its market day."""
CREATED_TIMESTAMP = "created_timestamp"
"""Column of a feature row: the instant from which it was known; later than its event when it was built again."""


_BY_KNOWLEDGE = (
    "counts by the day a fact was known, not by the day it happened; a later correction of a booking does not change it"
)


@dataclass(frozen=True)
class Feature:
    """One column of a feature view."""

    name: str
    dtype: Dtype
    unit: str
    meaning: str
    window_days: int


@dataclass(frozen=True)
class FeatureView:
    """Features of one kind of entity, their logic written once as an Ibis expression.

    `ttl_days`: a row older than this is taken for absent, offline and online alike. `owner` answers for the view. `caution`
    says what could leak into a model through it, and what keeps it out.
    """

    name: str
    meaning: str
    entity: tuple[str, ...]
    prefix: str
    windows: tuple[int, ...]
    measures: tuple[Measure, ...]
    facts: Callable[[Tables, Any], Any]
    tables: tuple[str, ...]
    for_sources_with: Literal["bookings", "opportunities"]
    owner: str = "bid models"
    caution: str = _BY_KNOWLEDGE
    ttl_days: int = 30

    def __post_init__(self) -> None:
        """UsageError for a window that the facts do not reach."""
        if not 0 < min(self.windows) <= max(self.windows) <= LONGEST_WINDOW_DAYS:
            raise UsageError(
                f"the feature view {self.name} has windows of {self.windows} days",
                next=f"keep windows between 1 and {LONGEST_WINDOW_DAYS} days",
            )

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """Every measure over every window."""
        return tuple(
            Feature(f"{self.prefix}_{measure.name}_{window}d", measure.dtype, measure.unit, measure.meaning, window)
            for window in self.windows
            for measure in self.measures
        )

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the features, in their order."""
        return tuple(feature.name for feature in self.features)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a feature row, in their order."""
        return (*self.entity, *self.feature_names, EVENT_TIMESTAMP, CREATED_TIMESTAMP)

    @property
    def lookback_days(self) -> int:
        """Length of the longest window, in days."""
        return max(self.windows)

    @property
    def table(self) -> str:
        """Lake table that holds the view, one partition per market day."""
        return f"features_{self.name}"

    def build(self, tables: Tables, as_of: Any) -> Any:
        """The rows of every as-of day, from what was known by its end.

        Args:
            tables: canonical tables, by name, as Ibis tables of any engine.
            as_of: an Ibis table with one column `day` (date): the market days to compute.

        Returns:
            An Ibis table of `columns`, ordered by day and entity: one row per as-of day and entity seen within the
            longest window. `event_timestamp` is 00:00 UTC of the next day and `created_timestamp` is equal to it.
        """
        return self.roll(self.facts(tables, as_of), as_of)

    def roll(self, facts: Any, as_of: Any) -> Any:
        """The second half of `build`, from its facts, so that views may share them."""
        rows = rolling(
            facts, as_of, entity=self.entity, windows=self.windows, prefix=self.prefix, measures=self.measures
        )
        end = (rows["day"] + ibis.interval(days=1)).cast("timestamp('UTC', 6)")
        stamped = rows.mutate(**{EVENT_TIMESTAMP: end, CREATED_TIMESTAMP: end})
        return stamped.order_by(EVENT_TIMESTAMP, *self.entity).select(*self.columns)


AGENT_HISTORY = FeatureView(
    name="agent_history",
    meaning="what a travel agent's bookings at a hotel were worth and how they ended",
    entity=("hotel_id", "agent_id"),
    prefix="agent",
    windows=(28, 90, 365),
    measures=BOOKING_MEASURES,
    facts=booking_facts,
    tables=("bookings", "booking_events"),
    for_sources_with="bookings",
)
COMPANY_HISTORY = FeatureView(
    name="company_history",
    meaning="what the bookings that a company pays for were worth and how they ended",
    entity=("company_id",),
    prefix="company",
    windows=(28, 90, 365),
    measures=BOOKING_MEASURES,
    facts=booking_facts,
    tables=("bookings", "booking_events"),
    for_sources_with="bookings",
)
SEGMENT_HISTORY = FeatureView(
    name="segment_history",
    meaning="what bookings of a hotel, lead time and market segment were worth and how they ended",
    entity=("hotel_id", "lead_bucket", "segment"),
    prefix="segment",
    windows=(28, 90, 365),
    measures=BOOKING_MEASURES,
    facts=booking_facts,
    tables=("bookings", "booking_events"),
    for_sources_with="bookings",
)
HOTEL_TRAFFIC = FeatureView(
    name="hotel_traffic",
    meaning="how often a hotel was shown, clicked and booked at a partner, and what its clicks cost",
    entity=("hotel_id", "partner"),
    prefix="traffic",
    windows=(7, 28),
    measures=TRAFFIC_MEASURES,
    facts=traffic_facts,
    tables=("opportunities", "clicks", "bookings"),
    for_sources_with="opportunities",
    caution=f"{_BY_KNOWLEDGE}; our own bids brought these counts about, so that no model of conversion reads them (ADR 9)",
)

FEATURE_VIEWS: Mapping[str, FeatureView] = {
    view.name: view for view in (AGENT_HISTORY, COMPANY_HISTORY, SEGMENT_HISTORY, HOTEL_TRAFFIC)
}
"""Every feature view by name."""


def views_for(tables: Collection[str]) -> dict[str, FeatureView]:
    """The views that can be computed from these canonical tables."""
    return {name: view for name, view in FEATURE_VIEWS.items() if set(view.tables) <= set(tables)}
