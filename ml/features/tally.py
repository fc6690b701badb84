"""Rows counted by day and bin where they lie: one pass of the lake's engine over all rows, whatever their number.

The statement is a union of one grouping per column; DuckDB and Spark both take it. What comes back is as small as
days x bins x columns, so nothing of the rows has to fit into this process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml.features.engine import Engine

BINS = 128
"""Equal bins of a number between its range's ends; what lies beyond counts in the first and in the last."""

_NULL, _NONFINITE = -1, -2
_LABEL, _BIN = "label", "bin"


@dataclass(frozen=True)
class Tally:
    """How often each bin of a column was seen on each day.

    Attributes:
        counts: rows per day and bin, shape (days, bins).
        missing: rows per day without a value, or with one that is no number, shape (days,).
        nonfinite: those of them that are NaN or infinite, shape (days,).
        values: middle of each bin of a number, ascending, shape (bins,); None for a label.
        labels: of the bins of a label, in the order of the alphabet.
    """

    counts: npt.NDArray[np.int64]
    missing: npt.NDArray[np.int64]
    nonfinite: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64] | None
    labels: tuple[str, ...] = ()


def tally(
    engine: Engine,
    rows: Any,
    *,
    day: str,
    first: int,
    days: int,
    numbers: Mapping[str, tuple[float, float]],
    labels: Sequence[str],
) -> dict[str, Tally]:
    """Count all rows.

    Args:
        engine: the lake's engine.
        rows: an Ibis table of it.
        day: column with the day number of each row, an integer; rows outside the days asked for are not counted.
        first: the first day number.
        days: how many days there are.
        numbers: numeric columns, each with the lower and the upper end of its range.
        labels: columns of text or truth.

    Returns:
        A tally per column, numbers first.
    """
    kept = rows.filter(rows[day] >= first, rows[day] < first + days)
    parts = [_grouped(kept, day, name, _bin(kept[name], *ends)) for name, ends in numbers.items()]
    parts += [_grouped(kept, day, name, kept[name].cast("string"), text=True) for name in labels]
    found = engine.to_pyarrow(ibis.union(*parts) if len(parts) > 1 else parts[0])
    return {name: _tally(found, name, first, days, numbers.get(name)) for name in (*numbers, *labels)}


def ranges(sample: Mapping[str, npt.NDArray[np.float64]], tail: float = 0.001) -> dict[str, tuple[float, float]]:
    """The range of each number that leaves `tail` of a sample out at either end; (0, 1) where there is no number."""
    answer = {}
    for name, column in sample.items():
        finite = np.sort(column[np.isfinite(column)])
        if not len(finite):
            answer[name] = (0.0, 1.0)
            continue
        low, high = finite[int(tail * (len(finite) - 1))], finite[int(np.ceil((1.0 - tail) * (len(finite) - 1)))]
        answer[name] = (float(low), float(high))
    return answer


def _bin(column: Any, low: float, high: float) -> Any:
    """The bin of a number; -1 for null, -2 for NaN and infinities."""
    number = column.cast("float64")
    width = (high - low) or 1.0
    scaled = (number - low) * (BINS * (1.0 - 1e-9) / width)
    inside = ibis.greatest(ibis.least(scaled, float(BINS - 1)), 0.0).floor().cast("int16")
    # Infinities less themselves are NaN, and NaN is greater than everything for DuckDB and Spark alike.
    is_finite = (number.abs() < float("inf")).fill_null(False)
    return ibis.cases((number.isnull(), _NULL), (is_finite, inside), else_=_NONFINITE).cast("int16")


def _grouped(rows: Any, day: str, name: str, bins: Any, *, text: bool = False) -> Any:
    one = rows.select(day=rows[day].cast("int32"), bin=bins)
    counted = one.group_by("day", "bin").agg(rows=one.count())
    return counted.select(
        column=ibis.literal(name),
        day=counted["day"],
        bin=ibis.literal(0, "int16") if text else counted["bin"],
        label=counted["bin"] if text else ibis.null("string"),
        rows=counted["rows"].cast("int64"),
    )


def _tally(found: pa.Table, name: str, first: int, days: int, ends: tuple[float, float] | None) -> Tally:
    import pyarrow.compute as pc

    own = found.filter(pc.equal(found["column"], name))
    at = own["day"].to_numpy().astype(np.int64) - first
    rows = own["rows"].to_numpy().astype(np.int64)
    none = np.zeros(days, dtype=np.int64)
    if ends is None:
        names = own[_LABEL].to_pylist()
        known = sorted({label for label in names if label is not None})
        place = {label: number for number, label in enumerate(known)}
        bins = np.array([_NULL if label is None else place[label] for label in names], dtype=np.int64)
        counts, missing, _ = _spread(at, bins, rows, days, len(known))
        return Tally(counts, missing, none, None, tuple(known))
    low, high = ends
    counts, missing, nonfinite = _spread(at, own[_BIN].to_numpy().astype(np.int64), rows, days, BINS)
    middles = low + (np.arange(BINS) + 0.5) * ((high - low) or 1.0) / BINS
    return Tally(counts, missing + nonfinite, nonfinite, middles)


def _spread(
    at: npt.NDArray[np.int64], bins: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], days: int, width: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    table = np.zeros((days, width + 2), dtype=np.int64)
    np.add.at(table, (at, np.where(bins >= 0, bins, np.where(bins == _NULL, width, width + 1))), rows)
    return table[:, :width], table[:, width], table[:, width + 1]
