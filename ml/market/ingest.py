"""Land market days: fetch, check the contract, quarantine, write the partitions, log them.

Accepted and quarantined rows add up to the rows delivered. Files are written first and logged in one transaction
after them, so that a run that died in between is simply run again. The same delivery again writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime

import pandas as pd
import pyarrow as pa

from ml.core.digests import Digest, digest_bytes
from ml.core.errors import BidwrightError, DayRejected, SchemaBreak
from ml.lake.lake import Lake
from ml.lake.parquet import encode
from ml.ledger.database import Database
from ml.ledger.partitions import PartitionEntry, digests, land
from ml.market.check import Checked, check_days
from ml.market.conform import Conformed, conform_days
from ml.market.quarantine import QUARANTINE, quarantine_rows
from ml.market.reasons import REPEATED_ROW, reason_counts
from ml.market.source import MarketSource
from ml.market.tables import TABLES

MAX_QUARANTINED_SHARE = 0.05
MAX_QUARANTINED_ROWS = 20
"""A table with more quarantined rows than both of these stops the day; repeated rows do not count."""

_CHUNK_DAYS = 128
_CHUNK_ROWS = 200_000
_WRITERS = 4  # threads that mostly wait for the disk

Frames = Mapping[str, pd.DataFrame]
Delivery = Mapping[str, Conformed]


@dataclass(frozen=True)
class TableLanding:
    """What one table's delivery became; `replaced` is the digest it overwrote, if it did."""

    rows_in: int
    accepted: int
    quarantined: int
    digest: Digest
    replaced: Digest | None
    unchanged: bool
    reasons: Mapping[str, int]


@dataclass(frozen=True)
class Landing:
    """A landed market day."""

    day: date
    tables: Mapping[str, TableLanding]

    @property
    def rows_in(self) -> int:
        """Rows delivered, over all tables."""
        return sum(table.rows_in for table in self.tables.values())

    @property
    def accepted(self) -> int:
        """Rows accepted, over all tables."""
        return sum(table.accepted for table in self.tables.values())

    @property
    def quarantined(self) -> int:
        """Rows quarantined, over all tables."""
        return sum(table.quarantined for table in self.tables.values())

    @property
    def unchanged(self) -> bool:
        """Whether every table was landed before with the same rows."""
        return all(table.unchanged for table in self.tables.values())


def ingest_day(source: MarketSource, lake: Lake, db: Database, *, market: str, day: date, at: datetime) -> Landing:
    """Land one market day. `at` is the present instant, for the log.

    NoData when the source does not have the day; SchemaBreak when a column is missing, renamed or of another type
    (nothing landed); DayRejected when too many rows break the contract (only the quarantine written).
    """
    return ingest_range(source, lake, db, market=market, days=[day], at=at, progress=None)[0]


def ingest_range(
    source: MarketSource,
    lake: Lake,
    db: Database,
    *,
    market: str,
    days: Sequence[date],
    at: datetime,
    progress: Callable[[date], None] | None,
) -> list[Landing]:
    """Land many market days, checking several at once; `progress` is called after each day that landed.

    A day that cannot be landed stops the range with its error; the days before it are landed.
    """
    landings = []
    for frames, stop in _chunks(source, days):
        deliveries, broken = _conform(source.tables, frames)
        good, rejected = _split(_check(source.tables, deliveries))
        for landing in _land(lake, db, market, good, at):
            landings.append(landing)
            if progress is not None:
                progress(landing.day)
        if rejected is not None:
            day, tables = rejected
            lake.write(QUARANTINE, day, quarantine_rows(day, tables.values()))
            raise _rejection(day, tables)
        early = broken or stop
        if early is not None:
            raise early
    return landings


def _chunks(source: MarketSource, days: Sequence[date]) -> Iterator[tuple[dict[date, Frames], BidwrightError | None]]:
    """Deliveries in runs that fit in memory; with the last run, the error that ended the range early."""
    chunk: dict[date, Frames] = {}
    rows = 0
    for day in days:
        try:
            chunk[day] = _receive(source, day)
        except BidwrightError as error:
            yield chunk, error
            return
        rows += sum(len(frame) for frame in chunk[day].values())
        if len(chunk) >= _CHUNK_DAYS or rows >= _CHUNK_ROWS:
            yield chunk, None
            chunk, rows = {}, 0
    yield chunk, None


def _receive(source: MarketSource, day: date) -> Frames:
    frames = source.fetch(day)
    missing = [name for name in source.tables if name not in frames]
    if missing:
        raise SchemaBreak(
            f"the delivery of {day} lacks the table {missing[0]}",
            left="nothing of the day was landed",
            next=f"correct the source {source.name}",
        )
    return frames


def _conform(names: Sequence[str], days: Mapping[date, Frames]) -> tuple[dict[date, Delivery], SchemaBreak | None]:
    """The deliveries in canonical form, up to the first day whose schema is broken, and that error."""
    try:
        tables = {name: conform_days(TABLES[name], [frames[name] for frames in days.values()]) for name in names}
    except SchemaBreak as error:
        if len(days) == 1:
            return {}, _on_day(error, next(iter(days)))
    else:
        return {day: {name: tables[name][place] for name in names} for place, day in enumerate(days)}, None
    whole: dict[date, Delivery] = {}
    for day, frames in days.items():
        one, broken = _conform(names, {day: frames})
        if broken is not None:
            return whole, broken
        whole |= one
    return whole, None


