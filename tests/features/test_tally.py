"""Rows counted where they lie, against the same counted in memory."""

from __future__ import annotations

from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml.features.engine import DuckDbEngine
from ml.features.tally import BINS, Tally, ranges, tally


def rows(n: int = 5_000) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    number = rng.normal(10.0, 2.0, n)
    number[:40] = np.inf
    number[40:70] = np.nan
    return {"day": rng.integers(99, 106, n), "number": number, "label": rng.choice(["b", "a", "c"], n)}


def counted(tmp_path: Path, columns: dict[str, np.ndarray], ends: tuple[float, float]) -> dict[str, Tally]:
    label = [None if n < 25 else str(text) for n, text in enumerate(columns["label"])]
    number = pa.array(columns["number"], mask=np.arange(len(label)) >= len(label) - 15)
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"day": columns["day"], "number": number, "label": label}), path)
    engine = DuckDbEngine(ibis.duckdb.connect())
    table = engine.read([path], "rows")
    return tally(engine, table, day="day", first=100, days=5, numbers={"number": ends}, labels=["label"])


def test_every_row_of_the_days_is_counted_once_and_where_it_belongs(tmp_path: Path) -> None:
    columns = rows()
    found = counted(tmp_path, columns, (4.0, 16.0))
    inside = (columns["day"] >= 100) & (columns["day"] < 105)
    for name in ("number", "label"):
        total = found[name].counts.sum(axis=1) + found[name].missing
        assert total.tolist() == np.bincount(columns["day"][inside] - 100, minlength=5).tolist()
    given = inside & (np.arange(len(inside)) >= 25)
    assert found["label"].labels == ("a", "b", "c")
    assert found["label"].counts.sum(axis=0).tolist() == [(columns["label"][given] == one).sum() for one in "abc"]
    finite = inside & np.isfinite(columns["number"]) & (np.arange(len(inside)) < len(inside) - 15)
    edges = np.linspace(4.0, 16.0, BINS + 1)
    expected, _ = np.histogram(np.clip(columns["number"][finite], 4.0, 16.0), edges)
    assert np.abs(found["number"].counts.sum(axis=0) - expected).sum() <= 2
    assert found["number"].nonfinite.sum() == (inside[:70]).sum()
    assert found["number"].missing.sum() == found["number"].nonfinite.sum() + inside[-15:].sum()


def test_the_middles_of_the_bins_give_back_the_mean(tmp_path: Path) -> None:
    columns = rows()
    found = counted(tmp_path, columns, (2.0, 18.0))["number"]
    assert found.values is not None
    counts = found.counts.sum(axis=0)
    assert abs((counts * found.values).sum() / counts.sum() - 10.0) < 0.2


def test_a_range_leaves_the_tails_out_and_a_column_without_numbers_has_one_too() -> None:
    found = ranges({"a": np.concatenate([np.arange(10_000.0), [1e12, np.nan]]), "b": np.array([np.nan])})
    assert 0 < found["a"][0] < 20
    assert 9_980 < found["a"][1] < 10_000
    assert found["b"] == (0.0, 1.0)


def test_a_column_of_one_value_is_one_bin(tmp_path: Path) -> None:
    columns = rows() | {"number": np.full(5_000, 3.0)}
    found = counted(tmp_path, columns, (3.0, 3.0))["number"]
    assert (found.counts.sum(axis=0) > 0).sum() == 1
