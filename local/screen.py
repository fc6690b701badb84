"""What `make demo` shows: progress bars, a line a day, the closing table, the addresses."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from local import airflow
from local.ports import LOOPBACK
from ml.core.units import from_micros

if TYPE_CHECKING:
    from local.scenario import Scenario
    from local.stack import Stack

console = Console(highlight=False, soft_wrap=True)

_TABLE_WIDTH = 120
"""Below this the closing table would break its digests; a narrower terminal scrolls or wraps it instead."""

_HEADINGS = {
    "day": "Market day",
    "landed": "Landed",
    "features": "Features",
    "drift": "Drift",
    "retrained": "Retrained",
    "gates": "Gates",
    "champion": "Champion",
    "published": "Bids",
    "mails": "Mails",
    "spend_micros": "Spend",
    "bookings": "Booked",
    "profit_micros": "Profit",
    "share_of_o2": "Of O2",
}

_LEFT = {"day", "drift", "retrained", "gates", "champion"}


def say(text: str) -> None:
    """One plain line."""
    console.print(escape(text))


def opening(home: Path, scenario: Scenario) -> None:
    """What is about to happen."""
    days = scenario.days
    say(f"Market: {scenario.source}; history up to {scenario.history_last}, then {days[0]} to {days[-1]} day by day")
    say(f"Working folder: {home}")


class StartProgress:
    """The bar of the history and the line of what Airflow still waits for."""

    def __init__(self) -> None:
        self._progress = _progress()
        self._history = self._progress.add_task("importing the history", total=None)
        self._airflow = self._progress.add_task("Airflow: preparing its database", total=1)

    def __enter__(self) -> StartProgress:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._progress.update(self._airflow, description="Airflow is up", completed=1)
        self._progress.stop()

    def imported(self, *, done: int, of: int) -> None:
        """So many days of the history are landed."""
        what = "importing the history" if done < of else "history landed; building its features"
        self._progress.update(self._history, completed=done, total=of, description=what)

    def waiting_for(self, parts: Sequence[str]) -> None:
        """Airflow waits for these."""
        self._progress.update(self._airflow, description=f"Airflow: waiting for {', '.join(parts)}")


class DayProgress:
    """The bar of the market days, what is at work under it, and a line for each day that is over."""

    def __init__(self, days: Sequence[date]) -> None:
        self._progress = _progress()
        self._task = self._progress.add_task("market days", total=len(days))
        self._began = time.monotonic()

    def __enter__(self) -> DayProgress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, day: date) -> None:
        """A day starts."""
        self._began = time.monotonic()
        self._progress.update(self._task, description=f"{day}")
        self._day = day

    def at_work(self, what: str) -> None:
        """These DAGs run now."""
        self._progress.update(self._task, description=f"{self._day}: {escape(what)}")

    def finish(self, day: date, row: Mapping[str, Any]) -> None:
        """A day is over; print its line."""
        seconds = time.monotonic() - self._began
        self._began = time.monotonic()
        parts = [
            f"landed {_text(row['landed'])}, quarantined {_text(row['quarantined'])}",
            f"features {_text(row['features'])}",
            f"drift {_text(row['drift'])}",
            f"retrained {_text(row['retrained'])}",
            f"gates {_text(row['gates'])}",
            f"champion {_text(row['champion'])}",
            f"bids {_text(row['published'])}",
            f"mails {_text(row['mails'])}",
        ]
        self._progress.console.print(escape(f"{day}  {' | '.join(parts)}  ({seconds:.0f} s)"))
        self._progress.update(self._task, advance=1, description="market days")


def table(rows: Sequence[Mapping[str, Any]], *, currency: str) -> None:
    """The closing table: a row a market day, a column a step of the lifecycle, then the day's money in whole units."""
    title = f"What became of each market day (money in {currency})"
    shown = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name, heading in _HEADINGS.items():
        shown.add_column(heading, justify="left" if name in _LEFT else "right", no_wrap=name != "retrained")
    for row in rows:
        shown.add_row(*(escape(_cell(name, row.get(name, "-"))) for name in _HEADINGS))
    Console(highlight=False, width=max(console.width, _TABLE_WIDTH)).print(shown)


def _cell(name: str, value: Any) -> str:
    """A value of the closing table: money without its fraction, a share in percent, why there was a retrain but not why
    there was none: the day's own line has said it."""
    if name == "retrained":
        return str(value) if str(value).startswith("yes") else str(value).partition(":")[0]
    if isinstance(value, str):
        return value
    if name.endswith("_micros"):
        return _text(round(from_micros(value)))
    return f"{value:.0%}" if name == "share_of_o2" else _text(value)


def closing(stack: Stack, *, missing: Sequence[str], seconds: float) -> None:
    """The addresses, the login, what to do next, and what did not happen."""
    ports, kept = stack.ports(), airflow.keep_secrets(stack.home / "airflow")
    say(f"Done in {seconds:.0f} s.")
    for step in missing:
        say(f"did not happen: {step}")
    say(f"Airflow     http://{LOOPBACK}:{ports.airflow}   user {airflow.USER}   password {kept.password}")
    say(f"Bid models  http://{LOOPBACK}:{ports.airflow}/plugin/bid-models")
    say(f"Mailbox     http://{LOOPBACK}:{ports.mailbox}")
    say("Stop it all with: make down")


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(entry)}" for name, entry in value.items())
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else str(value)
