"""The stories that `make demo` can tell: which days are history, which are lived through, with what settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from ml.core.errors import NoData, UsageError

DEMO_DAYS = 7


@dataclass(frozen=True)
class Scenario:
    """One story: a source, its history in bulk, and the market days that the scheduler runs one by one.

    Attributes:
        source: the market source.
        data: the folder that it reads; empty where it reads none.
        history_first: first day of the history; None for the first one that the source has.
        history_last: last day of the history.
        settings: what differs from the platform's defaults.
        length: number of market days that are lived through.
    """

    source: str
    data: str
    history_first: date | None
    history_last: date
    settings: Mapping[str, str | int]
    length: int = DEMO_DAYS

    @property
    def days(self) -> list[date]:
        """The market days that are lived through, in order."""
        return [self.history_last + timedelta(days=n) for n in range(1, self.length + 1)]

    def toml(self) -> str:
        """The story as the text of a settings file."""
        values: dict[str, str | int] = {"source": self.source}
        if self.data:
            values["data"] = self.data
        # A JSON string or number is a TOML string or number.
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in {**values, **self.settings}.items())


def choose(source: str, data: str, *, days: int = DEMO_DAYS) -> Scenario:
    """The story of a source, `days` market days long.

    Raises:
        UsageError: there is no story for this source, or it needs a folder and none was given.
        NoData: the folder is not there.
    """
    if days < 1:
        raise UsageError(f"a demo of {days} days shows nothing", next="use DAYS=1 or more")
    if source == "simulator":
        return Scenario(
            source,
            "",
            history_first=date(2026, 1, 1),
            history_last=date(2026, 3, 1),
            # On the fifth day the rivals start a price war, so that there is drift to be seen.
            settings=_DEMO | {"simulator_shock_day": "2026-03-06"},
            length=days,
        )
    if source == "hotel_bookings":
        return Scenario(
            source,
            _folder(source, data),
            history_first=None,
            history_last=date(2016, 9, 30),
            settings=_DEMO,
            length=days,
        )
    raise UsageError(
        f"the demo has no story for the source {source!r}",
        next="use SOURCE=simulator or SOURCE=hotel_bookings DATA=...",
    )


_DEMO: dict[str, str | int] = {"schedule": "none", "retrain_every_days": 4}


def _folder(source: str, data: str) -> str:
    if not data:
        raise UsageError(f"the source {source} reads a folder, and none was given", next="add DATA=<folder>")
    folder = Path(data).absolute()
    if not folder.is_dir():
        raise NoData(f"the data folder {folder} is not there", left="nothing was started", next="correct DATA=<folder>")
    return str(folder)
