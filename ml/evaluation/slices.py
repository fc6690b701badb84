"""Where a candidate loses, slice by slice, with the false discoveries among so many looks held.

Slices are the labels of `FIELDS`, each by itself. Of those with support, the ones that lose are found by the procedure of Benjamini
and Hochberg (JRSS B 57, 1995), which holds the expected share of false ones among those named at `FALSE_SHARE`. It needs independence or
positive dependence (Benjamini and Yekutieli, Annals of Statistics 29, 2001), and slices of the same rows depend positively: a bad day is bad in
all of them. Yekutieli's correction for any dependence would multiply p-values by about 4 here; its price is paid in harm that
is not seen, and a gate that protects should not buy that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

FIELDS = ("partner", "market", "device", "lead_bucket", "los_bucket", "price_bucket", "hotel_size")
"""What slices are made by, where the rows have it."""

FALSE_SHARE = 0.05

PRICE_BUCKETS = 4
HOTEL_SIZES = ("few rows", "some rows", "many rows")


def slice_labels(rows: pd.DataFrame) -> dict[str, npt.NDArray[np.object_]]:
    """The label of each row by field; a missing value is "none".

    `price_bucket` is the quarter of the rows' prices per night that it lies in. `hotel_size` is the third of the rows that come from hotels
    with the fewest, some, and the most rows: a fair look at hotels that little is known of.
    """
    found = {
        name: rows[name].astype(object).fillna("none").astype(str).to_numpy(dtype=object)
        for name in FIELDS
        if name in rows.columns
    }
    if "price_micros" in rows.columns:
        found["price_bucket"] = _quarters(rows["price_micros"])
    elif {"value_micros", "los_nights"} <= set(rows.columns):
        nights = rows["los_nights"].astype(float).clip(lower=1.0)
        found["price_bucket"] = _quarters(rows["value_micros"].astype(float) / nights)
    if "hotel_id" in rows.columns and rows["hotel_id"].nunique() > len(HOTEL_SIZES):
        size = rows.groupby("hotel_id", observed=True)["hotel_id"].transform("size").to_numpy(dtype=float)
        order = np.argsort(size, kind="stable")
        reached = np.empty(len(size))
        reached[order] = np.arange(len(size)) / max(len(size), 1)
        place = np.minimum((reached * len(HOTEL_SIZES)).astype(int), len(HOTEL_SIZES) - 1)
        found["hotel_size"] = np.array(HOTEL_SIZES, dtype=object)[place]
    return found


def each_slice(labels: Mapping[str, npt.NDArray[np.object_]]) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    """Field, label and the rows of each slice; a field with one label alone is no slice but the whole."""
    for field, column in labels.items():
        names = np.unique(column.astype(str))
        if len(names) > 1:
            for name in names:
                yield field, str(name), column == name


def discoveries(p_values: Sequence[float], *, share: float = FALSE_SHARE) -> list[bool]:
    """Which claims stand with the expected share of false ones at most `share`; NaN never does.

    >>> discoveries([0.001, 0.02, 0.9, float("nan")])
    [True, True, False, False]
    """
    known = sorted(p for p in p_values if not math.isnan(p))
    limit = max((p for place, p in enumerate(known, 1) if p <= share * place / len(known)), default=-1.0)
    return [p <= limit for p in p_values]


def _quarters(prices: pd.Series[float]) -> npt.NDArray[np.object_]:
    values = prices.to_numpy(dtype=np.float64, na_value=np.nan)
    known = values[np.isfinite(values)]
    if not len(known):
        return np.full(len(values), "none", dtype=object)
    edges = np.quantile(known, np.arange(1, PRICE_BUCKETS) / PRICE_BUCKETS)
    place = np.searchsorted(edges, values, side="right")
    found = np.array([f"quarter {n + 1}" for n in range(PRICE_BUCKETS)], dtype=object)[
        np.minimum(place, PRICE_BUCKETS - 1)
    ]
    found[~np.isfinite(values)] = "none"
    return found
