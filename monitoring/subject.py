"""What is watched: one set of rows, which of its columns, and how to score them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from pandas.api import types

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from monitoring.histograms import DailyHistogram

Predict = Callable[[pd.DataFrame], pd.DataFrame]
"""Scores rows: one row out per row in, in the same order; each column of the answer is a prediction."""

CALENDAR = frozenset({"arrival_yearday", "booked_weekday", "hour"})
"""Columns that say when, not what: they move with the calendar, in a market where nothing changes too."""

GAIN_COVERED = 0.9
"""Columns count as important that together carry this share of the model's gain."""


@dataclass(frozen=True)
class Subject:
    """The rows of one kind that a market day brought, beside those of the days before it.

    Attributes:
        name: what the rows are, such as `bookings`; part of every finding.
        current: the rows that became known on the market day.
        reference: the rows of earlier days (whole days, the more the better: `Windows.days_to_judge` judge, `days_of_use` judge well).
        numeric: numeric columns to watch; only those that a model uses belong here.
        categorical: categorical, string and boolean columns to watch.
        importance: share of the model's gain per column; empty means that every column counts.
        predict: scores rows with the champion; None while there is none.
        time: the column that says when a row became known, aware UTC.
        volume: rows that the market had on each day, the judged one included, where the rows looked at are only
            some of them: a sample, or those that our own bids won. None counts the rows themselves.
        tallies: histograms of columns over all rows of the market, counted where they lie, in place of the rows at
            hand; the last day is the one judged, and days that were not asked for have no rows.
    """

    name: str
    current: pd.DataFrame
    reference: pd.DataFrame
    numeric: Sequence[str] = ()
    categorical: Sequence[str] = ()
    importance: Mapping[str, float] = field(default_factory=dict)
    predict: Predict | None = None
    time: str = "known_at"
    volume: Mapping[date, int] | None = None
    tallies: Mapping[str, DailyHistogram] = field(default_factory=dict)

    @classmethod
    def of_model(
        cls,
        name: str,
        current: pd.DataFrame,
        reference: pd.DataFrame,
        statistics: Mapping[str, Mapping[str, Any]],
        *,
        predict: Predict | None,
        time: str = "known_at",
    ) -> Self:
        """Watch the columns that a model uses, as its reference statistics name them.

        Args:
            name: what the rows are.
            current: the rows of the day, with the model's columns.
            reference: the rows of earlier days, with the same columns.
            statistics: `features` of the model's reference statistics: per column its `kind` (`number`, or any
                other for a categorical column) and its `importance` (share of the gain).
            predict: scores rows with the champion.
            time: the column that says when a row became known.
        """
        watched = {column: found for column, found in statistics.items() if column not in CALENDAR}
        numeric = [column for column, found in watched.items() if found["kind"] == "number"]
        return cls(
            name=name,
            current=current,
            reference=reference,
            numeric=numeric,
            categorical=[column for column in watched if column not in set(numeric)],
            importance={column: float(found["importance"]) for column, found in watched.items()},
            predict=predict,
            time=time,
        )

    @property
    def columns(self) -> list[str]:
        """Every watched column, numeric ones first."""
        return [*self.numeric, *self.categorical]

    @property
    def important(self) -> frozenset[str]:
        """The columns whose drift matters: the fewest that carry 90 % of the gain, or all when none is given.

        >>> rows = pd.DataFrame()
        >>> Subject("s", rows, rows, ["a", "b", "c"], [], {"a": 0.7, "b": 0.25, "c": 0.05}).important == {"a", "b"}
        True
        """
        total = sum(max(share, 0.0) for share in self.importance.values())
        if total <= 0:
            return frozenset(self.columns)
        chosen: set[str] = set()
        covered = 0.0
        for column, share in sorted(self.importance.items(), key=lambda item: (-item[1], item[0])):
            if covered >= GAIN_COVERED * total:
                break
            chosen.add(column)
            covered += max(share, 0.0)
        return frozenset(chosen)


def is_number(column: pd.Series) -> bool:
    """Whether a column holds numbers; booleans are not numbers here."""
    return types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype)


def numbers(column: pd.Series) -> NDArray[np.float64]:
    """A numeric column as floats, shape (rows,); a missing value is NaN."""
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def labels(column: pd.Series) -> pd.Series:
    """A categorical column as strings, missing values as None."""
    codes, names = factors(column)
    return pd.Series(np.array([*names, None], dtype=object)[codes], index=column.index, dtype=object)


def factors(column: pd.Series) -> tuple[NDArray[np.int64], list[str]]:
    """A categorical column as codes into a list of names; the code of a missing value is -1.

    >>> codes, names = factors(pd.Series(["b", None, "a", "b"]))
    >>> codes.tolist(), names
    ([0, -1, 1, 0], ['b', 'a'])
    """
    codes, values = pd.factorize(column)
    return codes.astype(np.int64), [str(value) for value in values]


def day_numbers(frame: pd.DataFrame, time: str) -> NDArray[np.int64]:
    """The UTC market day of each row, as days since 1970-01-01; shape (rows,). No rows need no such column."""
    if frame.empty:
        return np.zeros(0, dtype=np.int64)
    instants = pd.DatetimeIndex(frame[time]).tz_convert("UTC").tz_localize(None)
    return instants.to_numpy().astype("datetime64[D]").astype(np.int64)


def day_number(day: date) -> int:
    """A market day as days since 1970-01-01.

    >>> day_number(date(1970, 1, 2))
    1
    """
    return (day - date(1970, 1, 1)).days
