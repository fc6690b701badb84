"""A market of your own: a folder, or an S3 prefix, of Parquet or CSV files in the form of the canonical tables.

    <data>/<table>/day=YYYY-MM-DD.parquet          one file a day, or
    <data>/<table>/day=YYYY-MM-DD/<any name>.csv   as many as you like; they are put together

CSV has a header line, UTF-8, empty for null, times in ISO 8601 with an offset, dates as YYYY-MM-DD, `true` and
`false`. The tables of the market are those that have a folder; `hotels` is always one of them. A table without rows
on a day has a file without rows: a missing file is a delivery that has not come.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ml.core.errors import BidwrightError, DayRejected, NoData, UsageError
from ml.core.settings import Settings
from ml.core.units import parse_day
from ml.lake.blobs import BlobStore, open_blobs
from ml.market.conform import check_columns
from ml.market.contract import Kind, Table
from ml.market.source import MarketSource
from ml.market.tables import TABLES

if TYPE_CHECKING:
    import pandas as pd

DELIVERED = tuple(name for name in TABLES if name != "bids")
"""Tables that a source may deliver, in the order in which they refer to each other."""

_NAME = re.compile(r"(?P<table>[a-z_]+)/day=(?P<day>\d{4}-\d{2}-\d{2})(?:/(?P<part>[^/]+))?\.(?P<form>parquet|csv)")
_GB = 10**9
_VALUE_BYTES = 8  # what a value takes in memory at the least: a number, an instant, or the place of a text
_WHOLE = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?")


class Files:
    """A folder of daily files. Which partners there are is read from the opportunities of the last day.

    Args:
        blobs: the folder.
        where: what to call it.
        file_gb: memory that one Parquet file may take when it is read, in GB.
    """

    name = "files"

    def __init__(self, blobs: BlobStore, *, where: str, file_gb: float = 8) -> None:
        self.blobs, self.where, self._file_gb = blobs, where, file_gb

    @classmethod
    def from_settings(cls, settings: Settings) -> Files:
        """The source over `settings.data`, a folder or `s3://bucket/prefix`; UsageError when none is given."""
        if not settings.data:
            raise UsageError(
                "the source files needs a folder", next="give a folder or s3://bucket/prefix, for example --data mydata"
            )
        blobs = open_blobs(settings.data, cache=settings.home / "cache", endpoint=settings.s3_endpoint)
        return cls(blobs, where=settings.data, file_gb=settings.delivery_gb)

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that have files; NoData when there are no hotels."""
        found = {table for table, _ in self._index}
        if "hotels" not in found:
            raise NoData(
                f"{self.where} holds no file hotels/day=YYYY-MM-DD.parquet or .csv",
                next="lay the files out as docs/bring-your-own-market.md shows",
            )
        return tuple(name for name in DELIVERED if name in found)

    @property
    def has_opportunities(self) -> bool:
        """Whether auctions are delivered."""
        return "opportunities" in self.tables

    @cached_property
    def partners(self) -> tuple[str, ...]:
        """The partners that the last day's opportunities name, sorted."""
        if not self.has_opportunities:
            return ()
        last = max(self._days("opportunities"))
        return tuple(sorted({str(name) for name in self._read("opportunities", last)["partner"].dropna()}))

    def first_day(self) -> date:
        """The first day that has a list of hotels."""
        return min(self._days("hotels"))

    def last_day(self) -> date:
        """The last day that has a list of hotels."""
        return max(self._days("hotels"))

    def fetch(self, day: date) -> dict[str, pd.DataFrame]:
        """Every file of the day, put together by table; NoData naming the file that is missing."""
        return {table: self._read(table, day) for table in self.tables}

    @cached_property
    def _index(self) -> frozenset[tuple[str, date]]:
        """Which tables have files for which days, as of the first look; files of other names are not ours."""
        matches = [_NAME.fullmatch(key) for key in self.blobs.list("")]
        return frozenset((match["table"], parse_day(match["day"])) for match in matches if match)

    def _days(self, table: str) -> list[date]:
        if "hotels" in self.tables:
            return [day for name, day in self._index if name == table]
        return []

    def _read(self, table: str, day: date) -> pd.DataFrame:
        import pandas as pd

        keys = [key for key in self.blobs.list(f"{table}/day={day}") if _NAME.fullmatch(key)]
        if not keys:
            raise NoData(
                f"{self.where} has no {table} for {day}: {table}/day={day}.parquet (or .csv) is missing",
                next="deliver it, with no rows if there are none, and run the day again",
            )
        frames = [self._parse(TABLES[table], key) for key in keys]
        filled = [frame for frame in frames if len(frame)] or frames[:1]
        return filled[0] if len(filled) == 1 else pd.concat(_alike(filled), ignore_index=True)

    def _parse(self, table: Table, key: str) -> pd.DataFrame:
        frame = _parse(table, key, self.blobs.get(key), self._file_gb)
        check_columns(table, [str(name) for name in frame.columns])  # of each file: together, a gap looks like nulls
        return frame


