"""The use case of a market day's features: build, materialise, read back, and only then move the watermark.

Each step can be repeated, and none depends on more than the one before it, so a run that died anywhere is run again.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ml.core.errors import NoData, StoreUnavailable
from ml.core.settings import Settings
from ml.core.units import days_between
from ml.lake.lake import Lake
from ml.ledger import watermarks
from ml.ledger.database import Database
from ml.market.tables import TABLES

if TYPE_CHECKING:
    from ml.features.store import FeatureStore, Verification

SAMPLE_ROWS = 50
"""Entities of each view that are read back from the online store."""


def materialize_day(
    lake: Lake,
    db: Database,
    settings: Settings,
    *,
    market: str,
    day: date,
    at: datetime,
    views: Collection[str] | None = None,
) -> dict[str, Any]:
    """Build a market day's features, put them online, read a sample back, advance the watermarks.

    A day before the watermark was restated or came late. Its rows are built again as versions that are known only
    from the watermark's day on; the online store keeps serving the newest day, which the next one corrects.

    Args:
        lake: the market's lake.
        db: the ledger.
        settings: where the online store is, and the seed of the sample.
        market: the market.
        day: the market day.
        at: the instant of the run, for the ledger.
        views: names of the views to do it for, where others do the rest at the same time; None for all.

    Returns:
        `rows`, `verified` (entities read back) and, per view, its rows, the digest of its partition and its watermark.

    Raises:
        NoData: nothing of the day was landed.
        StoreUnavailable: the online store cannot be written, or does not give back what was written.
        CorruptArtefact: a partition cannot be read or holds rows of another time.
    """
    from ml.features.build import build_days, market_views

    if not any(lake.blobs.exists(lake.key(table, day)) for table in TABLES):
        raise NoData(f"the lake has nothing of {market} for {day}", next=f"run: bidwright ingest --day {day}")
    chosen = [view for name, view in market_views(lake).items() if views is None or name in views]
    reached = _reached(db, market, [view.name for view in chosen])
    rows = build_days(lake, chosen, [day], learned=reached)
    writer = "" if views is None else "-".join(sorted(rows))
    return _to_online(lake, db, settings, first=day, last=max(day, reached or day), rows=rows, at=at, writer=writer)


def materialize_history(
    lake: Lake, db: Database, settings: Settings, *, market: str, first: date, last: date, at: datetime
) -> dict[str, Any]:
    """Build the features of many market days at once, each from what was known by its end; then as `materialize_day`.

    The newest row of each entity goes online as far back as it counts: an entity that was last seen weeks ago is served the
    row that the training set has of it.
    """
    from ml.features.build import build_days, market_views

    chosen = market_views(lake)
    reached = _reached(db, market, chosen)
    rows = build_days(lake, chosen.values(), days_between(first, last), learned=reached)
    counts = max(view.ttl_days for view in chosen.values())
    earliest = max(first, last - timedelta(days=counts))
    return _to_online(lake, db, settings, first=earliest, last=max(last, reached or last), rows=rows, at=at)


def _reached(db: Database, market: str, views: Collection[str]) -> date | None:
    """The newest market day that any of the views holds online."""
    return max((day for view, day in watermarks.all_views(db, market).items() if view in views), default=None)


def _to_online(
    lake: Lake,
    db: Database,
    settings: Settings,
    *,
    first: date,
    last: date,
    rows: dict[str, int],
    at: datetime,
    writer: str = "",
) -> dict[str, Any]:
    from ml.features.store import FeatureStore

    store = FeatureStore.open(settings, lake, writer=writer)
    store.apply()
    store.materialize(first, last, views=list(rows))
    verified = {name: _verified(store, name, last, seed=settings.seed) for name in rows}
    for name in rows:
        watermarks.advance(db, lake.market, name, last, at)
    views = {
        name: {
            "rows": count,
            "verified": verified[name].compared,
            "digest": lake.digest(store.views[name].table, first),
            "watermark": last.isoformat(),
        }
        for name, count in rows.items()
    }
    return {"rows": sum(rows.values()), "verified": sum(v.compared for v in verified.values()), "views": views}


def _verified(store: FeatureStore, view: str, day: date, *, seed: int) -> Verification:
    """The read-back of a view; StoreUnavailable if one value differs."""
    result = store.verify_sample(view, day, n=SAMPLE_ROWS, seed=seed)
    if result.equal != result.compared:
        first = result.differing[0]
        raise StoreUnavailable(
            f"the online store differs from the offline features of {view} in {result.compared - result.equal} of "
            f"{result.compared} entities, first in {first['feature']} of {first['entity']}: "
            f"{first['online']!r} instead of {first['offline']!r}",
            left="the watermark was not moved",
            next="run the day again; if it stays so, move the market's folder feast/<market>-online in the working folder away first",
        )
    return result
