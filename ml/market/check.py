"""Judge each row of a delivery by the contract: accepted, or quarantined with one stable reason.

A reason is a short code and, where one is to blame, the column: `repeated_row`, `type:C`, `null:C`, `range:C`,
`unknown_value:C`, `known_on_another_day`, `future_event:C`, `duplicate`, `orphan:C`. A row with several faults has
the first of this list. Many days are judged at once, each for itself: the checks cost per call, not per row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.market.conform import Conformed
from ml.market.contract import Table
from ml.market.reasons import REPEATED_ROW, Marks, Reasons

_DAY = "_partition_day"
_EPOCH = date(1970, 1, 1)
_MICROS_PER_DAY = 86_400_000_000


@dataclass(frozen=True)
class Checked:
    """A table's delivery of one day, judged: the accepted rows with exact dtypes, and the reason of every row."""

    table: Table
    raw: pd.DataFrame
    accepted: pd.DataFrame
    reasons: Reasons

    @property
    def quarantined(self) -> int:
        """How many rows were not accepted."""
        return len(self.reasons) - len(self.accepted)


def check_days(
    table: Table, days: Mapping[date, Conformed], hotels: Mapping[date, frozenset[str]]
) -> dict[date, Checked]:
    """Judge the deliveries of one table for several days; `hotels` has each day's accepted hotel ids."""
    if not days:
        return {}
    sizes = [len(part.rows) for part in days.values()]
    rows = pd.concat([part.rows for part in days.values()], ignore_index=True)
    rows[_DAY] = np.repeat([(day - _EPOCH).days for day in days], sizes)
    marks = Marks(len(rows))

    sharing = _sharing_a_key(table, rows)
    marks.mark(REPEATED_ROW, sharing.index[sharing.duplicated(keep="first")])
    _judge_types(table, rows, days.values(), marks)
    rows = _judge_values(table, rows, marks)
    _judge_clocks(table, rows, marks)
    # Rows that share a key and differ: nothing says which is right, so none is taken.
    good = sharing[marks.good[sharing.index]]
    marks.mark("duplicate", _sharing_a_key(table, good).index)
    if table.name != "hotels" and "hotel_id" in table.names:
        _judge_hotels(rows, hotels, marks)
    return _by_day(table, days, rows, marks)


def _sharing_a_key(table: Table, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows whose key another row of the same day has, too."""
    return rows[rows.duplicated([*table.key, _DAY], keep=False)]


def _judge_types(table: Table, rows: pd.DataFrame, parts: Iterable[Conformed], marks: Marks) -> None:
    """Values that could not be read, and missing ones where none may be missing."""
    for column in table:
        start = 0
        for part in parts:
            if column.name in part.wrong_type:
                marks.mark(f"type:{column.name}", start + np.flatnonzero(part.wrong_type[column.name]))
            start += len(part.rows)
    for column in table:
        if not column.nullable:
            marks.mark(f"null:{column.name}", np.flatnonzero(rows[column.name].isna()))


def _judge_values(table: Table, rows: pd.DataFrame, marks: Marks) -> pd.DataFrame:
    """Dtypes, ranges and allowed values by the pandera schema; the rows so far good, with exact dtypes."""
    import pandera.pandas as pandera

    exact = rows[marks.good].astype({column.name: column.dtype for column in table if column.kind != "text"})
    try:
        table.schema.validate(exact[list(table.names)], lazy=True)
    except pandera.errors.SchemaErrors as errors:
        _mark_failures(table, errors.failure_cases, marks)
    return exact


def _mark_failures(table: Table, cases: pd.DataFrame, marks: Marks) -> None:
    """Column by column in the order of the contract, so that a row's reason does not depend on pandera's."""
    for column in table:
        of_column = cases[cases["column"] == column.name]
        for check, failed in of_column.groupby("check", sort=True):
            marks.mark(f"{check}:{column.name}", failed["index"].astype("int64").to_numpy())


def _judge_clocks(table: Table, rows: pd.DataFrame, marks: Marks) -> None:
    """Known on the partition's day, and not before it happened."""
    known = _micros(rows["known_at"])
    marks.mark("known_on_another_day", rows.index[known // _MICROS_PER_DAY != rows[_DAY].to_numpy()])
    marks.mark(f"future_event:{table.event_time}", rows.index[_micros(rows[table.event_time]) > known])


def _judge_hotels(rows: pd.DataFrame, hotels: Mapping[date, frozenset[str]], marks: Marks) -> None:
    """The hotel is in that day's list; days with equal lists are looked up together."""
    days_by_list: dict[frozenset[str], list[int]] = {}
    for day, ids in hotels.items():
        days_by_list.setdefault(ids, []).append((day - _EPOCH).days)
    known: npt.NDArray[np.bool_] = np.zeros(len(rows), dtype=bool)
    for ids, days in days_by_list.items():
        known |= (rows["hotel_id"].isin(ids) & rows[_DAY].isin(days)).to_numpy()
    marks.mark("orphan:hotel_id", rows.index[~known])


def _by_day(table: Table, days: Mapping[date, Conformed], rows: pd.DataFrame, marks: Marks) -> dict[date, Checked]:
    accepted = rows.loc[marks.good[rows.index], list(table.names)]
    places = accepted.index.to_numpy()
    accepted = accepted.reset_index(drop=True)
    checked, start = {}, 0
    for day, part in days.items():
        stop = start + len(part.rows)
        first, last = np.searchsorted(places, [start, stop])
        checked[day] = Checked(table, part.raw, accepted.iloc[first:last], marks.reasons(start, stop))
        start = stop
    return checked


def _micros(times: pd.Series) -> npt.NDArray[np.int64]:
    """Microseconds since 1970 of a column in `datetime64[us, UTC]`."""
    return times.to_numpy(dtype="datetime64[us]").astype("int64")
