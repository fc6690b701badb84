"""A small simulated market, an empty lake and an empty ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

from ml.core.errors import NoData
from ml.core.settings import Settings
from ml.lake.blobs import open_blobs
from ml.lake.lake import Lake
from ml.ledger.database import Database
from ml.market.ingest import Landing, ingest_day
from ml.market.simulator.source import FIRST_DAY, Simulator
from ml.market.source import MarketSource

AT = datetime(2030, 1, 1, tzinfo=UTC)

Frames = dict[str, pd.DataFrame]


@dataclass
class Canned:
    """A source that delivers what it was given."""

    days: dict[date, Frames] = field(default_factory=dict)
    name: str = "canned"
    partners: tuple[str, ...] = ("google",)
    has_opportunities: bool = True

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(next(iter(self.days.values())))

    def first_day(self) -> date:
        return min(self.days)

    def last_day(self) -> date:
        return max(self.days)

    def fetch(self, day: date) -> Mapping[str, pd.DataFrame]:
        if day not in self.days:
            raise NoData(f"no delivery for {day}")
        return {name: frame.copy() for name, frame in self.days[day].items()}


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Simulator:
    home = tmp_path_factory.mktemp("simulator")
    return Simulator.from_settings(Settings(home=home, simulator_opportunities_per_day=2000, simulator_hotels=60))


@pytest.fixture(scope="session")
def _week(simulator: Simulator) -> dict[date, Frames]:
    days = [date.fromordinal(FIRST_DAY.toordinal() + n) for n in range(3)]
    return {day: dict(simulator.fetch(day)) for day in days}


@pytest.fixture
def canned(_week: dict[date, Frames]) -> Canned:
    """Three days of the simulator, to be damaged at will."""
    return Canned({day: {name: frame.copy() for name, frame in frames.items()} for day, frames in _week.items()})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(open_blobs(str(tmp_path / "lake"), cache=tmp_path / "cache"), "m")


@pytest.fixture
def db(tmp_path: Path) -> Database:
    database = Database.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    database.migrate()
    return database


Ingest = Callable[..., Landing]


@pytest.fixture
def ingest(lake: Lake, db: Database) -> Ingest:
    """Land one day of a source in the lake and the ledger of the test."""

    def run(source: MarketSource, day: date = FIRST_DAY) -> Landing:
        return ingest_day(source, lake, db, market="m", day=day, at=AT)

    return run
