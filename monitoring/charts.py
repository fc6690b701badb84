"""Charts of what moved: the daily series of a finding, with the band that its reference weeks make usual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from monitoring.series import Series
from monitoring.watchers.level import reference_days
from monitoring.watchers.limits import LIMITS, WatchLimits
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MarketSeries

DAYS_SHOWN, CHARTS = 42, 3

_MADE_OF: Mapping[str, tuple[str, str, str, bool]] = {
    "own_price": ("our price over that of the same stays before", "own_price_change", "matched", True),
    "rival_price": (
        "the rivals' price over that of the same stays before",
        "rival_price_change",
        "matched_rivals",
        True,
    ),
    "price_gap": ("our price over the cheapest rival's", "gap", "priced", True),
    "price_spread": ("our price over the cheapest rival's", "gap", "priced", True),
    "far_below_rivals": ("share of our prices far below every rival's", "far_lower", "priced", False),
    "wrong_rates": ("share of bookings at another rate than shown", "inaccurate", "checked", False),
    "places_reached": ("places over those of the same bids and prices before", "places", "places_expected", False),
    "cost_of_bid": ("cost of a click over our bid", "spend", "clicked_bids", False),
    "click_rate": ("clicks over those of the same places before", "clicks", "clicks_expected", False),
    "same_day_bookings": ("bookings on the day of the click, per click", "day0", "clicks", False),
    "bookings_per_click": ("bookings per click", "bookings", "clicks", False),
    "early_cancellations": ("early cancellations over those expected", "early_cancelled", "early_expected", False),
    "bookings_over_expected": (
        "bookings over what the champion expects",
        "champion_bookings",
        "expected_bookings",
        False,
    ),
    "predicted_booking": ("predicted bookings of a click", "predicted_bookings", "sampled", False),
    "predicted_click": ("predicted clicks of an auction", "predicted_clicks", "sampled", False),
    "new_hotels": ("share of auctions of new hotels", "new_hotels", "eligible", False),
    "hourly_spend": ("spend", "spend", "", False),
    "spend_over_plan": ("spend", "spend", "", False),
    "eligible": ("auctions", "eligible", "", False),
}
"""By measure: its words, the sums it is made of (a sum alone has no second), and whether the first is one of logarithms."""

_MICROS = frozenset({"spend"})


def charts(findings: Sequence[Watched], series: MarketSeries, limits: WatchLimits = LIMITS) -> list[Series]:
    """The charts of what moved, the furthest beyond its limit first; at most three, one for a measure."""
    found: dict[str, Series] = {}
    order = sorted(
        (f for f in findings if f.moved and f.column in _MADE_OF),
        key=lambda f: (f.verdict.value != "FAIL", -(f.evidence or 0.0)),
    )
    for finding in order:
        if len(found) == CHARTS:
            break
        chart = None if finding.column in found else chart_of(finding, series, limits)
        if chart is not None:
            found[finding.column] = chart
    return list(found.values())


def chart_of(finding: Watched, series: MarketSeries, limits: WatchLimits = LIMITS) -> Series | None:
    """The chart of one finding; None where the series have none."""
    words, top, bottom, is_log = _MADE_OF[finding.column]
    values = series.sum(top, finding.scope)
    below = series.sum(bottom, finding.scope) if bottom else None
    if values is None or (bottom and below is None):
        return None
    if below is not None:
        values = np.divide(values, below, out=np.full(len(values), np.nan), where=np.isfinite(below) & (below > 0))
    values = np.exp(values) if is_log else values / 1e6 if top in _MICROS and not bottom else values
    before = values[(reference_days(series, limits) > 0) & np.isfinite(values)]
    low, high = (
        (float(np.quantile(before, q)) for q in (0.05, 0.95)) if len(before) >= limits.least_days else (None, None)
    )
    shown = slice(-DAYS_SHOWN, None)
    days, told = series.days[shown], [float(v) if np.isfinite(v) else None for v in values[shown]]
    low_line, high_line = (None if low is None or high is None else [edge] * len(days) for edge in (low, high))
    marked = finding.since or series.day
    return Series(f"{words}, {finding.scope}", "", days, told, low_line, high_line, marked)
