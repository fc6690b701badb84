"""Partitions by market day: equal rows have equal bytes, types survive, a damaged file is named."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.core.digests import digest_file
from ml.core.errors import CorruptArtefact, NoData
from ml.lake.blobs import open_blobs
from ml.lake.lake import Lake
from ml.lake.parquet import encode, to_arrow, to_pandas

DAY = date(2025, 1, 6)
NEXT = date(2025, 1, 7)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(open_blobs(str(tmp_path / "lake"), cache=tmp_path / "cache"), "m")


def sample() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": ["a", "b"],
            "agent": ["7", None],
            "lead": np.array([3, 4], dtype="int64"),
            "position": pd.array([1, None], dtype="Int64"),
            "stars": [4.5, np.nan],
            "shown": [True, False],
            "ts": pd.to_datetime(["2025-01-06T10:00:00.123456Z", "2025-01-06T11:00:00.000000Z"]).as_unit("us"),
        }
    )


def test_rows_and_types_come_back_as_they_were(lake: Lake) -> None:
    lake.write("t", DAY, sample())
    pd.testing.assert_frame_equal(lake.read("t", DAY), sample())


def test_an_empty_partition_keeps_its_schema(lake: Lake) -> None:
    lake.write("t", DAY, sample().iloc[:0])
    back = lake.read("t", DAY)
    assert len(back) == 0
    assert back.dtypes.to_dict() == sample().dtypes.to_dict()


def test_equal_rows_have_equal_digests_and_the_digest_is_that_of_the_file(lake: Lake, tmp_path: Path) -> None:
    first = lake.write("t", DAY, sample())
    again = lake.write("t", NEXT, sample().copy())
    as_arrow = lake.write("u", DAY, to_arrow(sample()))
    path = tmp_path / "lake" / "m" / "t" / "day=2025-01-06" / "part-0.parquet"
    assert first == again == as_arrow == digest_file(path) == lake.digest("t", DAY)
    assert lake.digest("t", date(2030, 1, 1)) is None


def test_other_rows_or_another_order_have_another_digest(lake: Lake) -> None:
    rows = sample()
    assert lake.write("t", DAY, rows) != lake.write("t", DAY, rows.iloc[::-1])


def test_pandas_metadata_and_index_do_not_change_the_bytes() -> None:
    rows = sample()
    rows.index = pd.Index([9, 3], name="leftover")
    rows.attrs["made"] = "today"
    assert encode(rows) == encode(sample())


def test_times_are_kept_in_utc_with_microseconds_whatever_zone_they_came_in() -> None:
    here = pd.Series(pd.to_datetime(["2025-01-06T10:00:00Z"]).tz_convert("Europe/Lisbon").as_unit("ns"))
    back = to_pandas(to_arrow(pd.DataFrame({"ts": here})))
    assert back["ts"].dtype == "datetime64[us, UTC]"
    assert back["ts"].iloc[0] == datetime(2025, 1, 6, 10, tzinfo=UTC)


def test_a_time_without_a_zone_is_refused(lake: Lake) -> None:
    with pytest.raises(TypeError, match="'ts' holds times without a time zone"):
        lake.write("t", DAY, pd.DataFrame({"ts": pd.to_datetime(["2025-01-06"])}))


def test_days_and_paths_are_ascending_and_bounded(lake: Lake) -> None:
    days = [date(2025, 1, number) for number in (9, 7, 8)]
    for day in days:
        lake.write("t", day, sample())
    lake.write("t_other", date(2025, 1, 1), sample())
    assert lake.days("t") == sorted(days)
    assert [path.parent.name for path in lake.paths("t", date(2025, 1, 8))] == ["day=2025-01-08", "day=2025-01-09"]
    assert len(lake.paths("t", last=date(2025, 1, 7))) == 1
    assert lake.paths("absent") == []


def test_scan_reads_many_days_without_a_day_column(lake: Lake) -> None:
    lake.write("t", NEXT, sample())
    lake.write("t", DAY, sample().assign(agent=None, lead=pd.array([None, 1], dtype="Int64")))
    table = lake.scan("t")
    assert table.column_names == list(sample().columns)
    assert table["lead"].to_pylist() == [None, 1, 3, 4]  # ascending by day
    assert table["agent"].to_pylist() == [None, None, "7", None]
    assert lake.scan("t", first=NEXT, columns=["id"]).to_pydict() == {"id": ["a", "b"]}


def test_duckdb_reads_the_partitions_in_place(lake: Lake) -> None:
    lake.write("t", DAY, sample())
    paths = [str(path) for path in lake.paths("t")]
    rows = duckdb.sql("SELECT sum(lead), count(stars), count(*) FROM read_parquet(?)", params=[paths]).fetchall()
    assert rows == [(7, 1, 2)]


def test_what_is_not_there_is_no_data(lake: Lake) -> None:
    with pytest.raises(NoData, match="no t of m for 2025-01-06"):
        lake.read("t", DAY)
    lake.write("t", DAY, sample())
    with pytest.raises(NoData, match="between 2025-01-07 and today"):
        lake.scan("t", first=NEXT)
    lake.delete("t", DAY)
    with pytest.raises(NoData):
        lake.read("t", DAY)


def test_a_truncated_partition_is_named(lake: Lake, tmp_path: Path) -> None:
    lake.write("t", DAY, sample())
    path = tmp_path / "lake" / "m" / "t" / "day=2025-01-06" / "part-0.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert digest_file(path) != lake.write("other", DAY, sample())  # the file is damaged
    for read in (lambda: lake.read("t", DAY), lambda: lake.scan("t")):
        with pytest.raises(CorruptArtefact, match="day=2025-01-06"):
            read()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.none(),
            st.integers(-(2**63), 2**63 - 1) | st.none(),
            st.floats(allow_nan=False),
            st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001
        )
    )
)
def test_any_value_comes_back(rows: list[tuple[str | None, int | None, float, datetime]]) -> None:
    frame = pd.DataFrame(
        {
            "text": pd.Series([row[0] for row in rows], dtype=object),
            "int": pd.array([row[1] for row in rows], dtype="Int64"),
            "float": np.array([row[2] for row in rows], dtype="float64"),
            "ts": pd.DatetimeIndex(np.array([row[3] for row in rows], dtype="datetime64[us]")).tz_localize("UTC"),
        }
    )
    back = to_pandas(pa.Table.from_batches(to_arrow(frame).to_batches(), schema=to_arrow(frame).schema))
    pd.testing.assert_frame_equal(back, frame)
    assert encode(back) == encode(frame)
