"""One definition, two engines: the rows of Spark are those of DuckDB, on a month of a simulated market with everything
awkward in it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import psutil
import pytest

from ml.core.errors import CorruptArtefact, UsageError
from ml.core.settings import Settings
from ml.core.units import days_between, known_by
from ml.features import spark_engine
from ml.features.build import build_days, market_views
from ml.features.definitions import FEATURE_VIEWS
from ml.features.engine import engine
from ml.features.point_in_time import join_features
from ml.features.queries import recorded
from ml.features.spark_engine import why_not
from ml.features.training_set import booking_rows, click_rows, decision_rows, opportunity_rows
from ml.lake.blobs import open_blobs
from ml.lake.compute import Compute
from ml.lake.lake import Lake
from ml.lake.parquet import to_arrow
from ml.market import open_source

needs_spark = pytest.mark.skipif(why_not() is not None, reason=f"Spark cannot run here: {why_not()}")

# PySpark leaves it to the collector to close the sockets over which it hands out rows.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

SMALL = {  # little to compute and much to compile: that is what Spark's time goes into here
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=160m",
}
FIRST = date(2025, 1, 6)
"""The market's first day, whose delivery holds the bookings of the time before."""
DAYS = days_between(FIRST, FIRST + timedelta(days=30))
NOT_LANDED, EMPTY, LAST = DAYS[9], DAYS[12], DAYS[-1]
POISON = 987_654_321


@pytest.fixture(scope="module", autouse=True)
def far_from_utc() -> Iterator[None]:
    """The machine's own zone must not matter to either engine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a lake with a month of a small simulated market: a day that never landed, one without a row, rows
    in no order, keys that are null, two outcomes of one instant, corrections, rows at the edges of a day."""
    home = tmp_path_factory.mktemp("month")
    settings = Settings(home=home, seed=3, simulator_hotels=20, simulator_opportunities_per_day=100)
    source, lake = open_source(settings), _lake(home / "lake", Compute())
    assert source.first_day() == FIRST
    rng = np.random.default_rng(5)
    for day in DAYS:
        frames = source.fetch(day)
        if day == NOT_LANDED:
            continue
        for table, rows in frames.items():
            shuffled = rows.sample(frac=0.0 if day == EMPTY else 1.0, random_state=7).reset_index(drop=True)
            lake.write(table, day, _awkward(table, shuffled, day, rng))
    return home / "lake"


def _awkward(table: str, rows: pd.DataFrame, day: date, rng: np.random.Generator) -> pd.DataFrame:
    if table == "bookings" and len(rows) > 3:
        rows = rows.head(1000)  # the first day brings a history of ten thousand
        edges = pd.Series(rows["known_at"])
        edges.iloc[0], edges.iloc[1] = pd.Timestamp(known_by(day)) - pd.Timedelta(1, "us"), edges.iloc[1].floor("D")
        lost = rng.random(len(rows)) < 0.2
        # The simulator knows neither agents nor companies.
        agent = pd.Series([None if each else f"a{number % 5}" for number, each in enumerate(lost)])
        company = pd.Series([f"k{number % 3}" if number % 7 == 0 else None for number in range(len(rows))])
        return rows.assign(known_at=edges, agent_id=agent, company_id=company)
    if table == "booking_events" and len(rows) > 3:
        other = rows["kind"].head(3).map({"cancelled": "stayed"}).fillna("cancelled")
        second = rows.head(3).assign(kind=other, event_id=[f"tie-{day}-{number}" for number in range(3)])
        return pd.concat([second, rows], ignore_index=True)
    return rows


def _lake(folder: Path, compute: Compute) -> Lake:
    return Lake(open_blobs(str(folder), cache=folder.parent / "cache"), "simulator", compute)


