"""Compute feature rows from the lake with its engine and write them back, one partition per view and market day."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.core.errors import NoData
from ml.core.units import known_by
from ml.features.definitions import EVENT_TIMESTAMP, FeatureView, views_for
from ml.features.engine import Engine, engine, open_canonical
from ml.features.exits import YEAR_DAYS
from ml.features.guard import check_view
from ml.features.versions import keep_versions
from ml.lake.lake import Lake
from ml.market.tables import MAX_LEAD_DAYS, MAX_LOS_NIGHTS, TABLES

_REACH_DAYS = YEAR_DAYS + MAX_LEAD_DAYS + MAX_LOS_NIGHTS
"""How far before the longest window a booking may lie that still counts in it: its stay, and what it is compared with."""
_WRITERS = 8
"""Partitions written at once; each waits for its disk, not for the processor."""


def market_views(lake: Lake) -> dict[str, FeatureView]:
    """The views that the lake's tables can feed: traffic only where the source has opportunities."""
    return views_for({name for name in TABLES if lake.days(name)})


def build_days(
    lake: Lake, views: Collection[FeatureView], days: Iterable[date], *, learned: date | None = None
) -> dict[str, int]:
    """Compute the views for market days, in one query per view, and write `features_<view>`.

    Args:
        lake: where canonical tables are read and feature tables are written.
        views: what to compute.
        days: market days, in any order; each sees only what was known by its end.
        learned: the newest market day that was already served, if any. What comes out otherwise for a day before
            it was learned only then: such rows are kept beside the former ones, with the end of that day as
            `created_timestamp`. Days from it on are written as they come out.

    Returns:
        Rows per view, over all the days.

    Raises:
        NoData: the lake lacks a table that a view reads.
        LeakageError: a view reads a column that is filled in later.
        CorruptArtefact: a partition cannot be read.
    """
    wanted = sorted(set(days))
    return {
        view.name: _write(lake, view, wanted, rows, learned=learned) for view, rows in _compute(lake, views, wanted)
    }


def _compute(lake: Lake, views: Collection[FeatureView], days: list[date]) -> Iterator[tuple[FeatureView, pa.Table]]:
    """Each view with its rows for all the days; facts that views share are computed once."""
    if not days:
        return
    with engine(lake) as backend:
        as_of = ibis.memtable(pa.table({"day": pa.array(days, pa.date32())}))
        for number, makes in enumerate(dict.fromkeys(view.facts for view in views)):
            sharing = [view for view in views if view.facts is makes]
            tables = _open(backend, lake, sharing, days)
            expression = makes(tables, as_of)
            for view in sharing:
                check_view(view, expression)
            facts = backend.keep(f"facts_{number}", expression)
            for view in sharing:
                yield view, backend.to_pyarrow(view.roll(facts, as_of))


def _open(backend: Engine, lake: Lake, views: Collection[FeatureView], days: list[date]) -> Mapping[str, Any]:
    """The canonical tables that the views read, as far back as their windows reach."""
    first = days[0] - timedelta(days=max(view.lookback_days for view in views) + _REACH_DAYS)
    names = sorted({name for view in views for name in view.tables})
    return {name: open_canonical(backend, lake, name, first=first, last=days[-1]) for name in names}


def _write(lake: Lake, view: FeatureView, days: list[date], rows: pa.Table, *, learned: date | None) -> int:
    """Store each day's slice of the rows; returns the number of rows."""

    def store(day: date) -> int:
        slice_ = rows.filter(pc.equal(rows[EVENT_TIMESTAMP], pa.scalar(known_by(day), rows[EVENT_TIMESTAMP].type)))
        if learned is not None and day < learned:
            slice_ = keep_versions(_former(lake, view, day), slice_, view=view, learned=known_by(learned))
        lake.write(view.table, day, slice_)
        return int(slice_.num_rows)

    with ThreadPoolExecutor(_WRITERS) as pool:
        return sum(pool.map(store, days))


def _former(lake: Lake, view: FeatureView, day: date) -> pd.DataFrame | None:
    try:
        return lake.read(view.table, day)
    except NoData:
        return None
