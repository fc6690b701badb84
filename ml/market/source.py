"""What a market source is: the one thing to implement for a market of your own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd


class MarketSource(Protocol):
    """Delivers, for a market day, what became known on that day, in the form of the canonical tables.

    A source does not judge its rows: ingest checks them against the contract and quarantines the bad ones.
    Fetching a day again gives the same rows, unless the market itself restated them.
    """

    @property
    def name(self) -> str:
        """The name under which the source is listed."""
        ...

    @property
    def tables(self) -> tuple[str, ...]:
        """The canonical tables that each day's delivery holds."""
        ...

    @property
    def partners(self) -> tuple[str, ...]:
        """Where bids are published; empty for a market without clicks."""
        ...

    @property
    def has_opportunities(self) -> bool:
        """Whether auctions and clicks are delivered, not only bookings."""
        ...

    def first_day(self) -> date:
        """The first market day that can be fetched; NoData when there is none."""
        ...

    def last_day(self) -> date | None:
        """The last market day that can be fetched now; None when the source has no end."""
        ...

    def fetch(self, day: date) -> Mapping[str, pd.DataFrame]:
        """What became known on `day`, a frame for each of `tables`; not yet checked.

        NoData when the day is not there, DayRejected when a file of it cannot be read.
        """
        ...
