"""What every market source keeps to. A source listed in `SOURCES` is tested here without another line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest

from ml.core.errors import NoData, UsageError
from ml.core.settings import Settings
from ml.core.units import day_start, known_by
from ml.lake.blobs import open_blobs
from ml.lake.parquet import encode
from ml.market import SOURCES, open_source
from ml.market.check import check_days
from ml.market.conform import conform
from ml.market.files import export
from ml.market.source import MarketSource
from ml.market.tables import TABLES

REAL = Path(__file__).parents[3] / "shared" / "data" / "hotel_booking_demand"
DAYS = 5
SMALL = {"simulator_opportunities_per_day": 1500}


def _hotel_bookings(_: Path) -> tuple[Settings, date]:
    if not (REAL / "hotel_bookings.parquet").exists():
        pytest.skip(f"the hotel booking demand data is not in {REAL}")
    return Settings(source="hotel_bookings", data=str(REAL)), date(2016, 9, 28)


def _files(folder: Path) -> tuple[Settings, date]:
    origin = SOURCES["simulator"](Settings(home=folder / "home", **SMALL))  # type: ignore[arg-type]
    first = origin.first_day()
    export(origin, [first + timedelta(days=n) for n in range(DAYS)], open_blobs(str(folder), cache=folder))
    return Settings(source="files", data=str(folder)), first


def _simulator(folder: Path) -> tuple[Settings, date]:
    settings = Settings(home=folder, **SMALL)  # type: ignore[arg-type]
    return settings, SOURCES["simulator"](settings).first_day()


PREPARE: dict[str, Callable[[Path], tuple[Settings, date]]] = {
    "simulator": _simulator,
    "hotel_bookings": _hotel_bookings,
    "files": _files,
}
"""How to set each source up for a test, and a day from which it has five."""

Delivery = dict[str, pd.DataFrame]


class Prepared:
    """A source, freshly opened as often as asked, and five days of it."""

    def __init__(self, settings: Settings, first: date) -> None:
        self.settings = settings
        self.days = [first + timedelta(days=n) for n in range(DAYS)]
        self.source = self.open()
        self.deliveries: dict[date, Delivery] = {day: dict(self.source.fetch(day)) for day in self.days}

    def open(self) -> MarketSource:
        return open_source(self.settings)


@pytest.fixture(scope="module", params=sorted(SOURCES))
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    settings, first = PREPARE[request.param](tmp_path_factory.mktemp("data"))
    return Prepared(settings, first)


def test_every_listed_source_is_tested_here() -> None:
    assert set(PREPARE) == set(SOURCES)


def test_it_describes_itself(prepared: Prepared) -> None:
    source = prepared.source
    assert source.name == prepared.settings.source
    assert set(source.tables) <= set(TABLES) - {"bids"}
    assert "hotels" in source.tables
    assert source.has_opportunities == ("opportunities" in source.tables)
    assert bool(source.partners) == source.has_opportunities
    last = source.last_day()
    assert source.first_day() <= prepared.days[0]
    assert last is None or last >= prepared.days[-1]


def test_each_delivery_holds_exactly_its_tables_with_every_column(prepared: Prepared) -> None:
    for delivery in prepared.deliveries.values():
        assert set(delivery) == set(prepared.source.tables)
        for name, frame in delivery.items():
            assert set(TABLES[name].names) <= set(frame.columns)


@pytest.mark.ml_test_score("data1")
def test_each_days_delivery_passes_its_contract(prepared: Prepared) -> None:
    for day, delivery in prepared.deliveries.items():
        hotels = {day: frozenset(delivery["hotels"]["hotel_id"])}
        for name, frame in delivery.items():
            assert len(frame) > 0
            checked = check_days(TABLES[name], {day: conform(TABLES[name], frame)}, hotels)[day]
            assert checked.quarantined == 0
            TABLES[name].schema.validate(checked.accepted)


def test_ids_are_unique_over_all_days(prepared: Prepared) -> None:
    for name in prepared.source.tables:
        if name != "hotels":  # the whole list comes every day
            rows = pd.concat([delivery[name] for delivery in prepared.deliveries.values()])
            assert not rows.duplicated(list(TABLES[name].key)).any()


def test_every_row_became_known_on_its_day_and_not_before_it_happened(prepared: Prepared) -> None:
    for day, delivery in prepared.deliveries.items():
        for name, frame in delivery.items():
            assert (frame["known_at"] >= day_start(day)).all()
            assert (frame["known_at"] < known_by(day)).all()
            assert (frame[TABLES[name].event_time] <= frame["known_at"]).all()


def test_fetching_again_gives_identical_bytes_in_whatever_order(prepared: Prepared) -> None:
    """From a source freshly opened, backwards, and each day twice."""
    again = prepared.open()
    for day in reversed(prepared.days):
        for _ in range(2):
            delivery = again.fetch(day)
            for name, frame in prepared.deliveries[day].items():
                assert encode(delivery[name]) == encode(frame)


def test_what_it_delivers_is_the_callers_to_change(prepared: Prepared) -> None:
    day = prepared.days[0]
    spoiled = prepared.open()
    delivery = spoiled.fetch(day)
    for frame in delivery.values():
        frame.iloc[:, :] = frame.iloc[::-1, :].to_numpy()
    for name, frame in prepared.deliveries[day].items():
        assert encode(spoiled.fetch(day)[name]) == encode(frame)


def test_a_day_it_does_not_have_is_no_data_in_one_clear_sentence(prepared: Prepared) -> None:
    before = prepared.source.first_day() - timedelta(days=1)
    with pytest.raises(NoData, match=str(before)):
        prepared.source.fetch(before)


def test_an_unknown_source_is_a_usage_error_that_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"there is no market source 'nowhere'.*simulator, hotel_bookings, files"):
        open_source(Settings(source="nowhere"))