def _on_day(error: SchemaBreak, day: date) -> SchemaBreak:
    return SchemaBreak(f"{day}: {error.what}", left=error.left, next=error.next)


def _check(names: Sequence[str], deliveries: Mapping[date, Delivery]) -> dict[date, dict[str, Checked]]:
    """Judge every table, hotels first, because the others refer to them."""
    checked: dict[date, dict[str, Checked]] = {day: {} for day in deliveries}
    hotels: dict[date, frozenset[str]] = {}
    for name in sorted(names, key=lambda name: name != "hotels"):
        tables = check_days(TABLES[name], {day: tables[name] for day, tables in deliveries.items()}, hotels)
        if name == "hotels":
            hotels = {day: frozenset(table.accepted["hotel_id"]) for day, table in tables.items()}
        for day, table in tables.items():
            checked[day][name] = table
    return checked


def _split(
    checked: Mapping[date, dict[str, Checked]],
) -> tuple[dict[date, dict[str, Checked]], tuple[date, dict[str, Checked]] | None]:
    """The days up to the first one that must be rejected, and that one."""
    good: dict[date, dict[str, Checked]] = {}
    for day, tables in checked.items():
        if any(_too_bad(table) for table in tables.values()):
            return good, (day, tables)
        good[day] = tables
    return good, None


def _faulty(table: Checked) -> dict[str, int]:
    """The reasons that count towards the limit."""
    return {reason: count for reason, count in reason_counts(table.reasons).items() if reason != REPEATED_ROW}


def _too_bad(table: Checked) -> bool:
    count = sum(_faulty(table).values())
    return count > MAX_QUARANTINED_ROWS and count > MAX_QUARANTINED_SHARE * len(table.reasons)


def _rejection(day: date, tables: Mapping[str, Checked]) -> DayRejected:
    name, table = next((name, table) for name, table in tables.items() if _too_bad(table))
    reasons = _faulty(table)
    reason, most = next(iter(reasons.items()))
    return DayRejected(
        f"{day} was rejected: {sum(reasons.values())} of {len(table.reasons)} rows of {name} broke the contract, "
        f"most often {reason} ({most} rows)",
        left="nothing of the day was landed; the rows are in the quarantine",
        next="have the delivery corrected and run the day again",
    )


def _land(
    lake: Lake, db: Database, market: str, days: Mapping[date, dict[str, Checked]], at: datetime
) -> list[Landing]:
    """Write the partitions of several days, then log them all in one transaction."""
    if not days:
        return []
    with db.reading() as session:
        before = {day: digests(session, market, day) for day in days}
    landings = _write_all(lake, days, before)
    with db.session() as session:
        for landing in landings:
            entries = [_entry(name, table) for name, table in landing.tables.items()]
            land(session, market, landing.day, entries, at)
    return landings


def _write_all(
    lake: Lake, days: Mapping[date, dict[str, Checked]], before: Mapping[date, Mapping[str, Digest]]
) -> list[Landing]:
    """Write every partition, the slow syncing side by side; all files lie there on return."""
    work = [(day, name) for day, tables in days.items() for name in tables]
    with ThreadPoolExecutor(_WRITERS) as pool:
        written = pool.map(lambda item: _write(lake, item[0], days[item[0]][item[1]], before[item[0]]), work)
        tables = dict(zip(work, written, strict=True))
        list(pool.map(lambda item: _write_quarantine(lake, item[0], item[1]), days.items()))
    return [Landing(day, {name: tables[day, name] for name in names}) for day, names in days.items()]


def _write(lake: Lake, day: date, table: Checked, before: Mapping[str, Digest]) -> TableLanding:
    name = table.table.name
    data = encode(pa.Table.from_pandas(table.accepted, schema=table.table.arrow, preserve_index=False))
    digest = digest_bytes(data)
    unchanged = digest == before.get(name) == lake.digest(name, day)
    if not unchanged:
        lake.write_bytes(name, day, data)
    return TableLanding(
        rows_in=len(table.reasons),
        accepted=len(table.accepted),
        quarantined=table.quarantined,
        digest=digest,
        replaced=before[name] if before.get(name, digest) != digest else None,
        unchanged=unchanged,
        reasons=reason_counts(table.reasons),
    )


def _write_quarantine(lake: Lake, day: date, tables: Mapping[str, Checked]) -> None:
    """The quarantined rows of the day; no partition when there are none."""
    rows = quarantine_rows(day, tables.values())
    if rows.empty:
        lake.delete(QUARANTINE, day)
        return
    data = encode(rows)
    if lake.digest(QUARANTINE, day) != digest_bytes(data):
        lake.write_bytes(QUARANTINE, day, data)


def _entry(name: str, table: TableLanding) -> PartitionEntry:
    return PartitionEntry(name, table.digest, table.rows_in, table.accepted, table.quarantined, table.reasons)
