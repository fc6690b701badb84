"""Judge each row of a delivery by the contract: accepted, or quarantined with one stable reason.

A reason is a short code and, where one is to blame, the column: `repeated_row`, `type:C`, `null:C`, `range:C`,
`unknown_value:C`, `known_on_another_day`, `future_event:C`, `duplicate`, `orphan:C`. A row with several faults has
the first of this list. Many days are judged at once, each for itself: the checks cost per call, not per row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.market.conform import Conformed
from ml.market.contract import Table

Reasons = npt.NDArray[np.object_]
"""For each row its reason, or None for an accepted row; shape (n,)."""

REPEATED_ROW = "repeated_row"
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
    reasons: Reasons = np.full(len(rows), None, dtype=object)

    _mark(reasons, _repeated(table, rows), REPEATED_ROW)
    _judge_types(table, rows, days.values(), reasons)
    rows = _judge_values(table, rows[_still_good(reasons)], reasons)
    _judge_clocks(table, rows, reasons)
    _judge_keys(table, rows, reasons)
    if table.name != "hotels" and "hotel_id" in table.names:
        _judge_hotels(rows, hotels, reasons)
    return _by_day(table, days, rows, reasons)


def _judge_types(table: Table, rows: pd.DataFrame, parts: Iterable[Conformed], reasons: Reasons) -> None:
    """Values that could not be read, and missing ones where none may be missing."""
    for column in table:
        masks = [part.wrong_type.get(column.name, np.zeros(len(part.rows), bool)) for part in parts]
        _mark(reasons, np.concatenate(masks), f"type:{column.name}")
    for column in table:
        if not column.nullable:
            _mark(reasons, rows[column.name].isna().to_numpy(), f"null:{column.name}")


def _judge_values(table: Table, rows: pd.DataFrame, reasons: Reasons) -> pd.DataFrame:
    """Dtypes, ranges and allowed values by the pandera schema; the same rows with exact dtypes."""
    import pandera.pandas as pandera

    exact = rows.astype({column.name: column.dtype for column in table if column.kind != "text"})
    try:
        table.schema.validate(exact[list(table.names)], lazy=True)
    except pandera.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        order = {name: place for place, name in enumerate(table.names)}
        for case in sorted(cases.to_dict("records"), key=lambda case: order.get(case["column"], -1)):
            _mark_one(reasons, case)
    return exact


def _mark_one(reasons: Reasons, case: Mapping[Any, Any]) -> None:
    code = "null" if case["check"] == "not_nullable" else case["check"]
    index = int(case["index"])
    if reasons[index] is None:
        reasons[index] = f"{code}:{case['column']}"


def _judge_clocks(table: Table, rows: pd.DataFrame, reasons: Reasons) -> None:
    """Known on the partition's day, and not before it happened."""
    known = _micros(rows["known_at"])
    other_day = known // _MICROS_PER_DAY != rows[_DAY].to_numpy()
    _mark(reasons, _at(rows, other_day, len(reasons)), "known_on_another_day")
    future = _micros(rows[table.event_time]) > known
    _mark(reasons, _at(rows, future, len(reasons)), f"future_event:{table.event_time}")


def _judge_keys(table: Table, rows: pd.DataFrame, reasons: Reasons) -> None:
    """Rows that share a key and differ: nothing says which is right, so none is taken."""
    good = rows[_still_good(reasons)[rows.index]]
    same_key = good.duplicated([*table.key, _DAY], keep=False).to_numpy()
    _mark(reasons, _at(good, same_key, len(reasons)), "duplicate")


def _judge_hotels(rows: pd.DataFrame, hotels: Mapping[date, frozenset[str]], reasons: Reasons) -> None:
    """The hotel is in that day's list; days with equal lists are looked up together."""
    days_by_list: dict[frozenset[str], list[int]] = {}
    for day, ids in hotels.items():
        days_by_list.setdefault(ids, []).append((day - _EPOCH).days)
    known: npt.NDArray[np.bool_] = np.zeros(len(rows), dtype=bool)
    for ids, days in days_by_list.items():
        known |= (rows["hotel_id"].isin(ids) & rows[_DAY].isin(days)).to_numpy()
    _mark(reasons, _at(rows, ~known, len(reasons)), "orphan:hotel_id")


def _by_day(table: Table, days: Mapping[date, Conformed], rows: pd.DataFrame, reasons: Reasons) -> dict[date, Checked]:
    accepted = rows[_still_good(reasons)[rows.index]][list(table.names)]
    places = accepted.index.to_numpy()
    accepted = accepted.reset_index(drop=True)
    checked, start = {}, 0
    for day, part in days.items():
        stop = start + len(part.rows)
        first, last = np.searchsorted(places, [start, stop])
        checked[day] = Checked(table, part.raw, accepted.iloc[first:last], reasons[start:stop])
        start = stop
    return checked


def _repeated(table: Table, rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Every repetition of a row, not the row itself; only rows that share a key are compared in full."""
    repeated: npt.NDArray[np.bool_] = np.zeros(len(rows), dtype=bool)
    suspects = rows.index[rows.duplicated([*table.key, _DAY], keep=False)].to_numpy()
    repeated[suspects] = rows.loc[suspects].duplicated(keep="first").to_numpy()
    return repeated


def _mark(reasons: Reasons, mask: npt.NDArray[np.bool_], reason: str) -> None:
    if mask.any():
        reasons[mask & _still_good(reasons)] = reason


def _still_good(reasons: Reasons) -> npt.NDArray[np.bool_]:
    return pd.isna(reasons)


def _at(rows: pd.DataFrame, mask: npt.NDArray[np.bool_], size: int) -> npt.NDArray[np.bool_]:
    """A mask over some rows as a mask over all `size` of them."""
    whole: npt.NDArray[np.bool_] = np.zeros(size, dtype=bool)
    whole[rows.index.to_numpy()[mask]] = True
    return whole


def _micros(times: pd.Series) -> npt.NDArray[np.int64]:
    """Microseconds since 1970 of a column in `datetime64[us, UTC]`."""
    return times.to_numpy(dtype="datetime64[us]").astype("int64")


def reason_counts(reasons: Reasons) -> dict[str, int]:
    """How many rows each reason has, most frequent first."""
    counts = pd.Series([reason for reason in reasons if reason is not None], dtype=object).value_counts()
    return {str(reason): int(count) for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))}
