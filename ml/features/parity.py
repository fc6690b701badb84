"""Whether the online store served what the offline tables say: a sample of a day's decisions, read before the day goes in.

While a market day passes, the online store holds what was known by its start. A decision of the day is therefore compared
when the day has landed and its own features are not yet online: what a request would have been given, against the
point-in-time join that training uses, value by value. Two absent values are the same; nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa

from ml.core.errors import NoData
from ml.core.units import day_start
from ml.features.decisions import decided, feature_table, to_pandas
from ml.features.definitions import FeatureView
from ml.features.engine import engine, open_canonical
from ml.features.point_in_time import DECISION_AT, join_features
from ml.lake.lake import Lake

if TYPE_CHECKING:
    from ml.features.store import FeatureStore

SAMPLE_ENTITIES = 200
"""Entities of each view that are compared each day."""

DIFFERENCES_KEPT = 5

_TIMES = {"bookings": "booked_at", "opportunities": "ts"}


@dataclass(frozen=True)
class ViewParity:
    """One view's sample of a day.

    Attributes:
        compared: entities of the day's decisions that were compared.
        equal: of each feature the entities whose value was exactly the same.
        differing: the first values that were not: entity, feature, offline, online.
    """

    compared: int
    equal: Mapping[str, int]
    differing: tuple[Mapping[str, Any], ...]

    def as_json(self) -> dict[str, Any]:
        """As small JSON, for the ledger."""
        return {
            "compared": self.compared,
            "equal": dict(self.equal),
            "differing": [dict(one) for one in self.differing],
        }


def served_parity(store: FeatureStore, lake: Lake, view: FeatureView, day: date, *, seed: int) -> ViewParity:
    """Compare what the online store holds for a sample of the day's decisions with what was known at its start.

    Args:
        store: the online store, still holding the day before.
        lake: the market's lake, in which the day has landed.
        view: the feature view.
        day: the market day of the decisions.
        seed: of the sample.

    Raises:
        NoData: the view has no offline rows that the day could see.
        StoreUnavailable: the online store cannot be read.
    """
    entities = _decided_entities(lake, view, day)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(entities))[:SAMPLE_ENTITIES])
    sample = entities.iloc[chosen].reset_index(drop=True)
    if sample.empty:
        return ViewParity(0, dict.fromkeys(view.feature_names, 0), ())
    offline = _known_at_start(lake, view, sample, day)
    online = store.read_online(view.name, sample, day=day - timedelta(days=1))
    same = {name: _same(offline[name], online[name]) for name in view.feature_names}
    differing = (
        {
            "entity": sample.iloc[row].to_dict(),
            "feature": name,
            "offline": _plain(offline, name, row),
            "online": _plain(online, name, row),
        }
        for name, equal in same.items()
        for row in np.flatnonzero(~equal).tolist()
    )
    first = tuple(one for one, _ in zip(differing, range(DIFFERENCES_KEPT), strict=False))
    return ViewParity(len(sample), {name: int(equal.sum()) for name, equal in same.items()}, first)


def _decided_entities(lake: Lake, view: FeatureView, day: date) -> pd.DataFrame:
    """The entities that the day's decisions were about, sorted; a key that is null has no features."""
    table = view.for_sources_with
    with engine(lake) as backend:
        try:
            rows = decided(open_canonical(backend, lake, table, first=day, last=day), time=_TIMES[table])
        except NoData:
            return pd.DataFrame(columns=list(view.entity))
        if table == "opportunities":
            rows = rows.filter(rows["shown"])
        rows = rows.filter(rows[DECISION_AT] == day_start(day)).select(*view.entity).drop_null()
        return to_pandas(backend, rows.distinct().order_by(*view.entity))


def _known_at_start(lake: Lake, view: FeatureView, sample: pd.DataFrame, day: date) -> pd.DataFrame:
    """The view's features of these entities as the training set would have them for a decision of the day."""
    start = day_start(day)
    asked = pa.Table.from_pandas(sample, preserve_index=False)
    asked = asked.append_column("row", pa.array(range(len(sample)), pa.int64()))
    asked = asked.append_column(DECISION_AT, pa.array([start] * len(sample), pa.timestamp("us", "UTC")))
    with engine(lake) as backend:
        decisions = ibis.memtable(asked)
        known = feature_table(backend, lake, view, earliest=start, last=day - timedelta(days=1))
        return to_pandas(backend, join_features(decisions, known, view, asof=backend.has_asof).order_by("row"))


def _same(offline: pd.Series[Any], online: pd.Series[Any]) -> Any:
    a, b = (column.to_numpy(dtype=float, na_value=np.nan) for column in (offline, online))
    return (a == b) | (np.isnan(a) & np.isnan(b))


def _plain(rows: pd.DataFrame, name: str, row: int) -> float | None:
    value = rows[name].iloc[row]
    return None if pd.isna(value) else float(value)