@pytest.fixture(scope="module")
def duckdb_lake(month: Path, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The month with its features, and rows planted among them that were known late, or speak of the future."""
    return _built(month, tmp_path_factory.mktemp("duckdb"), Compute())


@pytest.fixture(scope="module")
def spark_lake(month: Path, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return _built(month, tmp_path_factory.mktemp("spark"), Compute("spark", spark_options=SMALL))


def _built(month: Path, home: Path, compute: Compute) -> Lake:
    shutil.copytree(month, home / "lake", copy_function=os.link)
    lake = _lake(home / "lake", compute)
    views = market_views(lake).values()
    build_days(lake, views, [day for day in DAYS if day != DAYS[15]])
    for view in views:
        rows = lake.read(view.table, DAYS[20])
        values = {feature.name: POISON if feature.dtype == "int64" else float(POISON) for feature in view.features}
        late = rows.assign(**values, created_timestamp=rows["created_timestamp"] + pd.Timedelta(5, "D"))
        lake.write(view.table, DAYS[20], pd.concat([late, rows], ignore_index=True))
        behind = lake.read(view.table, DAYS[14])
        stamp = pd.Timestamp(known_by(DAYS[15])).as_unit("us")
        backfill = behind.assign(event_timestamp=stamp, created_timestamp=stamp + pd.Timedelta(9, "D"))
        lake.write(view.table, DAYS[15], backfill)
    return lake


@needs_spark
@pytest.mark.parametrize("name", FEATURE_VIEWS)
def test_feature_rows_are_the_same_row_by_row(name: str, duckdb_lake: Lake, spark_lake: Lake) -> None:
    """To the last bit; of the logarithm to the last but one, which Java and C round in their own way."""
    view = FEATURE_VIEWS[name]
    seen = 0
    for day in DAYS:
        ours, theirs = duckdb_lake.read(view.table, day), spark_lake.read(view.table, day)
        seen += len(ours)
        logarithms = [column for column in view.feature_names if "_cancel_ratio_" in column]
        for column in logarithms:
            np.testing.assert_array_max_ulp(ours[column].to_numpy(), theirs[column].to_numpy(), maxulp=1)
        pd.testing.assert_frame_equal(
            ours.drop(columns=logarithms), theirs.drop(columns=logarithms), check_exact=True, obj=f"{name} of {day}"
        )
    assert seen > len(DAYS)


@needs_spark
@pytest.mark.parametrize(
    "rows_of",
    [
        lambda lake: booking_rows(lake, market=lake.market, as_of=known_by(DAYS[-3]), first=DAYS[2]),
        lambda lake: click_rows(lake, as_of=known_by(DAYS[-3]), exclude_days=[DAYS[5]]),
        lambda lake: opportunity_rows(lake, as_of=known_by(LAST), share=0.5),
    ],
    ids=["bookings", "clicks", "opportunities"],
)
def test_training_rows_are_the_same_row_by_row(
    rows_of: Callable[[Lake], pd.DataFrame], duckdb_lake: Lake, spark_lake: Lake
) -> None:
    ours, theirs = rows_of(duckdb_lake), rows_of(spark_lake)
    assert len(ours)
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-15, atol=0)


@needs_spark
@pytest.mark.parametrize(
    ("given", "partitions"), [({}, ["8", "10"]), ({"spark.sql.shuffle.partitions": "1"}, ["1", "1"])]
)
def test_a_shuffle_has_as_many_parts_as_what_was_read_wants_unless_they_were_given(
    spark_lake: Lake, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], partitions: list[str]
) -> None:
    paths = spark_lake.paths("clicks", DAYS[-2], DAYS[-1])
    size = sum(path.stat().st_size for path in paths)
    found = []
    # A process has one application, which is there already; a session's own number is looked at.
    there = spark_engine._application(spark_lake.compute.spark_master, tuple(sorted(SMALL.items())))
    monkeypatch.setattr(spark_engine, "_application", lambda *_: there)
    for part in (size, size // 10):
        monkeypatch.setattr(spark_engine, "_PARTITION_BYTES", part)
        with spark_engine.spark_engine(Compute("spark", spark_options=given), market="m") as opened:
            opened.read(paths, "clicks")
            found.append(opened._session.conf.get("spark.sql.shuffle.partitions"))
    assert found == partitions


@needs_spark
def test_spark_listens_on_this_machine_only(spark_lake: Lake) -> None:
    children = psutil.Process().children(recursive=True)
    listening = [
        connection
        for child in children
        if "java" in child.name()
        for connection in child.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert {connection.laddr.ip for connection in listening} <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    assert not any(4040 <= connection.laddr.port < 4050 for connection in listening), "its web page is off"


@needs_spark
def test_a_file_that_lacks_a_column_is_named_and_not_filled_with_nulls(spark_lake: Lake, tmp_path: Path) -> None:
    lake = _lake(tmp_path / "lake", spark_lake.compute)
    for day, columns in ((DAYS[0], ["a", "b"]), (DAYS[1], ["a"])):
        lake.write("clicks", day, pd.DataFrame({column: [1] for column in columns}))
    with pytest.raises(CorruptArtefact, match=rf"day={DAYS[1]}.* has no column b"), engine(lake) as opened:
        opened.read(lake.paths("clicks"), "clicks")


@needs_spark
def test_a_damaged_partition_is_named_by_spark_too(spark_lake: Lake, tmp_path: Path) -> None:
    lake = _lake(tmp_path / "lake", spark_lake.compute)
    lake.write("clicks", DAYS[0], pd.DataFrame({"a": range(1000)}))
    [path] = lake.paths("clicks")
    data = path.read_bytes()
    path.write_bytes(data[:4] + bytes(len(data) // 2) + data[4 + len(data) // 2 :])
    with pytest.raises(CorruptArtefact, match=r"could not be read"), engine(lake) as opened:
        opened.to_pyarrow(opened.read([path], "clicks"))


def test_without_java_one_sentence_says_what_to_do(month: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    lake = _lake(month, Compute("spark", spark_master="local[3]"))
    with pytest.raises(UsageError, match=r"JAVA_HOME is /nowhere.*BIDWRIGHT_FEATURE_ENGINE=duckdb"), engine(lake):
        pass


@pytest.mark.parametrize("learned_late", [True, False])
def test_the_window_join_and_the_asof_join_agree_where_the_same_engine_has_both(
    learned_late: bool, duckdb_lake: Lake
) -> None:
    """Ties included: a decision at the very instant of a feature row sees it, and null keys see nothing."""
    view = FEATURE_VIEWS["agent_history"]
    decisions = decision_rows(duckdb_lake, market=duckdb_lake.market, last=LAST, views=[])
    assert decisions["agent_id"].isna().any()
    rows = ibis.memtable(to_arrow(decisions))
    history = pd.concat([duckdb_lake.read(view.table, day) for day in DAYS])
    if not learned_late:
        history = history[history["created_timestamp"] == history["event_timestamp"]]
    features = ibis.memtable(to_arrow(history))
    backend = ibis.duckdb.connect()
    try:
        one, other = (
            backend.to_pyarrow(join_features(rows, features, view, learned_late=learned_late, asof=asof))
            .to_pandas()
            .sort_values("booking_id", ignore_index=True)
            for asof in (True, False)
        )
    finally:
        backend.disconnect()
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert one["agent_history_known_from"].notna().any()


def test_equal_questions_are_equal_texts(duckdb_lake: Lake) -> None:
    """Neither a made-up name nor a folder of this machine is in the text of a query."""
    texts = []
    for _ in range(2):
        with recorded() as queries:
            decision_rows(duckdb_lake, market=duckdb_lake.market, last=LAST, first=DAYS[3])
        texts.append("\n".join(queries))
    assert texts[0] == texts[1]
    assert "ASOF" in texts[0] and str(LAST) in texts[0]
    assert str(Path(duckdb_lake.paths("bookings")[0]).parents[4]) not in texts[0]


def test_memory_that_does_not_suffice_is_one_sentence_that_names_the_setting(month: Path) -> None:
    lake = _lake(month, replace(Compute(), memory="1MB"))
    with pytest.raises(UsageError, match="BIDWRIGHT_ENGINE_MEMORY"):
        decision_rows(lake, market=lake.market, last=LAST, views=[])
