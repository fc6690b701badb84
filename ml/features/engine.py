"""An engine over the lake's Parquet files, spoken to in Ibis: DuckDB in this process, or Spark by the lake's `compute`.

The definitions know neither. What the two do differently is behind `Engine`, and a test compares their rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import duckdb
import ibis
import pyarrow as pa

from ml.core.errors import CorruptArtefact, NoData, UsageError
from ml.features.queries import record
from ml.lake.compute import Compute
from ml.lake.lake import Lake
from ml.market.tables import TABLES


class Engine(Protocol):
    """What features and training sets need of an engine; expressions are of its own tables and of memtables.

    `has_asof`: whether an ASOF join can be said to it.
    """

    has_asof: bool

    def read(self, paths: Sequence[Path], name: str) -> Any:
        """Parquet files of one schema as an Ibis table; the day in their folder's name is no column."""

    def keep(self, name: str, expression: Any) -> Any:
        """The rows of an expression, computed once, as an Ibis table that goes with the engine."""

    def to_pyarrow(self, expression: Any) -> pa.Table:
        """The rows of an Ibis table, in its types."""


class DuckDbEngine:
    """DuckDB in memory, through Ibis."""

    has_asof = True

    def __init__(self, backend: Any) -> None:
        self._backend, self._names = backend, Names()

    def read(self, paths: Sequence[Path], name: str) -> Any:
        """As `Engine` says."""
        table = self._names.new(name)
        record(lambda: f"-- {table}: {files(paths)}")
        return self._backend.read_parquet([str(path) for path in paths], table_name=table, hive_partitioning=False)

    def keep(self, name: str, expression: Any) -> Any:
        """As `Engine` says: a temporary table."""
        table = self._names.new(name)
        record(lambda: f"CREATE TEMP TABLE {table} AS\n{self._backend.compile(expression, pretty=True)}")
        return self._backend.create_table(table, expression, temp=True)

    def to_pyarrow(self, expression: Any) -> pa.Table:
        """As `Engine` says."""
        record(lambda: str(self._backend.compile(expression, pretty=True)))
        return self._backend.to_pyarrow(expression)


class Names:
    """Names of an engine's tables: as asked for, with a number from the second time on."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, name: str) -> str:
        """A name that was not given before."""
        tried = (name if number == 1 else f"{name}_{number}" for number in count(1))
        found = next(each for each in tried if each not in self._taken)
        self._taken.add(found)
        return found


def files(paths: Sequence[Path]) -> str:
    """Which partitions these are, for people: the first and the last of a table's days, and how many."""
    first, last = ("/".join(path.parts[-4:-1]) for path in (paths[0], paths[-1]))
    return f"{first} to {last}, {len(paths)} files"


@contextmanager
def engine(lake: Lake) -> Iterator[Engine]:
    """The engine that the lake's `compute` names; what does not fit in memory spills into a folder that goes with it.

    Raises:
        CorruptArtefact: a partition of the lake cannot be read, or lacks a column.
        UsageError: the engine cannot run here, or has too little memory for the work.
    """
    if lake.compute.engine == "duckdb":
        with _duckdb(lake.compute, market=lake.market) as opened:
            yield opened
    else:
        from ml.features.spark_engine import spark_engine

        with spark_engine(lake.compute, market=lake.market) as spark:
            yield spark


@contextmanager
def _duckdb(compute: Compute, *, market: str) -> Iterator[Engine]:
    with TemporaryDirectory(prefix="bidwright-duckdb-") as folder:
        backend = ibis.duckdb.connect(temp_directory=folder, memory_limit=compute.memory)
        try:
            yield DuckDbEngine(backend)
        except duckdb.OutOfMemoryException as error:
            raise UsageError(
                f"DuckDB needs more than {compute.memory} for the tables of {market}",
                left="nothing was computed from them",
                next="raise BIDWRIGHT_ENGINE_MEMORY, or free disk for what it spills",
            ) from error
        except duckdb.Error as error:
            raise unreadable(market, str(error)) from error
        finally:
            backend.disconnect()


def unreadable(market: str, what: str) -> CorruptArtefact:
    """The error of an engine that could not read the lake's tables."""
    return CorruptArtefact(
        f"the tables of {market} could not be read: {what.splitlines()[0]}",
        left="nothing was computed from them",
        next="bring the day that is named in again with: bidwright ingest --day YYYY-MM-DD",
    )


def open_canonical(engine: Engine, lake: Lake, name: str, *, first: date | None, last: date | None) -> Any:
    """A canonical table over the days given, without rows where none of them is there; NoData if there is no day at all."""
    paths = lake.paths(name, first, last)
    if paths:
        return engine.read(paths, name)
    if not lake.days(name):
        raise NoData(f"the lake has no {name} of {lake.market}", next="bring market days in with: bidwright ingest")
    return ibis.memtable(TABLES[name].arrow.empty_table())
