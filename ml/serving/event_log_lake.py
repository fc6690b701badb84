"""From the segments of the event log to the lake table `bid_decisions`, and back to one decision by its trace id.

A segment becomes one Parquet file in the partition of each day that it has events of, named by the SHA-256 of the segment:
`<market>/bid_decisions/day=YYYY-MM-DD/<segment>.parquet`. So the same segment again writes the same files and doubles nothing,
late events come into the partition of their own day, and no day has to fit into memory. The segment is then moved to
`collected/` and pruned after some days. What is damaged is copied to `damaged/` and named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ml.core.digests import digest_bytes
from ml.core.errors import CorruptArtefact
from ml.core.units import parse_day
from ml.lake.local import write_atomically
from ml.lake.parquet import encode
from ml.serving.event_log import OPEN, SEALED
from ml.serving.event_log_frames import Event, Scan, decode_event, scan
from ml.serving.event_log_recover import Recovered, recover

if TYPE_CHECKING:
    from ml.lake.lake import Lake

TABLE = "bid_decisions"
COLLECTED, DAMAGED = "collected", "damaged"

SCHEMA = pa.schema(
    [
        pa.field("trace_id", pa.string(), nullable=False),
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("body", pa.binary(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
        pa.field("plan", pa.string(), nullable=False),
        pa.field("generation", pa.int64(), nullable=False),
        pa.field("arm", pa.int64(), nullable=False),
        pa.field("arm_name", pa.string(), nullable=False),
        pa.field("share", pa.float64(), nullable=False),
        pa.field("step", pa.int64(), nullable=False),
        pa.field("pacing", pa.float64(), nullable=False),
        pa.field("shadow", pa.bool_(), nullable=False),
        pa.field("bid_micros", pa.list_(pa.int64()), nullable=False),
        pa.field("score", pa.list_(pa.float64()), nullable=False),
        pa.field("reasons", pa.list_(pa.int64()), nullable=False),
        pa.field("missing", pa.int64(), nullable=False),
        pa.field("features", pa.binary(), nullable=False),
        pa.field("segment", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
    ]
)
"""A row is a decision about one request, with a list entry per candidate; `share` is the propensity of its arm, and `segment` and
`offset` say where it stood in the event log."""

_EPOCH, _DAY_US = date(1970, 1, 1).toordinal(), 86_400_000_000
_EVENT_FIELDS = tuple(field for field in Event.__struct_fields__ if field != "at_us")


@dataclass
class Collected:
    """What one collection did.

    Attributes:
        segments: that came into the lake.
        events: in them.
        days: partitions that they came into, and how many each.
        damaged: one sentence for each piece of a segment that could not be read.
        lost_damaged: records that a footer counts and that are not there.
        recovered: what dead workers had left.
        pruned: segments removed, collected long ago.
    """

    segments: int = 0
    events: int = 0
    days: dict[str, int] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    lost_damaged: int = 0
    recovered: Recovered = field(default_factory=Recovered)
    pruned: int = 0

    @property
    def lost(self) -> int:
        """Decisions that were answered and are not in the log, for whatever reason."""
        again = self.recovered
        return self.lost_damaged + again.lost_unacknowledged + again.lost_counted + again.lost_damaged

    def as_json(self) -> dict[str, Any]:
        """For people and programs."""
        return asdict(self) | {"days": dict(sorted(self.days.items())), "lost": self.lost}


def collect(folder: Path, lake: Lake, *, keep_days: int, at: datetime, memory: Path | None = None) -> Collected | None:
    """Bring every sealed segment into the lake, those of dead workers included; None where there is no event log.

    A segment is moved only once all of its files are in the lake, so that a crash leaves it to the next collection.

    Args:
        folder: of `ml.serving.event_log.events_folder`.
        lake: of the same market.
        keep_days: segments are kept for so many days after they were collected.
        at: the present instant.
        memory: of `ml.serving.event_log.events_memory`.

    Raises:
        StoreUnavailable: the folder or the lake cannot be read or written.
    """
    if not folder.is_dir():
        return None
    found = Collected(recovered=recover(folder, memory))
    for path in sorted(folder.glob(f"*{SEALED}")):
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # another collection has just moved it
            continue
        _bring(folder, path, data, lake, found)
        _move(path, folder / COLLECTED / at.date().isoformat())
    found.pruned = _prune(folder / COLLECTED, before=at.date() - timedelta(days=keep_days))
    return found


def decision(lake: Lake, folder: Path, trace_id: str) -> Event | None:
    """The decision of a trace id, from the segments that are not yet collected, else from the lake, the last day first."""
    for path in sorted((*folder.glob(f"*{OPEN}"), *folder.glob(f"*{SEALED}")) if folder.is_dir() else ()):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        if trace_id.encode() not in data:
            continue
        for event in _events(scan(data)):
            if event.trace_id == trace_id:
                return event
    for key in sorted(_keys(lake), reverse=True):
        found = _in_part(lake.blobs.local_path(key), trace_id)
        if found is not None:
            return found
    return None


def days(lake: Lake) -> list[date]:
    """The days that decisions were collected of, ascending."""
    start = f"{lake.market}/{TABLE}/day="
    return sorted({parse_day(key[len(start) : len(start) + len("YYYY-MM-DD")]) for key in _keys(lake)})


def decisions(lake: Lake, day: date, *, columns: list[str] | None = None) -> pa.Table:
    """The decisions of a day, in the order of their instants; none where none was collected."""
    paths = [lake.blobs.local_path(key) for key in _keys(lake, f"{day.isoformat()}/")]
    tables = [pq.ParquetFile(path).read(columns=columns and [*{*columns, "at"}]) for path in paths]
    table = pa.concat_tables(tables).sort_by("at") if tables else SCHEMA.empty_table()
    return table.select(columns) if columns else table


def arm_decisions(lake: Lake, day: date, *, generation: int, arms: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The decisions of some arms under a champion that were told to somebody, a file at a time; rows as of `SCHEMA`."""
    columns = ["at", "body", "digest", "plan", "arm_name", "pacing", "features"]
    wanted = (
        pc.is_in(pc.field("arm_name"), pa.array(arms)) & (pc.field("generation") == generation) & ~pc.field("shadow")
    )
    for key in _keys(lake, f"{day.isoformat()}/"):
        yield from pq.read_table(lake.blobs.local_path(key), columns=columns, filters=wanted).to_pylist()


