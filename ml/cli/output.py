"""What a person reads on the screen, and what a program reads with --json."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def show_json(value: Any) -> None:
    """One line of JSON on standard output."""
    sys.stdout.write(json.dumps(value, sort_keys=True, default=str, allow_nan=False) + "\n")


def show_line(text: str) -> None:
    """One line on standard output."""
    sys.stdout.write(text + "\n")


def show_mapping(title: str, values: Mapping[str, Any]) -> None:
    """A titled list of names and values, aligned; nested mappings are indented."""
    show_line(title)
    _lines(values, indent=2)


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table drawn by rich, no wider than the terminal; the first column, the name, stays whole."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    Console().print(table)


def _lines(values: Mapping[str, Any], *, indent: int) -> None:
    width = max((len(str(name)) for name in values), default=0)
    for name, value in values.items():
        pad = " " * indent
        if isinstance(value, Mapping) and value:
            show_line(f"{pad}{name}")
            _lines(value, indent=indent + 2)
        else:
            show_line(f"{pad}{str(name).ljust(width)}  {_text(value)}")


def _text(value: Any) -> str:
    if value is None or value == {} or value == []:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value)
    return str(value)
