"""Options that commands share, and the platform that they open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ml.platform import Platform

Day = Annotated[str, typer.Option("--day", help="market day, YYYY-MM-DD", metavar="DAY")]
Json = Annotated[bool, typer.Option("--json", help="print one line of JSON")]
Source = Annotated[str | None, typer.Option("--source", help="market source: simulator, hotel_bookings or files")]
Data = Annotated[str | None, typer.Option("--data", help="folder (or s3://bucket/prefix) that the source reads")]


def open_platform(source: str | None = None, data: str | None = None) -> Platform:
    """The platform of the environment and these options, with its working folder and its tables.

    A file is brought to this code's revision; a database server is shared with others, whom only `bidwright migrate` may
    surprise. Raises where this process would do harm, as `ml.preflight.refuse_harm`.
    """
    from ml.platform import Platform
    from ml.preflight import refuse_harm

    given = {"source": source, "data": str(Path(data).absolute()) if data and "://" not in data else data}
    platform = Platform.from_environment(**{name: value for name, value in given.items() if value is not None})
    platform.settings.home.mkdir(parents=True, exist_ok=True)
    if platform.db.kind == "sqlite":
        platform.db.migrate()
    refuse_harm(platform)
    return platform
