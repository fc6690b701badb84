"""Small markets: bookings, events and traffic written straight into a lake, by the day they became known."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.core.settings import Settings
from ml.core.units import day_start
from ml.lake.blobs import open_blobs
from ml.lake.lake import Lake
from ml.ledger.database import Database
from ml.market.tables import TABLES

AT = datetime(2030, 1, 1, tzinfo=UTC)
MARKET = "m"
Rows = Sequence[Mapping[str, Any]]
Frames = dict[str, pd.DataFrame]


def frame(table: str, rows: Rows) -> pd.DataFrame:
    """Rows of a canonical table; columns that are not given have a harmless value."""
    defaults = {"text": "x", "int": 1, "float": 1.0, "bool": False, "time": day_start(date(2024, 1, 1))}
    columns = {
        column.name: pd.Series(
            [row.get(column.name, None if column.nullable else defaults[column.kind]) for row in rows],
            dtype=column.dtype,
        )
        for column in TABLES[table]
    }
    return pd.DataFrame(columns)


def write(lake: Lake, frames: Mapping[str, pd.DataFrame]) -> None:
    """Store each row in the partition of the day on which it became known."""
    for table, rows in frames.items():
        for day, part in rows.groupby(rows["known_at"].dt.date):
            lake.write(table, day, part.reset_index(drop=True))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(open_blobs(str(tmp_path / "lake"), cache=tmp_path / "cache"), MARKET)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", market=MARKET, lake_url=str(tmp_path / "lake"))


@pytest.fixture
def db(settings: Settings) -> Database:
    settings.home.mkdir(parents=True)
    database = Database.open(settings.database)
    database.migrate()
    return database


@pytest.fixture(scope="session")
def landed_folder(market: Frames, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a lake that holds the small market; not to be written to."""
    folder = tmp_path_factory.mktemp("landed") / "lake"
    write(Lake(open_blobs(str(folder), cache=folder), MARKET), market)
    return folder


@pytest.fixture(scope="session")
def copy_lake() -> Callable[[Path, Path], Lake]:
    """Open a copy of a lake's folder. Files are linked: the lake replaces a partition, it never writes into one."""

    def copy(folder: Path, home: Path) -> Lake:
        shutil.copytree(folder, home / "lake", copy_function=os.link)
        return Lake(open_blobs(str(home / "lake"), cache=home / "cache"), MARKET)

    return copy


@pytest.fixture
def full(landed_folder: Path, tmp_path: Path, copy_lake: Callable[[Path, Path], Lake]) -> Lake:
    """A lake that holds the small market, and no feature yet."""
    return copy_lake(landed_folder, tmp_path)


@pytest.fixture(scope="session")
def make_frame() -> Callable[[str, Rows], pd.DataFrame]:
    return frame


@pytest.fixture(scope="session")
def store_frames() -> Callable[[Lake, Mapping[str, pd.DataFrame]], None]:
    return write


@pytest.fixture(scope="session")
def market() -> Frames:
    """A small market."""
    return awkward_market()


def awkward_market() -> Frames:
    """Ninety days of a small market with everything awkward in it: keys that are null, bookings learned days after
    they were made, outcomes learned before their booking, bookings and outcomes that are corrected later, no-shows,
    same-day arrivals, ties. Seeded."""
    rng = np.random.default_rng(20240101)
    bookings, events, shown, clicks = [], [], [], []
    first = day_start(date(2024, 1, 1))
    for number in range(700):
        booked = first + timedelta(days=int(rng.integers(0, 90)), hours=int(rng.integers(0, 24)))
        lead = int(rng.choice([0, 1, 3, 10, 20, 45, 120]))
        booking = {
            "booking_id": f"b{number:04d}",
            "click_id": f"c{number:04d}" if number % 3 == 0 else None,
            "hotel_id": f"h{rng.integers(0, 3)}",
            "agent_id": None if rng.random() < 0.2 else f"a{rng.integers(0, 5)}",
            "company_id": None if rng.random() < 0.8 else f"k{rng.integers(0, 3)}",
            "segment": str(rng.choice(["online", "groups", "direct"])),
            "booked_at": booked,
            "known_at": booked + timedelta(days=int(rng.choice([0, 0, 0, 0, 6]))),
            "check_in": day_start((booked + timedelta(days=lead)).date()),
            "lead_days": lead,
            "los_nights": int(rng.integers(0, 9)),
            "value_micros": int(rng.integers(50, 900)) * 1_000_000,
        }
        bookings.append(booking)
        if rng.random() < 0.1:  # a correction, learned later
            bookings.append(booking | {"known_at": booking["known_at"] + timedelta(days=9), "value_micros": 7})
        cancelled = rng.random() < 0.4
        ended = booked + timedelta(days=int(rng.integers(0, lead + 2)) if cancelled else lead + 2)
        event = {
            "event_id": f"e{number:04d}",
            "booking_id": booking["booking_id"],
            "hotel_id": booking["hotel_id"],
            "kind": "cancelled" if cancelled else "stayed",
            "event_at": ended,
            "known_at": ended,
            "amount_micros": 0 if cancelled else booking["value_micros"],
        }
        events.append(event)
        if rng.random() < 0.1:  # the outcome itself is corrected
            other = {"kind": "stayed", "amount_micros": 5} if cancelled else {"kind": "cancelled", "amount_micros": 0}
            events.append(event | other | {"event_id": f"f{number:04d}", "known_at": ended + timedelta(days=4)})
        if rng.random() < 0.2:
            settled = {"kind": "reconciled", "amount_micros": 11, "known_at": ended + timedelta(days=12)}
            events.append(event | settled | {"event_id": f"r{number:04d}"})
    for number in range(1500):
        at = first + timedelta(days=int(rng.integers(0, 90)), seconds=int(rng.integers(0, 86_400)))
        search = {
            "opportunity_id": f"o{number:04d}",
            "ts": at,
            "known_at": at,
            "partner": "google",
            "hotel_id": f"h{rng.integers(0, 3)}",
            "device": "mobile",
            "lead_days": int(rng.integers(0, 300)),
            "los_nights": int(rng.integers(1, 10)),
            "shown": bool(rng.random() < 0.8),
        }
        shown.append(search)
        if search["shown"] and number < 700:
            later = at + timedelta(days=int(rng.choice([0, 0, 0, 2])))
            clicks.append(search | {"click_id": f"c{number:04d}", "known_at": later, "cpc_micros": 1000 + number})
    return {
        "bookings": frame("bookings", bookings),
        "booking_events": frame("booking_events", events),
        "opportunities": frame("opportunities", shown),
        "clicks": frame("clicks", clicks),
    }