def _alike(frames: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """The frames, with objects where their dtypes differ, so that putting them together converts no value."""
    first = frames[0].dtypes
    mixed = {name for frame in frames for name in frame.columns if frame.dtypes[name] != first.get(name)}
    return [frame.astype({name: object for name in frame.columns if name in mixed}) for frame in frames]


def export(source: MarketSource, days: Iterable[date], blobs: BlobStore, *, form: str = "parquet") -> None:
    """Write a source's days in the layout that `Files` reads; `form` is parquet or csv."""
    from ml.lake.parquet import encode

    writers: dict[str, Callable[[Any], bytes]] = {"parquet": encode, "csv": to_csv}
    if form not in writers:
        raise UsageError(f"files are written as parquet or csv, not {form!r}", next="choose one of the two")
    for day in days:
        for table, frame in source.fetch(day).items():
            blobs.put(f"{table}/day={day}.{form}", writers[form](frame))


def to_csv(frame: pd.DataFrame) -> bytes:
    """A frame as CSV in the form that `Files` reads."""
    import pandas as pd

    texts = {}
    for name in frame.columns:
        column = frame[name].reset_index(drop=True)
        if isinstance(column.dtype, pd.DatetimeTZDtype):
            column = pd.Series([time.isoformat() for time in column], dtype=object)
        elif column.dtype.kind == "b":
            column = column.map({True: "true", False: "false"})
        texts[name] = column
    return pd.DataFrame(texts).to_csv(index=False).encode()


def _parse(table: Table, key: str, data: bytes, limit_gb: float) -> pd.DataFrame:
    try:
        return _parse_csv(table, data) if key.endswith(".csv") else _parse_parquet(key, data, limit_gb)
    except BidwrightError:
        raise
    except Exception as error:
        raise DayRejected(
            f"the file {key} cannot be read: {error}",
            left="nothing of the day was landed",
            next="deliver the file again and run the day again",
        ) from error


def _parse_parquet(key: str, data: bytes, limit_gb: float) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ml.lake.parquet import to_pandas

    file = pq.ParquetFile(pa.BufferReader(data))
    # A few kilobytes can stand for billions of equal values: looked at before any of them is unpacked.
    said = file.metadata
    unpacked = sum(said.row_group(group).total_byte_size for group in range(said.num_row_groups))
    gigabytes = max(unpacked, said.num_rows * said.num_columns * _VALUE_BYTES) / _GB
    if gigabytes > limit_gb:
        raise DayRejected(
            f"the file {key} of {len(data):,} bytes would take {gigabytes:,.1f} GB or more: {said.num_rows:,} rows of "
            f"{said.num_columns} columns",
            left="nothing of it was read, and nothing of the day was landed",
            next=f"have it delivered again; if it is what it should be, raise delivery_gb (now {limit_gb:g})",
        )
    return to_pandas(file.read())


def _parse_csv(table: Table, data: bytes) -> pd.DataFrame:
    """Every value is text in a CSV file: read it by the contract's kinds; what cannot be read stays text."""
    import pandas as pd

    reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    header = next(reader, [])
    rows = list(reader)
    if any(len(row) != len(header) for row in rows):
        raise ValueError("a line has more or fewer fields than the header")
    kinds: Mapping[str, Kind] = {column.name: column.kind for column in table}
    columns: dict[str, Any] = {}
    for place, name in enumerate(header):
        read = _READ[kinds.get(name, "text")]
        columns[name] = pd.Series([_value(read, row[place]) for row in rows], dtype=object)
    return pd.DataFrame(columns)


def _value(read: Callable[[str], Any], text: str) -> Any:
    """The value that a text stands for; None for an empty one, the text itself when it stands for none."""
    if not text:
        return None
    try:
        return read(text)
    except (ValueError, KeyError):
        return text


def _instant(text: str) -> Any:
    return datetime.fromisoformat(text) if len(text) > len("YYYY-MM-DD") else date.fromisoformat(text)


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)  # float() also takes 1_000 and other alphabets' digits
    return float(text)


def _whole(text: str) -> int:
    return int(text) if _WHOLE.fullmatch(text) else int(_if_whole(_number(text)))


def _if_whole(number: float) -> float:
    if not number.is_integer():
        raise ValueError(number)
    return number


_READ: Mapping[Kind, Callable[[str], Any]] = {
    "text": str,
    "int": _whole,
    "float": _number,
    "bool": {"true": True, "false": False, "True": True, "False": False, "1": True, "0": False}.__getitem__,
    "time": _instant,
}
