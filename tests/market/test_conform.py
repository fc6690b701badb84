"""Deliveries in many dtypes become the canonical ones; what loses something breaks the schema or marks the row."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from ml.core.errors import SchemaBreak
from ml.market.conform import check_columns, conform, conform_days
from ml.market.contract import Column, Table

TABLE = Table(
    "things",
    "things",
    key=("id",),
    event_time="ts",
    columns=(
        Column("id", "text", "id", "id"),
        Column("count", "int", "things", "count"),
        Column("share", "float", "share", "share", nullable=True),
        Column("flag", "bool", "flag", "flag"),
        Column("ts", "time", "UTC", "when"),
    ),
)
NOON = datetime(2025, 1, 6, 12, tzinfo=UTC)


def frame(**columns: object) -> pd.DataFrame:
    rows: dict[str, object] = {"id": ["a", "b"], "count": [1, 2], "share": [0.5, None], "flag": [True, False]}
    return pd.DataFrame(rows | {"ts": pd.Series([NOON, NOON])} | columns)


def test_the_canonical_frame_passes() -> None:
    rows = conform(TABLE, frame()).rows
    assert rows.dtypes.astype(str).to_dict() == {
        "id": "object",
        "count": "Int64",
        "share": "float64",
        "flag": "boolean",
        "ts": "datetime64[us, UTC]",
    }


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("count", pd.Series([1, 2], dtype="int8"), [1, 2]),
        ("count", pd.Series([1, 2], dtype="uint64"), [1, 2]),
        ("count", pd.Series([1.0, 2.0]), [1, 2]),
        ("count", pd.Series([1, np.int32(2)], dtype=object), [1, 2]),
        ("share", pd.Series([1, 2]), [1.0, 2.0]),
        ("share", pd.Series([0.25, 1], dtype=object), [0.25, 1.0]),
        ("flag", pd.Series([True, False], dtype="boolean"), [True, False]),
        ("flag", pd.Series([True, np.bool_(False)], dtype=object), [True, False]),
        ("id", pd.Series(["a", "b"], dtype="string"), ["a", "b"]),
        ("id", pd.Series(["a", "b"], dtype="category"), ["a", "b"]),
        ("ts", pd.Series([NOON, NOON]).dt.tz_convert("Asia/Tokyo").dt.as_unit("ns"), [NOON, NOON]),
        ("ts", pd.Series([NOON, pd.Timestamp(NOON)], dtype=object), [NOON, NOON]),
        ("ts", pd.Series([date(2025, 1, 6)] * 2), [datetime(2025, 1, 6, tzinfo=UTC)] * 2),
    ],
)
def test_what_loses_nothing_is_converted(name: str, given: pd.Series, expected: list[object]) -> None:
    conformed = conform(TABLE, frame(**{name: given}))
    assert conformed.rows[name].tolist() == expected
    assert not conformed.wrong_type


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("count", ["1", "2"], "str, for example '1'; expected: int"),
        ("count", [1.5, 2.5], "float64"),
        ("count", [np.inf, np.inf], "float64"),
        ("count", [True, False], "bool"),
        ("count", [Decimal(1), Decimal(2)], "Decimal"),
        ("count", pd.Series([2**63, 2**64 - 1], dtype="uint64"), "uint64"),
        ("share", ["a", "b"], "str"),
        ("share", [True, False], "bool"),
        ("flag", [1, 0], "int64"),
        ("flag", ["true", "false"], "str"),
        ("id", [7, 8], "int64"),
        ("id", [b"a", b"b"], "bytes"),
        ("ts", pd.to_datetime(["2025-01-06", "2025-01-07"]), "times without a time zone"),
        ("ts", [1736164800, 1736164801], "int64"),
        ("ts", ["2025-01-06T12:00:00Z", "2025-01-06"], "str"),
    ],
)
def test_a_column_of_another_type_breaks_the_schema_and_is_named(name: str, given: object, says: str) -> None:
    with pytest.raises(SchemaBreak, match=f"the column '{name}' of things holds .*") as caught:
        conform(TABLE, frame(**{name: given}))
    assert says in str(caught.value)


def test_a_single_value_of_another_type_is_the_fault_of_its_row() -> None:
    conformed = conform(TABLE, frame(count=pd.Series([1, "two"], dtype=object), id=pd.Series(["a", 7], dtype=object)))
    assert {name: mask.tolist() for name, mask in conformed.wrong_type.items()} == {
        "count": [False, True],
        "id": [False, True],
    }
    assert conformed.rows["count"].isna().tolist() == [False, True]


@pytest.mark.parametrize("nothing", [pd.Series([None, None]), pd.Series([np.nan, np.nan])])
def test_a_column_of_nulls_is_no_other_type(nothing: pd.Series) -> None:
    for name in TABLE.names:
        if name != "flag" or nothing.dtype == object:
            given = pd.Series([pd.NaT, pd.NaT]).dt.tz_localize("UTC") if name == "ts" else nothing
            assert conform(TABLE, frame(**{name: given})).rows[name].isna().all()


def test_a_missing_column_is_named_with_the_likely_new_name() -> None:
    with pytest.raises(SchemaBreak, match="lacks the column 'count'; it was probably renamed to 'counts'"):
        conform(TABLE, frame().rename(columns={"count": "counts"}).assign(other=1))
    with pytest.raises(SchemaBreak, match="probably renamed to 'quite_different'"):
        conform(TABLE, frame().rename(columns={"count": "quite_different"}))
    with pytest.raises(SchemaBreak, match=r"lacks the column 'id' \(also missing: count\)$|also missing: count"):
        check_columns(TABLE, ["share", "flag", "ts"])


def test_unknown_columns_are_left_out_but_kept_in_the_raw_rows() -> None:
    conformed = conform(TABLE, frame(extra=[1, 2]))
    assert tuple(conformed.rows.columns) == TABLE.names
    assert "extra" in conformed.raw.columns


def test_several_days_together_give_what_each_gives_alone() -> None:
    days = [frame(), frame(count=[3, 4]), frame().iloc[:0], frame(count=pd.Series([1.0, 2.0]))]
    bad = [*days, frame(count=pd.Series([1, "two"], dtype=object))]
    for raws in (days[:3], days, bad):
        for together, alone in zip(conform_days(TABLE, raws), [conform(TABLE, raw) for raw in raws], strict=True):
            pd.testing.assert_frame_equal(together.rows.reset_index(drop=True), alone.rows)
            pd.testing.assert_frame_equal(together.raw.reset_index(drop=True), alone.raw)
            assert together.wrong_type.keys() == alone.wrong_type.keys()
