"""Measures: one number each, computed from the sums of a window over daily facts.

A measure is told what its entity summed up in the window, and what the whole market did in the same window; a rate
leans on the market's by a fixed number of observations, so that an entity seen twice is not taken at its word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Dtype = Literal["int64", "float64"]
Sums = Mapping[str, Any]
"""Ibis integer columns by the name of the fact that they sum."""

VALUE_WEIGHT = 10
"""Bookings of average value that a mean value starts from."""
RATE_WEIGHT = 20
"""Outcomes at the market's rate that a cancellation rate starts from."""
RATIO_WEIGHT = 5
"""Cancellations, exactly as many as expected, that a cancellation ratio starts from."""
CLICK_WEIGHT = 200
"""Impressions at the market's rate that a click-through rate starts from."""
CONVERSION_WEIGHT = 50
"""Clicks at the market's rate that a conversion rate starts from, and clicks of average cost that a mean cost does."""
PPM = 1_000_000
"""Expected cancellations are summed in whole millionths, so that a sum is the same in whatever order it is taken."""


@dataclass(frozen=True)
class Measure:
    """One number per entity and window.

    `sums` names the facts it reads, `value` computes it from the entity's sums and the market's sums of the window.
    """

    name: str
    dtype: Dtype
    unit: str
    meaning: str
    sums: tuple[str, ...]
    value: Callable[[Sums, Sums], Any]


def _smoothed(part: str, whole: str, weight: int) -> Callable[[Sums, Sums], Any]:
    """(part + weight * market's part / whole) / (whole + weight); null while the market has seen nothing."""

    def value(own: Sums, overall: Sums) -> Any:
        prior = overall[part] / overall[whole].nullif(0)
        return (own[part] + weight * prior) / (own[whole] + weight)

    return value


def _rounded(ratio: Callable[[Sums, Sums], Any]) -> Callable[[Sums, Sums], Any]:
    """Money stays whole micros."""
    return lambda own, overall: ratio(own, overall).round().cast("int64")


def _count(fact: str) -> Callable[[Sums, Sums], Any]:
    return lambda own, _: own[fact].cast("int64")


def _cancel_ratio(own: Sums, _: Sums) -> Any:
    """ln((observed + k) / (expected + k)): 0 when the entity cancels as bookings like its own do."""
    expected = own["expected_ppm"] / PPM
    return ((own["observed"] + RATIO_WEIGHT) / (expected + RATIO_WEIGHT)).ln()


BOOKINGS = Measure("bookings", "int64", "bookings", "bookings made", ("bookings",), _count("bookings"))
MEAN_VALUE = Measure(
    "mean_value_micros",
    "int64",
    "micros",
    f"mean gross value of a booking, started from {VALUE_WEIGHT} bookings of the market's mean",
    ("value_micros", "bookings"),
    _rounded(_smoothed("value_micros", "bookings", VALUE_WEIGHT)),
)
CANCEL_RATE = Measure(
    "cancel_rate",
    "float64",
    "share",
    f"cancellations among the outcomes that became known, started from {RATE_WEIGHT} outcomes at the market's rate; "
    "it waits for stays and so moves with the season of arrivals: for people, models read the ratio",
    ("cancelled", "outcomes"),
    _smoothed("cancelled", "outcomes", RATE_WEIGHT),
)
CANCEL_RATIO = Measure(
    "cancel_ratio",
    "float64",
    "ln(observed / expected)",
    "cancellations against those that bookings of the same lead time, segment and age showed in the year before, "
    f"started from {RATIO_WEIGHT} of each; unlike a rate it does not wait for stays",
    ("observed", "expected_ppm"),
    _cancel_ratio,
)
IMPRESSIONS = Measure(
    "impressions", "int64", "impressions", "times our offer was shown", ("impressions",), _count("impressions")
)
CLICKS = Measure("clicks", "int64", "clicks", "clicks on our offer", ("clicks",), _count("clicks"))
CLICK_BOOKINGS = Measure("bookings", "int64", "bookings", "bookings from clicks", ("bookings",), _count("bookings"))
CTR = Measure(
    "ctr",
    "float64",
    "share",
    f"clicks per impression, started from {CLICK_WEIGHT} impressions at the market's rate",
    ("clicks", "impressions"),
    _smoothed("clicks", "impressions", CLICK_WEIGHT),
)
CVR = Measure(
    "cvr",
    "float64",
    "share",
    f"bookings per click, started from {CONVERSION_WEIGHT} clicks at the market's rate",
    ("bookings", "clicks"),
    _smoothed("bookings", "clicks", CONVERSION_WEIGHT),
)
MEAN_CPC = Measure(
    "mean_cpc_micros",
    "int64",
    "micros",
    f"mean cost of a click, started from {CONVERSION_WEIGHT} clicks of the market's mean",
    ("cost_micros", "clicks"),
    _rounded(_smoothed("cost_micros", "clicks", CONVERSION_WEIGHT)),
)

BOOKING_MEASURES = (BOOKINGS, MEAN_VALUE, CANCEL_RATE, CANCEL_RATIO)
TRAFFIC_MEASURES = (IMPRESSIONS, CLICKS, CLICK_BOOKINGS, CTR, CVR, MEAN_CPC)
