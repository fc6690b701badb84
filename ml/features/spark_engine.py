"""Spark as the engine of features and training sets, through Ibis: the one module that speaks to Spark.

One Spark application per process, started when it is first needed (some seconds) and gone with the process; every engine
is a session of its own in it. Nothing listens beyond this machine when Spark runs in it (`local[N]`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq

from ml.core.errors import UsageError
from ml.features.engine import Names, files, unreadable
from ml.features.queries import record
from ml.lake.compute import Compute

LEAST_JAVA = 17

_TIME = "timestamp('UTC', 6)"

_ALWAYS = {
    "spark.app.name": "bidwright",
    "spark.sql.session.timeZone": "UTC",
    "spark.driver.extraJavaOptions": "-Duser.timezone=UTC",
    "spark.executor.extraJavaOptions": "-Duser.timezone=UTC",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.sql.catalogImplementation": "in-memory",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # Of 128 threads most would wait for their turn, and count against what a container may have.
    "spark.sql.broadcastExchange.maxThreadThreshold": "16",
}
_PARTITIONS = "spark.sql.shuffle.partitions"
_PARTITION_BYTES = 32 << 20
"""Parquet that was read, for each partition of a shuffle: some 100 to 200 MB in memory, as Spark's own guide advises."""
_LEAST_PARTITIONS = 8
"""Spark's own 200 take twice as long on a small market's day: each is a task, however little it has to do."""
_ADDED = {"spark.driver.extraJavaOptions", "spark.executor.extraJavaOptions"}
_LOCAL = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}
"""A cluster's executors have to reach the driver; in `local[N]` nobody else has to."""


class SparkEngine:
    """One session of Spark, through Ibis."""

    has_asof = False

    def __init__(self, backend: Any, session: Any, *, market: str, sized: bool = True) -> None:
        self._backend, self._session, self._market, self._names = backend, session, market, Names()
        self._kept: list[str] = []
        self._sized, self._bytes = sized, 0

    def read(self, paths: Sequence[Path], name: str) -> Any:
        """As `Engine` says. Spark would fill a column that a file lacks with nulls, so their footers are compared."""
        table = self._names.new(name)
        record(lambda: f"-- {table}: {files(paths)}")
        _check_columns(paths, market=self._market)
        self._size(paths)
        schema = self._session.read.parquet(str(paths[0])).schema
        self._session.read.schema(schema).parquet(*(str(path) for path in paths)).createOrReplaceTempView(table)
        return _utc(self._backend.table(table))

    def keep(self, name: str, expression: Any) -> Any:
        """As `Engine` says: a view whose rows Spark keeps in memory and on disk."""
        table = self._names.new(name)
        record(lambda: f"CACHE TABLE {table} AS\n{self._backend.compile(expression, pretty=True)}")
        self._backend.create_view(table, expression)
        self._session.catalog.cacheTable(table)
        self._kept.append(table)
        return _utc(self._backend.table(table))

    def to_pyarrow(self, expression: Any) -> pa.Table:
        """As `Engine` says; straight from Spark's Arrow, because pandas would round integers beside nulls."""
        record(lambda: str(self._backend.compile(expression, pretty=True)))
        view = self._names.new("result")
        self._backend.create_view(view, expression)
        found = self._session.table(view).toArrow()
        self._session.catalog.dropTempView(view)
        return found.cast(expression.schema().to_pyarrow())

    def _size(self, paths: Sequence[Path]) -> None:
        """As many partitions as what was read wants, unless their number was given."""
        self._bytes += sum(path.stat().st_size for path in paths)
        if self._sized:
            self._session.conf.set(_PARTITIONS, str(max(_LEAST_PARTITIONS, self._bytes // _PARTITION_BYTES)))

    def close(self) -> None:
        """Give back the memory and disk of what was kept."""
        for table in self._kept:
            self._session.catalog.uncacheTable(table)


def _utc(table: Any) -> Any:
    """Every time of the lake is UTC, as the session is; Ibis takes Spark's for times without a zone."""
    return table.cast({name: _TIME for name, kind in table.schema().items() if kind.is_timestamp()})


@contextmanager
def spark_engine(compute: Compute, *, market: str) -> Iterator[SparkEngine]:
    """A session on the master that `compute` names.

    Raises:
        UsageError: there is no pyspark or no Java here.
        CorruptArtefact: Spark could not read the tables, or compute with them.
    """
    session = _application(compute.spark_master, tuple(sorted(compute.spark_options.items()))).newSession()
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    sized = _PARTITIONS not in compute.spark_options
    engine = SparkEngine(ibis.pyspark.connect(session), session, market=market, sized=sized)
    try:
        yield engine
    except (PySparkException, Py4JJavaError) as error:
        raise unreadable(market, _cause(error)) from error
    finally:
        engine.close()


def why_not() -> str | None:
    """Why Spark cannot run here, in one sentence; None where it can."""
    try:
        import pyspark  # noqa: F401
    except ModuleNotFoundError:
        return "pyspark is not installed"
    home = os.environ.get("JAVA_HOME")
    if home and not (Path(home) / "bin" / "java").exists():
        return f"JAVA_HOME is {home}, where there is no bin/java"
    if not home and shutil.which("java") is None:
        return f"there is no Java on this machine (Spark needs {LEAST_JAVA} or newer)"
    return None


@cache
def _application(master: str, options: tuple[tuple[str, str], ...]) -> Any:
    """The process's Spark application; started once, as Java cannot be set up anew in a process."""
    reason = why_not()
    if reason:
        raise UsageError(
            f"Spark cannot run: {reason}",
            left="nothing was computed",
            next=f"install Java {LEAST_JAVA} or newer and set JAVA_HOME, or set BIDWRIGHT_FEATURE_ENGINE=duckdb",
        )
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    local = master.startswith("local")
    if local:
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    scratch = TemporaryDirectory(prefix="bidwright-spark-")
    places = {"spark.local.dir": scratch.name, "spark.sql.warehouse.dir": str(Path(scratch.name) / "warehouse")}
    builder = SparkSession.builder.master(master)
    for key, value in _properties({**_ALWAYS, **(_LOCAL if local else {}), **places}, dict(options)).items():
        builder = builder.config(key, value)
    try:
        session = builder.getOrCreate()
    except (PySparkException, RuntimeError, OSError) as error:
        raise UsageError(
            f"Spark did not start on {master}: {str(error).splitlines()[0]}",
            left="nothing was computed",
            next=f"correct BIDWRIGHT_SPARK_MASTER or JAVA_HOME (Java {LEAST_JAVA} or newer), or set BIDWRIGHT_FEATURE_ENGINE=duckdb",
        ) from error
    session.scratch = scratch  # lives as long as the session
    return session


def _properties(ours: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """What is given wins, but for Java's options, which are added to ours: a driver must not lose UTC."""
    both = {**ours, **given}
    return {key: f"{ours[key]} {given[key]}" if key in _ADDED and key in given else both[key] for key in both}


def _check_columns(paths: Sequence[Path], *, market: str) -> None:
    """CorruptArtefact for a file that cannot be opened, or lacks a column of the first."""
    wanted: set[str] = set()
    for path in paths:
        try:
            names = set(pq.read_schema(path).names)
        except (pa.ArrowInvalid, OSError) as error:
            raise unreadable(market, f"{path}: {error}") from error
        wanted = wanted or names
        if not wanted <= names:
            raise unreadable(market, f"{path} has no column {min(wanted - names)}")


def _cause(error: Exception) -> str:
    """The line that says what happened: of an error of Java the innermost."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if line.startswith("Caused by:")]
    return (named or lines or [type(error).__name__])[-1 if named else 0]
