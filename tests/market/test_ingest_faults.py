"""Damaged deliveries in a user's folder: each stops or quarantines for the right reason, and says which file."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from ml.core.errors import DayRejected, NoData, SchemaBreak, StoreUnavailable
from ml.lake.blobs import open_blobs
from ml.lake.lake import Lake
from ml.lake.parquet import encode
from ml.ledger.database import Database
from ml.ledger.partitions import digests
from ml.market.files import Files, export
from ml.market.quarantine import QUARANTINE
from ml.market.simulator.source import FIRST_DAY, Simulator
from tests.market.conftest import Ingest

DAY = FIRST_DAY


@pytest.fixture
def folder(tmp_path: Path, simulator: Simulator) -> Path:
    """Two days of a market in the files layout."""
    export(simulator, [DAY, DAY + timedelta(days=1)], open_blobs(str(tmp_path / "data"), cache=tmp_path))
    return tmp_path / "data"


def source(folder: Path) -> Files:
    return Files(open_blobs(str(folder), cache=folder), where=str(folder))


def path_of(folder: Path, table: str) -> Path:
    return folder / table / f"day={DAY}.parquet"


def change(folder: Path, table: str, **columns: object) -> None:
    path = path_of(folder, table)
    path.write_bytes(encode(pd.read_parquet(path).assign(**columns)))


def test_a_truncated_file_rejects_the_day_and_is_named(folder: Path, ingest: Ingest, lake: Lake, db: Database) -> None:
    path = path_of(folder, "clicks")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DayRejected, match=f"the file clicks/day={DAY}.parquet cannot be read"):
        ingest(source(folder))
    assert lake.blobs.list("") == []
    assert digests(db, "m", DAY) == {}
    path.write_bytes(whole)
    assert ingest(source(folder)).quarantined == 0  # the truncation was all that was wrong


@pytest.mark.ml_test_score("monitor1")
def test_a_renamed_column_breaks_the_schema_and_both_names_are_told(folder: Path, ingest: Ingest, lake: Lake) -> None:
    path = path_of(folder, "bookings")
    path.write_bytes(encode(pd.read_parquet(path).rename(columns={"lead_days": "lead_time_days"})))
    with pytest.raises(
        SchemaBreak, match="bookings lacks the column 'lead_days'; it was probably renamed to 'lead_time_days'"
    ):
        ingest(source(folder))
    assert lake.blobs.list("") == []


@pytest.mark.ml_test_score("monitor1")
@pytest.mark.parametrize(("table", "column"), [("bookings", "rate_micros"), ("opportunities", "price_micros")])
def test_prices_times_a_thousand_reject_the_day_with_the_column(
    folder: Path, ingest: Ingest, lake: Lake, table: str, column: str
) -> None:
    rows = pd.read_parquet(path_of(folder, table))
    change(folder, table, **{column: rows[column] * 1000})
    with pytest.raises(DayRejected, match=f"range:{column}"):
        ingest(source(folder))
    assert {key.split("/")[1] for key in lake.blobs.list("")} == {QUARANTINE}


def test_a_column_full_of_nulls_rejects_the_day_with_the_column(folder: Path, ingest: Ingest) -> None:
    lead = pd.read_parquet(path_of(folder, "bookings"))["lead_days"].astype("Int64")
    lead.iloc[: int(len(lead) * 0.6)] = pd.NA
    change(folder, "bookings", lead_days=lead)
    with pytest.raises(DayRejected, match="null:lead_days"):
        ingest(source(folder))


def test_a_file_delivered_twice_under_two_names_lands_once(folder: Path, ingest: Ingest) -> None:
    once = ingest(source(folder))
    path = path_of(folder, "clicks")
    part = folder / "clicks" / f"day={DAY}"
    part.mkdir()
    (part / "clicks_final.parquet").write_bytes(path.read_bytes())
    twice = ingest(source(folder)).tables["clicks"]
    assert twice.rows_in == 2 * once.tables["clicks"].rows_in
    assert twice.reasons == {"repeated_row": once.tables["clicks"].rows_in}
    assert twice.digest == once.tables["clicks"].digest
    assert twice.unchanged


def test_yesterdays_file_under_todays_name_rejects_the_day(folder: Path, ingest: Ingest) -> None:
    path = path_of(folder, "bookings")
    path.write_bytes((folder / "bookings" / f"day={DAY + timedelta(days=1)}.parquet").read_bytes())
    with pytest.raises(DayRejected, match="known_on_another_day"):
        ingest(source(folder))


def test_a_file_that_has_not_come_is_no_data_and_is_named(folder: Path, ingest: Ingest, lake: Lake) -> None:
    path_of(folder, "bookings").unlink()
    with pytest.raises(NoData, match=f"bookings/day={DAY}.parquet .* is missing"):
        ingest(source(folder))
    assert lake.blobs.list("") == []


def test_an_unreadable_blob_store_is_store_unavailable(folder: Path, ingest: Ingest, lake: Lake) -> None:
    Path(str(lake.blobs.root)).write_text("a file where the folder should be")  # type: ignore[attr-defined]
    with pytest.raises(StoreUnavailable, match="could not be"):
        ingest(source(folder))


FULL_DISK = """
import resource, signal, sys
from datetime import UTC, date, datetime
from pathlib import Path
from ml.core.errors import StoreUnavailable
from ml.lake.blobs import open_blobs
from ml.lake.lake import Lake
from ml.ledger.database import Database
from ml.market.files import Files
from ml.market.ingest import ingest_day

folder, lake, database, day = sys.argv[1:]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
try:
    ingest_day(
        Files(open_blobs(folder, cache=Path(lake)), where=folder),
        Lake(open_blobs(lake, cache=Path(lake)), "m"),
        Database.open(database),
        market="m", day=date.fromisoformat(day), at=datetime(2030, 1, 1, tzinfo=UTC),
    )
except StoreUnavailable as error:
    print(error)
"""


def test_a_full_disk_logs_nothing_and_the_day_lands_when_there_is_room(
    folder: Path, ingest: Ingest, lake: Lake, db: Database, tmp_path: Path
) -> None:
    """A real limit of the kernel, in a child process: small partitions fit, the opportunities do not."""
    where = str(tmp_path / "lake")
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(folder), where, f"sqlite:///{tmp_path / 'ledger.db'}", str(DAY)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "opportunities" in child.stdout
    assert "the disk is full or a size limit is reached" in child.stdout
    assert lake.digest("opportunities", DAY) is None
    assert digests(db, "m", DAY) == {}
    landing = ingest(source(folder))
    assert digests(db, "m", DAY) == {name: table.digest for name, table in landing.tables.items()}
    assert all("writing" not in path.name for path in Path(where).rglob("*"))
