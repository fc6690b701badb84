"""Charts as data: what `app.js` draws with uPlot, and what the table below each chart says without it.

A chart is JSON: `title`, `unit`, `x` (`kind` day, number or category, `label`, `values`), `series` (each `name`, `values`
with None where nothing is known, `style`, and `low` and `high` where it has a band), `lines` (levels to hold it against),
`marked` (the place in `x` where something happened), `zero` (whether the axis begins at 0), and `said`, the chart in one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from ml.core.units import from_micros

Chart = dict[str, Any]
Style = Literal["line", "dashed", "steps", "bars", "points"]
Values = Sequence[float | None]

_PERCENT: Final = 100.0


def series(
    name: str, values: Values, *, style: Style = "line", low: Values | None = None, high: Values | None = None
) -> dict[str, Any]:
    """One curve; `low` and `high` are the edges of its band."""
    one: dict[str, Any] = {"name": name, "values": list(values), "style": style}
    return one if low is None or high is None else one | {"low": list(low), "high": list(high)}


def chart(
    title: str,
    *curves: Mapping[str, Any],
    x: Sequence[Any],
    kind: Literal["day", "number", "category"] = "day",
    label: str = "market day",
    unit: str = "",
    lines: Sequence[tuple[float, str]] = (),
    marked: int | None = None,
    zero: bool = False,
    said: str = "",
) -> Chart:
    """A chart of curves over the same abscissa."""
    made: Chart = {
        "title": title,
        "unit": unit,
        "x": {"kind": kind, "label": label, "values": list(x)},
        "series": [dict(curve) for curve in curves],
        "lines": [{"at": at, "name": name} for at, name in lines],
        "marked": marked,
        "zero": zero,
    }
    return made | {"said": said or _said(made)}


def of_signal(one: Mapping[str, Any]) -> Chart:
    """A series that an incident keeps (`monitoring.signals`), as a chart."""
    days = list(one["days"])
    marked = days.index(one["marked"]) if one.get("marked") in days else None
    curve = series(one["name"], one["values"], low=one.get("low"), high=one.get("high"))
    return chart(one["name"], curve, x=days, unit=one.get("unit", ""), marked=marked)


def known(drawn: Chart) -> bool:
    """Whether any value of a chart is known."""
    return any(value is not None for curve in drawn["series"] for value in curve["values"])


def _said(drawn: Chart) -> str:
    """The last known value of each curve.

    >>> chart("Spend", series("spend", [1.0, 2.5]), x=["2026-03-02", "2026-03-03"], unit="EUR")["said"]
    'spend 2.50 EUR on 2026-03-03'
    """
    parts = []
    for curve in drawn["series"]:
        places = [place for place, value in enumerate(curve["values"]) if value is not None]
        if places:
            at = drawn["x"]["values"][places[-1]]
            where = f" on {at}" if drawn["x"]["kind"] == "day" else f" at {at}"
            parts.append(
                f"{curve['name']} {written(curve['values'][places[-1]], drawn['unit'])} {drawn['unit']}".rstrip()
                + where
            )
    return "; ".join(parts) or "nothing is known yet"


def amount(value: float) -> str:
    """A value as a table writes it: thousands apart, two digits of a fraction where there is one.

    >>> amount(12345.6), amount(2.5), amount(3.0), amount(-0.25), amount(0.0025)
    ('12 345.60', '2.50', '3', '-0.25', '0.0025')
    """
    if 0 < abs(value) < 0.1:
        return f"{value:.4g}"
    return f"{value:,.2f}".removesuffix(".00").replace(",", " ")


def written(value: float, unit: str) -> str:
    """A value of a chart: an amount, or four digits where it is a ratio or has no unit.

    >>> written(1.01324, "promised / realised"), written(231.12, "EUR"), written(27.0, "")
    ('1.013', '231.12', '27')
    """
    is_ratio = not unit or "/" in unit
    return f"{value:.4g}" if is_ratio and abs(value) < 1_000 else amount(value)


def money_by_day(rows: Sequence[Mapping[str, Any]], plan: Sequence[Mapping[str, Any]], *, currency: str) -> list[Chart]:
    """The money of day rows beside its plan (`ml.status`), oldest first: amounts in currency units, shares in percent."""
    days = [row["day"] for row in rows]

    def figure(name: str, scale: float = 1.0, *, of: Sequence[Mapping[str, Any]] = rows) -> list[float | None]:
        return [_value(name, row[name], scale) for row in of]

    def beside(title: str, name: str, key: str) -> Chart:
        planned = series("planned", figure(key, of=plan), style="dashed")
        return chart(title, series(name, figure(key)), planned, x=days, unit=currency, zero=True)

    return [
        beside("Spend", "spend", "spend_micros"),
        beside("Profit", "profit", "profit_micros"),
        chart("Bookings", series("bookings", figure("bookings"), style="bars"), x=days),
        chart(
            "Share of O2",
            series("share of O2", figure("share_of_o2", _PERCENT)),
            x=days,
            unit="%",
            lines=[(_PERCENT, "the best bids")],
        ),
    ]


def _value(name: str, value: Any, scale: float) -> float | None:
    if value is None or isinstance(value, str):
        return None
    return from_micros(value) if name.endswith("_micros") else float(value) * scale
