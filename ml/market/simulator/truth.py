"""What is true of each day, frozen when the day is first resolved: the market's memory, and what no model may see.

    <home>/truth/<market>/<world>/<day>/   day.json       the bids that stood, by digest; the seed; the scenarios
                                           queries.parquet every search, its outcome and its truth
                                           bookings.parquet the bookings that spring from the day, with their fates
    <home>/truth/<market>/<world>/house.json               until when unresolved days were bid for by the house policy

A day's folder appears by one rename. Only the simulator and the benchmarks may import this module; a test holds that.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml.core.digests import canonical_json
from ml.core.errors import CorruptArtefact, StoreUnavailable
from ml.core.units import parse_day
from ml.market.simulator.bookings import BOOKING
from ml.market.simulator.day import OUTCOME, Resolved
from ml.market.simulator.demand import SEARCH
from ml.market.simulator.world import Rows

QUERIES, BOOKINGS, RECORD, HOUSE = "queries.parquet", "bookings.parquet", "day.json", "house.json"


@dataclass(frozen=True)
class DayTruth:
    """A resolved day: its searches and outcomes, the bookings that spring from it, and what it was resolved with."""

    resolved: Resolved
    bookings: Rows
    record: Mapping[str, Any]


class TruthStore:
    """The resolved days of one world of one market; a folder that is created by the first write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, day: date) -> bool:
        """Whether a day is resolved."""
        return (self.folder / day.isoformat() / RECORD).is_file()

    def day(self, day: date) -> DayTruth:
        """A resolved day; CorruptArtefact when its files cannot be read."""
        rows = self._rows(day, QUERIES, np.dtype(SEARCH.descr + OUTCOME.descr))
        searches, outcomes = np.empty(len(rows), dtype=SEARCH), np.empty(len(rows), dtype=OUTCOME)
        for part in (searches, outcomes):
            for name in part.dtype.names or ():
                part[name] = rows[name]
        record = json.loads((self.folder / day.isoformat() / RECORD).read_text())
        return DayTruth(Resolved(searches, outcomes, record.get("stopped", {})), self.bookings(day), record)

    def bookings(self, day: date) -> Rows:
        """The bookings that spring from a resolved day; CorruptArtefact when they cannot be read."""
        return self._rows(day, BOOKINGS, BOOKING)

    def freeze(self, day: date, truth: DayTruth) -> DayTruth:
        """Keep a day for good; where another process was first, its truth is what holds, and is returned."""
        queries = _encode(truth.resolved.searches, truth.resolved.outcomes)
        files = {
            QUERIES: queries,
            BOOKINGS: _encode(truth.bookings),
            RECORD: canonical_json(dict(truth.record)),
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            place = Path(tempfile.mkdtemp(prefix=".writing-", dir=self.folder))
            try:
                for name, data in files.items():
                    _write(place / name, data)
                place.rename(self.folder / day.isoformat())
            except BaseException:
                shutil.rmtree(place, ignore_errors=True)
                if not self.has(day):
                    raise
                return self.day(day)
        except OSError as error:
            raise StoreUnavailable(
                f"the truth of {day} could not be kept in {self.folder}: {error.strerror or error}",
                left="the day is not resolved",
                next="free some space, or check the folder, and run the day again",
            ) from error
        return truth

    def house_until(self) -> date | None:
        """The last day up to which days that were not resolved are taken as bid for by the house policy."""
        path = self.folder / HOUSE
        return parse_day(json.loads(path.read_text())["until"]) if path.exists() else None

    def set_house_until(self, day: date) -> None:
        """Settle that unresolved days up to this one were bid for by the house policy."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".writing-{os.getpid()}-{HOUSE}"
        _write(temporary, canonical_json({"until": day.isoformat()}))
        temporary.replace(self.folder / HOUSE)

    def _rows(self, day: date, name: str, kind: np.dtype[Any]) -> Rows:
        path = self.folder / day.isoformat() / name
        try:
            table = pq.read_table(io.BytesIO(path.read_bytes()))
            rows = np.empty(table.num_rows, dtype=kind)
            for column in kind.names or ():
                rows[column] = table[column].to_numpy()
        except Exception as error:
            raise CorruptArtefact(
                f"the truth of {day} cannot be read: {path.name}: {error}",
                left="nothing of the day was delivered",
                next=f"remove the folder {path.parent.name} of the truth, and the day is resolved again",
            ) from error
        return rows


def _encode(*parts: Rows) -> bytes:
    columns = {name: pa.array(np.ascontiguousarray(part[name])) for part in parts for name in part.dtype.names or ()}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="lz4", use_dictionary=False, write_statistics=False)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
