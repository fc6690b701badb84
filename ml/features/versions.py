"""Feature rows that are computed again later keep their former versions, so that no later knowledge looks early."""

from __future__ import annotations

from datetime import datetime

import pandas as pd
import pyarrow as pa

from ml.features.definitions import CREATED_TIMESTAMP, FeatureView
from ml.lake.parquet import to_pandas


def keep_versions(former: pd.DataFrame | None, rows: pa.Table, *, view: FeatureView, learned: datetime) -> pa.Table:
    """A day's partition after it was computed again.

    Rows known before `learned` stay; a row that came out otherwise than its newest former version is added with
    `learned` as its created_timestamp. Doing it twice gives the same partition. A partition that was built by other
    definitions cannot be compared and is replaced.

    Args:
        former: the partition as it was, or None.
        rows: the day's rows as they come out now.
        view: the view they belong to.
        learned: the instant from which the new rows are known.
    """
    if former is not None and tuple(former.columns) != view.columns:
        return rows
    new = to_pandas(rows)
    new[CREATED_TIMESTAMP] = pd.Series(learned, index=new.index, dtype=new[CREATED_TIMESTAMP].dtype)
    if former is not None:
        old = former[former[CREATED_TIMESTAMP] < learned]
        newest = old.sort_values(CREATED_TIMESTAMP).drop_duplicates(list(view.entity), keep="last")
        values = [*view.entity, *view.feature_names]
        unchanged = pd.concat([newest, new])[values].duplicated(keep="first").to_numpy()[len(newest) :]
        new = pd.concat([old, new[~unchanged]])
    ordered = new.sort_values([*view.entity, CREATED_TIMESTAMP])
    return pa.Table.from_pandas(ordered, schema=rows.schema, preserve_index=False)
