"""Turning views into HTML: autoescaped templates and the few ways in which values are written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader

from bidwright_ui.assets import address
from bidwright_ui.charts import amount, written
from bidwright_ui.charts import known as is_known
from bidwright_ui.intervals import line
from bidwright_ui.page import NAVIGATION
from ml.core.units import from_micros

_DIGEST_LENGTH = 64
_SHORT = 10


def render(template: str, view: Mapping[str, Any], *, root: str, market: str, under: str = "") -> str:
    """A page as HTML. `root` is the relative path to the front page, for links; `under` the entry of the navigation."""
    frame = {"root": root, "market": market, "under": under}
    return _ENVIRONMENT.get_template(f"{template}.html.j2").render({**view, **frame})


def short(digest: str | None) -> str:
    """The first characters of a digest.

    >>> short("3fa9c1d2e4b5" + "0" * 52)
    '3fa9c1d2e4'
    """
    return digest[:_SHORT] if digest else "-"


def number(value: Any) -> str:
    """A number for reading: thousands apart, four significant digits; a dash for nothing.

    >>> number(1234567), number(0.123456), number(None), number(True)
    ('1 234 567', '0.1235', '-', 'yes')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def money(micros: int | None) -> str:
    """Micros as an amount.

    >>> money(1_250_000)
    '1.25'
    """
    return "-" if micros is None else f"{from_micros(micros):,.2f}".replace(",", " ")


def percent(value: float | str) -> str:
    """A share in percent; text, such as a dash, as it is.

    >>> percent(0.874), percent("-")
    ('87 %', '-')
    """
    return value if isinstance(value, str) else f"{value * 100:.0f} %"


def instant(text: str | None) -> str:
    """An ISO instant without its seconds' fraction.

    >>> instant("2026-03-02T01:30:00.123456+00:00")
    '2026-03-02 01:30 UTC'
    """
    return f"{text[:10]} {text[11:16]} UTC" if text else "-"


def entry(name: str, value: Any) -> str:
    """A named value: money by its name, a long digest shortened, a list joined.

    >>> entry("amount_micros", 2_500_000), entry("days", [1, 2]), entry("x", {"a": 1.5})
    ('2.50', '1, 2', 'a 1.5')
    """
    if name.endswith("_micros") and isinstance(value, int):
        return money(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {entry(str(key), inner)}" for key, inner in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(entry(name, inner) for inner in value) or "-"
    if isinstance(value, str) and len(value) == _DIGEST_LENGTH:
        return short(value)
    return number(value)


def is_table(value: Mapping[str, Any]) -> bool:
    """Whether a mapping reads best as a table: several entries, each a mapping with the same keys.

    >>> is_table({"clicks": {"rows": 1}, "bookings": {"rows": 2}}), is_table({"a": {"x": 1}, "b": 2})
    (True, False)
    """
    rows = list(value.values())
    return len(rows) > 1 and all(isinstance(row, Mapping) and row.keys() == rows[0].keys() for row in rows)


def known(value: float | None, unit: str = "currency") -> str:
    """An amount in currency units, or a chart's value in its own unit; a dash where it is not known.

    >>> known(1234.5), known(None), known(1.01324, "")
    ('1 234.50', '-', '1.013')
    """
    return "-" if value is None else written(value, unit)


def without_money(metrics: Any) -> Any:
    """Metrics without the tables of money, which a page shows by themselves."""
    if not isinstance(metrics, Mapping):
        return metrics
    return {name: without_money(value) for name, value in metrics.items() if name != "money"}


def level_of(name: str, value: Any) -> str:
    """A mean of a column: an amount where the column's name says micros."""
    if name.endswith("_micros") and isinstance(value, float):
        return money(round(value))
    return number(value)


def line_of(value: Any, limit: Any) -> Any:
    """A distance and its limit as a line (`intervals.line`) that begins at 0."""
    if not isinstance(value, (int, float)) or not isinstance(limit, (int, float)) or limit <= 0:
        return None
    return line(value, limits=[limit], span=(0.0, max(2.0 * limit, float(value))))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": short, "number": number, "money": money, "instant": instant, "is_table": is_table}
    environment.filters |= {"percent": percent, "amount": amount, "known": known, "without_money": without_money}
    environment.globals |= {"entry": entry, "is_known": is_known, "asset": address, "navigation": NAVIGATION}
    environment.globals |= {"line_of": line_of, "level_of": level_of}
    return environment


_ENVIRONMENT: Final = _environment()
