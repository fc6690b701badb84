"""DuckDB over the lake's Parquet files, spoken to in Ibis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import ibis

from ml.core.errors import CorruptArtefact, NoData
from ml.lake.lake import Lake
from ml.market.tables import TABLES


@contextmanager
def engine(lake: Lake) -> Iterator[Any]:
    """An Ibis backend in memory; what does not fit spills into a folder that goes with it.

    Raises:
        CorruptArtefact: a partition of the lake cannot be read, or lacks a column.
    """
    with TemporaryDirectory(prefix="bidwright-duckdb-") as folder:
        backend = ibis.duckdb.connect(temp_directory=folder)
        try:
            yield backend
        except duckdb.Error as error:
            raise CorruptArtefact(
                f"the tables of {lake.market} could not be read: {str(error).splitlines()[0]}",
                left="nothing was computed from them",
                next="bring the day that is named in again with: bidwright ingest --day YYYY-MM-DD",
            ) from error
        finally:
            backend.disconnect()


def open_canonical(backend: Any, lake: Lake, name: str, *, first: date | None, last: date | None) -> Any:
    """A canonical table over the days given, without rows where none of them is there; NoData if there is no day at all."""
    paths = lake.paths(name, first, last)
    if paths:
        return open_files(backend, paths)
    if not lake.days(name):
        raise NoData(f"the lake has no {name} of {lake.market}", next="bring market days in with: bidwright ingest")
    return ibis.memtable(TABLES[name].arrow.empty_table())


def open_files(backend: Any, paths: Any) -> Any:
    """Parquet files as one table; the day in their folder's name is no column."""
    return backend.read_parquet([str(path) for path in paths], hive_partitioning=False)
