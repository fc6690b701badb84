"""The documentation of the features, written from their definitions: `python -m ml.features.describe > docs/features.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from ml.core.errors import UsageError
from ml.features.definitions import FEATURE_VIEWS, FeatureView
from ml.market.hotel_bookings import LEAKY_COLUMNS

_INTRO = """# Features

Written by `python -m ml.features.describe > docs/features.md`; a test fails when this page is not what that prints.

A feature row is computed at the end of each market day, once, by the Ibis expressions in `ml/features`, and serves
training and bidding alike. Its `event_timestamp` is 00:00 UTC of the next day: everything it counts was known before
that (`known_at`), and a decision may use it from that instant on. Its `created_timestamp` says from when the row
itself was known; it is later only for rows that were built again after their day was restated. A window of w days
ends with the row's market day. Money is in micros, millionths of the market's currency.
"""

_POINT_IN_TIME = (
    "counts by the day a fact was known, not by the day it happened; a later correction of a booking does not change it"
)


def describe(view: str | None = None) -> str:
    """Markdown about every feature view, or about one; UsageError if there is none of that name."""
    if view is None:
        return "\n".join([_INTRO, *(_section(each) for each in FEATURE_VIEWS.values()), _leaky()])
    if view not in FEATURE_VIEWS:
        raise UsageError(f"there is no feature view {view!r}", next=f"choose from {', '.join(FEATURE_VIEWS)}")
    return _section(FEATURE_VIEWS[view])


def _section(view: FeatureView) -> str:
    """One view: what it is about, then a row per measure with the windows that it is computed over."""
    lines = [
        f"## {view.name}\n",
        f"{view.meaning[0].upper()}{view.meaning[1:]}.\n",
        f"- One row per {', '.join(f'`{key}`' for key in view.entity)} seen within {view.lookback_days} days; "
        "a key that is null has none.",
        f"- From the tables {', '.join(f'`{table}`' for table in view.tables)}; "
        f"for sources with {view.for_sources_with}.",
        f"- Older than {view.ttl_days} days it counts as absent.",
        f"- Point in time: {_POINT_IN_TIME}.\n",
        "| feature | window, days | unit | type | meaning |",
        "|---|---|---|---|---|",
        *_rows(view),
    ]
    return "\n".join(lines) + "\n"


def _rows(view: FeatureView) -> Iterator[str]:
    for feature in view.features:
        yield f"| `{feature.name}` | {feature.window_days} | {feature.unit} | {feature.dtype} | {feature.meaning} |"


def _leaky() -> str:
    rows = [f"| `{name}` | {reason} |" for name, reason in LEAKY_COLUMNS.items()]
    intro = (
        "## Columns that may not be used\n\nThey are filled in after the booking. The source drops them, and a feature "
        "view that names or reads one is refused with a LeakageError.\n"
    )
    return "\n".join([intro, "| column of hotel_bookings | why |", "|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(describe())
