"""Tables partitioned by market day, one Parquet file a day: `<market>/<table>/day=YYYY-MM-DD/part-0.parquet`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ml.core.digests import Digest, digest_bytes
from ml.core.errors import CorruptArtefact, NoData
from ml.core.units import parse_day
from ml.lake.blobs import BlobStore
from ml.lake.compute import DUCKDB, Compute
from ml.lake.parquet import encode, to_pandas


class Lake:
    """The tables of one market. A partition is written whole, replaces itself, and has a digest.

    `compute` is the engine that `ml.features.engine` opens over them.
    """

    def __init__(self, blobs: BlobStore, market: str, compute: Compute = DUCKDB) -> None:
        self.blobs, self.market, self.compute = blobs, market, compute

    def write(self, table: str, day: date, frame: pd.DataFrame | pa.Table) -> Digest:
        """Store the day's rows in the order given; the digest is that of the file. Equal rows, equal digest."""
        return self.write_bytes(table, day, encode(frame))

    def write_bytes(self, table: str, day: date, data: bytes) -> Digest:
        """Store a partition that `ml.lake.parquet.encode` has already made."""
        self.blobs.put(self.key(table, day), data)
        return digest_bytes(data)

    def read(self, table: str, day: date) -> pd.DataFrame:
        """The rows of a day; NoData if the partition is not there, CorruptArtefact if it does not parse."""
        try:
            path = self.blobs.local_path(self.key(table, day))
        except NoData:
            raise self._absent(table, day) from None
        return to_pandas(_parse([path], columns=None))

    def digest(self, table: str, day: date) -> Digest | None:
        """The digest of the partition as it lies there now; None if it is not there."""
        try:
            return digest_bytes(self.blobs.get(self.key(table, day)))
        except NoData:
            return None

    def days(self, table: str) -> list[date]:
        """Every day that has a partition of the table, ascending."""
        start, end = f"{self.market}/{table}/day=", "/part-0.parquet"
        return [parse_day(key[len(start) : -len(end)]) for key in self.blobs.list(start) if key.endswith(end)]

    def paths(self, table: str, first: date | None = None, last: date | None = None) -> list[Path]:
        """Local Parquet files of the days from `first` to `last`, both included, ascending."""
        return self.paths_of(table, self._between(table, first, last))

    def paths_of(self, table: str, days: Sequence[date]) -> list[Path]:
        """Local Parquet files of these days, in their order; NoData where one is not there."""
        return [self.blobs.local_path(self.key(table, day)) for day in days]

    def scan(
        self,
        table: str,
        *,
        first: date | None = None,
        last: date | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """The rows of many days, ascending by day; NoData when none of the days is there."""
        paths = self.paths(table, first, last)
        if not paths:
            raise NoData(
                f"the lake has no {table} of {self.market} between {first or 'the start'} and {last or 'today'}"
            )
        return _parse(paths, columns=columns)

    def delete(self, table: str, day: date) -> None:
        """Remove the partition of a day; nothing happens if it is not there."""
        self.blobs.delete(self.key(table, day))

    def key(self, table: str, day: date) -> str:
        """The blob key of a partition."""
        return f"{self.market}/{table}/day={day.isoformat()}/part-0.parquet"

    def _between(self, table: str, first: date | None, last: date | None) -> list[date]:
        return [day for day in self.days(table) if (first or day) <= day <= (last or day)]

    def _absent(self, table: str, day: date) -> NoData:
        return NoData(
            f"the lake has no {table} of {self.market} for {day}",
            next=f"bring the day in with: bidwright ingest --day {day}",
        )


def _parse(paths: Sequence[Path], *, columns: Sequence[str] | None) -> pa.Table:
    wanted = list(columns) if columns is not None else None
    tables = []
    for path in paths:
        try:
            tables.append(pq.ParquetFile(path).read(columns=wanted))
        except (pa.ArrowInvalid, OSError) as error:
            raise CorruptArtefact(
                f"{path} is not a readable Parquet file: {error}", next="bring the day in again"
            ) from error
    return pa.concat_tables(tables, promote_options="permissive")
