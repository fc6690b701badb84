"""A day that is computed again keeps what was known of it before."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from ml.features.definitions import FEATURE_VIEWS
from ml.features.versions import keep_versions
from ml.lake.parquet import to_pandas

VIEW = FEATURE_VIEWS["company_history"]
DAY = pd.Timestamp("2024-05-02", tz="UTC").as_unit("us")
LATER = DAY + pd.Timedelta(days=3)
LATEST = DAY + pd.Timedelta(days=5)


def rows(**values: float | None) -> pa.Table:
    """One row per company, its first feature given, the others null."""
    columns: dict[str, pa.Array] = {"company_id": pa.array(list(values), pa.string())}
    for feature in VIEW.features:
        given = list(values.values()) if feature is VIEW.features[0] else [None] * len(values)
        columns[feature.name] = pa.array(given, feature.dtype.replace("float64", "double"))
    stamps = pa.array([DAY] * len(values), pa.timestamp("us", tz="UTC"))
    return pa.table(columns | {"event_timestamp": stamps, "created_timestamp": stamps})


def versions(table: pa.Table) -> list[tuple[str, float, pd.Timestamp]]:
    frame = table.to_pandas()
    return list(zip(frame["company_id"], frame[VIEW.feature_names[0]], frame["created_timestamp"], strict=True))


def test_a_row_that_changed_is_added_and_the_former_one_stays() -> None:
    kept = keep_versions(to_pandas(rows(a=1, b=2)), rows(a=1, b=3, c=4), view=VIEW, learned=LATER)
    assert versions(kept) == [("a", 1, DAY), ("b", 2, DAY), ("b", 3, LATER), ("c", 4, LATER)]


def test_doing_it_twice_changes_nothing() -> None:
    once = keep_versions(to_pandas(rows(a=1, b=2)), rows(a=5, b=2), view=VIEW, learned=LATER)
    twice = keep_versions(to_pandas(once), rows(a=5, b=2), view=VIEW, learned=LATER)
    assert twice.equals(once)


def test_a_value_that_comes_back_is_a_version_of_its_own() -> None:
    once = keep_versions(to_pandas(rows(a=1)), rows(a=5), view=VIEW, learned=LATER)
    back = keep_versions(to_pandas(once), rows(a=1), view=VIEW, learned=LATEST)
    assert versions(back) == [("a", 1, DAY), ("a", 5, LATER), ("a", 1, LATEST)]


def test_a_day_that_was_never_built_is_known_from_when_it_was_learned() -> None:
    assert versions(keep_versions(None, rows(a=1), view=VIEW, learned=LATER)) == [("a", 1, LATER)]


def test_a_partition_of_other_definitions_is_replaced() -> None:
    former = to_pandas(rows(a=1)).drop(columns=[VIEW.feature_names[-1]])
    assert versions(keep_versions(former, rows(a=2), view=VIEW, learned=LATER)) == [("a", 2, DAY)]