def _bring(folder: Path, path: Path, data: bytes, lake: Lake, found: Collected) -> None:
    """One segment into the lake."""
    one, digest = scan(data), digest_bytes(data)
    by_day: dict[date, list[tuple[int, Event]]] = {}
    for offset, payload in one.records:
        try:
            event = decode_event(payload)
        except CorruptArtefact as error:
            _set_aside(folder, path, offset, bytes(payload), str(error), found)
            continue
        by_day.setdefault(_day(event), []).append((offset, event))
    for gap in one.gaps:
        _set_aside(folder, path, gap.offset, data[gap.offset : gap.offset + gap.length], gap.reason, found)
    if one.footer is None:
        found.damaged.append(f"{path.name}: its end is missing")
    elif one.missing:
        found.lost_damaged += one.missing
        found.damaged.append(f"{path.name}: {one.missing} of {one.footer.records} records are missing")
    elif one.footer.sha256 != one.sha256 and not one.gaps:
        found.damaged.append(
            f"{path.name}: its bytes have another digest than its end says, though every record is whole"
        )
    for day, events in by_day.items():
        lake.blobs.put(f"{lake.market}/{TABLE}/day={day.isoformat()}/{digest}.parquet", encode(_rows(events, digest)))
    found.segments += 1
    for day, events in by_day.items():
        found.events += len(events)
        found.days[day.isoformat()] = found.days.get(day.isoformat(), 0) + len(events)


def _rows(events: list[tuple[int, Event]], segment: str) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [getattr(event, name) for _, event in events] for name in _EVENT_FIELDS}
    columns["at"] = [event.at_us for _, event in events]
    columns["segment"], columns["offset"] = [segment] * len(events), [offset for offset, _ in events]
    return pa.Table.from_arrays([_array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_list(kind):  # many times faster than what Arrow does with lists of Python numbers
        ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
        flat = np.array([*chain.from_iterable(values)], dtype=kind.value_type.to_pandas_dtype())
        return pa.ListArray.from_arrays(pa.array(ends), pa.array(flat), type=kind)
    if pa.types.is_timestamp(kind):
        return pa.array(values, type=pa.int64()).cast(kind)
    return pa.array(values, type=kind)


def _set_aside(folder: Path, path: Path, offset: int, data: bytes, reason: str, found: Collected) -> None:
    """Keep bytes that could not be read, and say so; the name makes a repeat write the same file."""
    aside = folder / DAMAGED / f"{path.stem}-{offset}.bytes"
    aside.parent.mkdir(exist_ok=True)
    write_atomically(aside, data)
    found.damaged.append(f"{path.name}: {len(data)} bytes at {offset}: {reason}")


def _move(path: Path, to: Path) -> None:
    to.mkdir(parents=True, exist_ok=True)
    try:
        path.rename(to / path.name)
    except FileNotFoundError:
        return  # another collection has just moved it


def _prune(folder: Path, *, before: date) -> int:
    """Remove the segments that were collected on an earlier day; how many."""
    removed = 0
    for day in sorted(folder.iterdir()) if folder.is_dir() else ():
        if parse_day(day.name) >= before:
            continue
        for path in day.iterdir():
            path.unlink(missing_ok=True)
            removed += 1
        with suppress(OSError):  # another collection is at it too
            day.rmdir()
    return removed


def _events(one: Scan) -> Iterator[Event]:
    for _, payload in one.records:
        try:
            yield decode_event(payload)
        except CorruptArtefact:
            continue  # a collection names it


def _keys(lake: Lake, day: str = "") -> list[str]:
    return lake.blobs.list(f"{lake.market}/{TABLE}/day={day}")


def _in_part(path: Path, trace_id: str) -> Event | None:
    """The decision, if it is in this file; the row groups whose range of trace ids excludes it are not read."""
    file = pq.ParquetFile(path)
    for group in range(file.num_row_groups):
        bounds = file.metadata.row_group(group).column(0).statistics
        if bounds is not None and bounds.has_min_max and not bounds.min <= trace_id <= bounds.max:
            continue
        ids = file.read_row_group(group, columns=["trace_id"]).column(0)
        place = pc.index(ids, trace_id).as_py()
        if place >= 0:
            row = file.read_row_group(group).slice(place, 1).to_pylist()[0]
            at_us = (row["at"] - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
            return Event(at_us=at_us, **{name: row[name] for name in _EVENT_FIELDS})
    return None


def _day(event: Event) -> date:
    return date.fromordinal(_EPOCH + event.at_us // _DAY_US)
