"""Stock Evidently on a market day: DataDriftPreset as it comes, the day's rows against the four weeks before it.

A part of `benchmarks.detection`. Whoever has Evidently alone would hand it the day's tables: the offers shown, with what they
cost and brought, and the bookings; every column that is no id and no instant. Its own defaults hold: the test by type and
number of rows, drift of the data set at half of the columns.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, lru_cache
from typing import Any
from unittest.mock import patch

REFERENCE_DAYS = 28
ROWS = 3_000
"""Rows a side at most, drawn evenly; its distances and tests say the same of more, later."""

NUMBERS: Mapping[str, tuple[str, ...]] = {
    "opportunities": ("lead_days", "los_nights", "price_micros", "rival_price_micros", "bid_micros", "position"),
    "clicks": ("position", "cpc_micros"),
    "bookings": ("lead_days", "los_nights", "adults", "children", "previous_cancellations", "previous_stays", "rate_micros", "value_micros"),
    "booking_events": ("amount_micros",),
}  # fmt: skip
LABELS: Mapping[str, tuple[str, ...]] = {
    "opportunities": ("partner", "device", "user_country", "default_date"),
    "clicks": ("partner",),
    "bookings": ("segment", "channel", "customer_type", "meal", "room_type", "is_repeat_guest"),
    "booking_events": ("kind",),
}
"""By table, each a data set that is judged by itself, the columns to compare: those that are no id and no instant."""


@dataclass(frozen=True)
class Stock:
    """What the preset says of a day: whether half of a data set's columns drifted, and the largest such share."""

    drifted: bool
    share: float


class Once:
    """A lake that reads a table's day once, for days that are looked at again and again and that nobody writes meanwhile."""

    def __init__(self, lake: Any) -> None:
        self.days, self.read = cache(lake.days), lru_cache(maxsize=len(NUMBERS) * (REFERENCE_DAYS + 8))(lake.read)


def stock_drift(lake: Any, day: date, *, seed: int) -> Stock:
    """Every data set of the day against its weeks before; a table without rows on either side says nothing."""
    shares = [_share(lake, table, day, seed=seed) for table in NUMBERS]
    known = [share for share in shares if share is not None]
    return Stock(any(share >= 0.5 for share in known), max(known, default=0.0))


def _share(lake: Any, table: str, day: date, *, seed: int) -> float | None:
    """Share of the columns of a data set that drifted by the preset's own reckoning."""
    columns = [*NUMBERS[table], *LABELS[table]]
    sides = [
        _rows(lake, table, first, last, columns, seed=seed)
        for first, last in ((day, day), (day - timedelta(days=REFERENCE_DAYS), day - timedelta(days=1)))
    ]
    if any(side.empty for side in sides):
        return None
    filled = [name for name in columns if all(side[name].notna().any() for side in sides)]
    from monitoring.drift import TELEMETRY_OFF

    os.environ.update(TELEMETRY_OFF)
    with warnings.catch_warnings():
        # Evidently 0.7.23 uses names that numpy and pandas have deprecated.
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        definition = DataDefinition(
            numerical_columns=[name for name in filled if name in NUMBERS[table]],
            categorical_columns=[name for name in filled if name in LABELS[table]],
        )
        now, before = (Dataset.from_pandas(side[filled], definition) for side in sides)
        with _undrawn():
            told = json.loads(Report([DataDriftPreset()]).run(now, before).json())
    counted = next(metric["value"] for metric in told["metrics"] if "share" in (metric["value"] or {}))
    return float(counted["share"])


@contextmanager
def _undrawn() -> Iterator[None]:
    """Without the preset's drawings, in which most of its time goes; no number of its rests on them."""
    names = ("metrics.column_statistics.ValueDriftCalculation._render", "presets.drift.DataDriftPreset.render")
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(patch(f"evidently.{name}", lambda *_: []))
        yield


def _rows(lake: Any, table: str, first: date, last: date, columns: list[str], *, seed: int) -> Any:
    import numpy as np
    import pandas as pd

    extra = ["shown"] if table == "opportunities" else []
    days = [day for day in lake.days(table) if first <= day <= last]
    frames = [lake.read(table, day)[[*columns, *extra]] for day in days]
    rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    rows = rows[rows["shown"]] if extra and len(rows) else rows
    if len(rows) > ROWS:
        rows = rows.iloc[np.sort(np.random.default_rng(seed).choice(len(rows), size=ROWS, replace=False))]
    clean = {name: _plain(rows[name]) for name in columns}
    return pd.DataFrame(clean).reset_index(drop=True)


def _plain(column: Any) -> Any:
    """A column of plain floats or objects, as Evidently reads them."""
    import numpy as np
    from pandas.api import types

    if types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return (
        column.astype("object")
        .where(column.notna(), None)
        .map(lambda value: None if value is None else str(value))
        .to_numpy()
    )
