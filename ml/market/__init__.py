"""Market data: the canonical tables, the sources that deliver them, and the ingest that checks them.

To add a source: one file with a class that keeps to `ml.market.source.MarketSource`, one line in `SOURCES`. A data set
of shown lists that has no auctions of ours, no costs and no bookings is no market: it has a line in `IMPRESSIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ml.core.errors import UsageError
from ml.core.settings import Settings
from ml.market.source import MarketSource

if TYPE_CHECKING:
    from ml.market.trivago import TrivagoImpressions


def _simulator(settings: Settings) -> MarketSource:
    from ml.market.simulator.source import Simulator

    return Simulator.from_settings(settings)


def _hotel_bookings(settings: Settings) -> MarketSource:
    from ml.market.hotel_bookings import HotelBookings

    return HotelBookings.from_settings(settings)


def _files(settings: Settings) -> MarketSource:
    from ml.market.files import Files

    return Files.from_settings(settings)


SOURCES: Mapping[str, Callable[[Settings], MarketSource]] = {
    "simulator": _simulator,
    "hotel_bookings": _hotel_bookings,
    "files": _files,
}


def _trivago(folder: Path) -> TrivagoImpressions:
    from ml.market.trivago import TrivagoImpressions

    return TrivagoImpressions(folder)


IMPRESSIONS: Mapping[str, Callable[[Path], TrivagoImpressions]] = {"trivago": _trivago}
"""Lists of offers shown, to learn and measure clicks on; opened over their folder. They fill no canonical table."""


def open_source(settings: Settings) -> MarketSource:
    """The source that the settings name; UsageError, naming the known ones, if there is none of that name."""
    if settings.source in IMPRESSIONS:
        raise UsageError(
            f"{settings.source} holds lists of offers shown, without auctions of ours, costs or bookings; it is no market",
            next=f"measure clicks on it with python -m benchmarks.click, or choose one of: {', '.join(SOURCES)}",
        )
    if settings.source not in SOURCES:
        raise UsageError(
            f"there is no market source {settings.source!r}",
            next=f"choose one of: {', '.join(SOURCES)}",
        )
    return SOURCES[settings.source](settings)
