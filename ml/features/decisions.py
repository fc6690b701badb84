"""Decisions with their features: what every kind of training row is made of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal

import pandas as pd
import pyarrow as pa

from ml.core.errors import NoData, UsageError
from ml.features.definitions import CREATED_TIMESTAMP, EVENT_TIMESTAMP, FEATURE_VIEWS, FeatureView
from ml.features.engine import Engine
from ml.features.facts import bucket_label, day_number
from ml.features.point_in_time import DECISION_AT, KNOWN_FROM_SUFFIX, join_features, late_rows
from ml.lake.lake import Lake
from ml.lake.parquet import to_pandas as from_arrow
from ml.market.buckets import LEAD_BUCKETS, LEAD_STARTS, LOS_BUCKETS, LOS_STARTS


def decided(rows: Any, *, time: str) -> Any:
    """Rows with lead_bucket, los_bucket and `decision_at`, the start of the UTC day of their column `time`.

    A feature row speaks for the end of its market day, so a decision may use those of the day before its own.
    """
    return rows.mutate(
        lead_bucket=bucket_label(rows["lead_days"], LEAD_STARTS, LEAD_BUCKETS),
        los_bucket=bucket_label(rows["los_nights"], LOS_STARTS, LOS_BUCKETS),
        **{DECISION_AT: rows[time].truncate("D").cast("timestamp('UTC', 6)")},
    )


def with_features(
    backend: Engine, lake: Lake, rows: Any, *, views: Collection[FeatureView], last: date | None, order: Sequence[str]
) -> pd.DataFrame:
    """Decided rows with the features of the views, as a frame ordered by the columns `order`; see `joined`."""
    return to_pandas(backend, joined(backend, lake, rows, views=views, last=last).order_by(*order))


def joined(backend: Engine, lake: Lake, rows: Any, *, views: Collection[FeatureView], last: date | None) -> Any:
    """Decided rows with the features of the views, each as known at its decision.

    Args:
        backend: the engine.
        lake: where the feature tables are.
        rows: an Ibis table from `decided`.
        views: what to join.
        last: the last market day of which anything may be known.

    Returns:
        An Ibis table of the engine: the rows' columns and those of `join_features`, in any order.

    Raises:
        NoData: a view was never built for the days that the rows could see.
    """
    decisions = backend.keep("decisions", rows)
    bounds = backend.to_pyarrow(decisions.aggregate(earliest=decisions[DECISION_AT].min()))
    earliest = bounds["earliest"][0].as_py()
    found = decisions
    for view in views:
        features = feature_table(backend, lake, view, earliest=earliest, last=last)
        late = backend.to_pyarrow(late_rows(features))["late_rows"][0].as_py()
        found = join_features(found, features, view, learned_late=bool(late), asof=backend.has_asof)
    names = [name for view in views for name in (*view.feature_names, view.name + KNOWN_FROM_SUFFIX)]
    return found.select(*decisions.columns, *names)


def to_pandas(backend: Engine, rows: Any) -> pd.DataFrame:
    """The frame of an Ibis table: text as object, times as datetime64[us, UTC], integers with nulls as Int64."""
    table = backend.to_pyarrow(rows)
    fields = [field.with_nullable(table.column(field.name).null_count > 0) for field in table.schema]
    return from_arrow(table.cast(pa.schema(fields)))


def without_days(rows: Any, days: Sequence[date]) -> Any:
    """The rows of an Ibis table but for those that became known on these days."""
    epoch = date(1970, 1, 1)
    return rows.filter(~day_number(rows["known_at"]).isin([(day - epoch).days for day in days])) if days else rows


def share_of(rows: Any, key: str, share: float) -> Any:
    """A share of the rows of an Ibis table, above 0 to 1, chosen by a hash of their key: the same choice always."""
    return rows if share >= 1.0 else rows.filter(rows[key].hexdigest("md5") < f"{int(share * 16**8):08x}")


def chosen_views(names: Collection[str] | None, *, source: Literal["bookings", "opportunities"]) -> list[FeatureView]:
    """The views of these names, or every view of the kind; UsageError for an unknown name."""
    known = {name: view for name, view in FEATURE_VIEWS.items() if view.for_sources_with == source}
    for name in names or ():
        if name not in known:
            raise UsageError(f"there is no feature view {name!r} for {source}", next=f"choose from {', '.join(known)}")
    return list(known.values()) if names is None else [known[name] for name in names]


def last_day_before(as_of: datetime) -> date:
    """The last market day that began before an instant."""
    return (as_of - timedelta(microseconds=1)).date()


def check_market(lake: Lake, market: str) -> None:
    """UsageError when rows of a market are asked of another market's lake."""
    if lake.market != market:
        raise UsageError(f"the lake holds {lake.market}, not {market}", next="open the lake of the market you mean")


def feature_table(
    backend: Engine, lake: Lake, view: FeatureView, *, earliest: datetime | None, last: date | None
) -> Any:
    """The rows that a decision at `earliest` or later can see: the view's ttl bounds how far back that is."""
    first = earliest.date() - timedelta(days=view.ttl_days + 1) if earliest else None
    paths = lake.paths(view.table, first, last)
    if not paths:
        raise NoData(
            f"the feature view {view.name} of {lake.market} has no rows for these days",
            next="build them with: bidwright materialize --day YYYY-MM-DD",
        )
    table = backend.read(paths, view.table)
    missing = sorted(set(view.columns) - set(table.columns))
    if missing:
        raise NoData(
            f"the feature view {view.name} of {lake.market} was built by former definitions, without {missing[0]}",
            next="build its days again with: bidwright history --from YYYY-MM-DD --to YYYY-MM-DD",
        )
    return table.select(*view.entity, *view.feature_names, EVENT_TIMESTAMP, CREATED_TIMESTAMP)
