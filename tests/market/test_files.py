"""A user's own folder: Parquet or CSV, one file a day or many, local or S3."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import boto3
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.core.errors import DayRejected, NoData, SchemaBreak, UsageError
from ml.core.settings import Settings
from ml.lake.blobs import open_blobs
from ml.lake.lake import Lake
from ml.market import open_source
from ml.market.conform import conform
from ml.market.files import Files, export, to_csv
from ml.market.simulator.source import FIRST_DAY, Simulator
from ml.market.tables import TABLES
from tests.market.conftest import Ingest

DAY = FIRST_DAY
NEXT = DAY + timedelta(days=1)


def write(simulator: Simulator, folder: Path, form: str = "parquet") -> Files:
    export(simulator, [DAY, NEXT], open_blobs(str(folder), cache=folder), form=form)
    return reopen(folder)


def reopen(folder: Path) -> Files:
    return Files(open_blobs(str(folder), cache=folder), where=str(folder))


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_an_exported_day_lands_with_the_digests_of_its_origin(
    simulator: Simulator, ingest: Ingest, lake: Lake, tmp_path: Path, form: str
) -> None:
    """Parquet and CSV say the same: what was written out comes back bit by bit."""
    files = write(simulator, tmp_path / "data", form)
    landed = ingest(files)
    assert landed.quarantined == 0
    origin = {name: table.digest for name, table in ingest(simulator).tables.items()}
    assert {name: table.digest for name, table in landed.tables.items()} == origin


def test_it_tells_its_tables_days_and_partners(simulator: Simulator, tmp_path: Path) -> None:
    files = write(simulator, tmp_path)
    assert files.tables == simulator.tables
    assert (files.first_day(), files.last_day()) == (DAY, NEXT)
    assert files.partners == tuple(sorted(simulator.partners))
    assert files.has_opportunities


def test_a_market_without_opportunities_has_no_partners(simulator: Simulator, tmp_path: Path) -> None:
    write(simulator, tmp_path)
    for table in ("opportunities", "clicks"):
        for path in (tmp_path / table).iterdir():
            path.unlink()
    files = reopen(tmp_path)
    assert files.tables == ("hotels", "bookings", "booking_events")
    assert files.partners == ()
    assert not files.has_opportunities
    assert set(files.fetch(DAY)) == set(files.tables)


def test_many_files_of_a_day_are_put_together(simulator: Simulator, tmp_path: Path) -> None:
    """In both forms at once, in the order of their names."""
    write(simulator, tmp_path)
    path = tmp_path / "clicks" / f"day={DAY}.parquet"
    rows = pd.read_parquet(path)
    part = tmp_path / "clicks" / f"day={DAY}"
    part.mkdir()
    rows.iloc[:10].to_parquet(part / "a.parquet")
    (part / "b.csv").write_bytes(to_csv(rows.iloc[10:]))
    (part / "README.txt").write_text("not ours")
    path.unlink()
    got = conform(TABLES["clicks"], reopen(tmp_path).fetch(DAY)["clicks"]).rows
    pd.testing.assert_frame_equal(got, conform(TABLES["clicks"], rows).rows)


def test_a_column_missing_in_one_of_several_files_breaks_the_schema(simulator: Simulator, tmp_path: Path) -> None:
    """Put together, the gap would look like nulls of a nullable column."""
    write(simulator, tmp_path)
    rows = pd.read_parquet(tmp_path / "bookings" / f"day={DAY}.parquet")
    part = tmp_path / "bookings" / f"day={DAY}"
    part.mkdir()
    rows.drop(columns="click_id").to_parquet(part / "a.parquet")
    with pytest.raises(SchemaBreak, match="bookings lacks the column 'click_id'"):
        reopen(tmp_path).fetch(DAY)


def test_a_file_without_rows_is_a_day_without_rows(simulator: Simulator, ingest: Ingest, tmp_path: Path) -> None:
    write(simulator, tmp_path / "data")
    (tmp_path / "data" / "clicks" / f"day={DAY}.parquet").unlink()
    (tmp_path / "data" / "clicks" / f"day={DAY}.csv").write_text(",".join(TABLES["clicks"].names) + "\n")
    assert ingest(reopen(tmp_path / "data")).tables["clicks"].rows_in == 0


def test_what_a_csv_cannot_say_is_quarantined_value_by_value(
    simulator: Simulator, ingest: Ingest, tmp_path: Path
) -> None:
    write(simulator, tmp_path / "data", "csv")
    path = tmp_path / "data" / "bookings" / f"day={DAY}.csv"
    lines = path.read_text().splitlines()
    names = lines[0].split(",")
    for line, (name, value) in enumerate(
        [
            ("adults", "two"),
            ("adults", "1_0"),
            ("rate_micros", "99.5"),
            ("rate_micros", "1e400"),
            ("is_repeat_guest", "maybe"),
            ("booked_at", "yesterday"),
            ("booked_at", "2025-01-06T10:00:00"),
            ("hotel_id", ""),
        ],
        start=1,
    ):
        fields = lines[line].split(",")
        fields[names.index(name)] = value
        lines[line] = ",".join(fields)
    path.write_text("\n".join(lines) + "\n")
    assert ingest(reopen(tmp_path / "data")).tables["bookings"].reasons == {
        "type:adults": 2,
        "type:booked_at": 2,
        "type:rate_micros": 2,
        "null:hotel_id": 1,
        "type:is_repeat_guest": 1,
    }


@pytest.mark.parametrize("line", ["only,three,fields", '"never closed', "\xff"])
def test_a_broken_csv_rejects_the_day_and_is_named(simulator: Simulator, tmp_path: Path, line: str) -> None:
    write(simulator, tmp_path, "csv")
    path = tmp_path / "clicks" / f"day={DAY}.csv"
    path.write_bytes(path.read_bytes() + line.encode("latin-1") + b"\n")
    with pytest.raises(DayRejected, match=f"the file clicks/day={DAY}.csv cannot be read"):
        reopen(tmp_path).fetch(DAY)


@pytest.mark.parametrize(
    "bomb",
    [
        lambda row: row.take(pa.array([0] * 500_000)),
        lambda row: row.set_column(0, "click_id", pa.array(["x" * 40_000_000])),
    ],
    ids=["many rows", "a long value"],
)
def test_a_small_file_that_stands_for_more_than_fits_is_refused_before_it_is_unpacked(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bomb: Callable[[pa.Table], pa.Table]
) -> None:
    write(simulator, tmp_path)
    path = tmp_path / "clicks" / f"day={DAY}.parquet"
    pq.write_table(bomb(pq.read_table(path).slice(0, 1)), path, compression="zstd")
    assert path.stat().st_size < 100_000
    unpacked: list[int] = []
    read = pq.ParquetFile.read
    monkeypatch.setattr(pq.ParquetFile, "read", lambda file: (unpacked.append((one := read(file)).nbytes), one)[1])
    files = Files(open_blobs(str(tmp_path), cache=tmp_path), where=str(tmp_path), file_gb=0.03)
    with pytest.raises(
        DayRejected, match=rf"clicks/day={DAY}.parquet of .* bytes would take 0\.0 GB or more"
    ) as refused:
        files.fetch(DAY)
    assert "raise delivery_gb (now 0.03)" in str(refused.value)
    assert 0 < max(unpacked) < 30_000_000, "the other tables were read, and this one was not"


@pytest.mark.parametrize("name", ["", "absent"])
def test_an_empty_or_absent_folder_is_no_data(tmp_path: Path, name: str) -> None:
    files = reopen(tmp_path / name)
    for ask in (lambda: files.tables, files.first_day, files.last_day, lambda: files.fetch(DAY)):
        with pytest.raises(NoData, match="holds no file hotels/day=YYYY-MM-DD"):
            ask()


def test_without_a_folder_it_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--data"):
        open_source(Settings(source="files"))
    with pytest.raises(UsageError, match="parquet or csv"):
        export(open_source(Settings()), [DAY], open_blobs("unused", cache=Path("unused")), form="xlsx")


def test_the_folder_may_lie_in_s3(simulator: Simulator, s3: str, tmp_path: Path) -> None:
    boto3.client("s3", endpoint_url=s3).create_bucket(Bucket="market")
    settings = Settings(source="files", data="s3://market/ours", s3_endpoint=s3, home=tmp_path)
    export(simulator, [DAY, NEXT], open_blobs(settings.data, cache=tmp_path, endpoint=s3))
    files = open_source(settings)
    assert (files.tables, files.partners, files.last_day()) == (
        simulator.tables,
        tuple(sorted(simulator.partners)),
        NEXT,
    )
    for name, frame in files.fetch(NEXT).items():
        pd.testing.assert_frame_equal(frame, simulator.fetch(NEXT)[name], check_dtype=False)
