"""Drift: every feature of every day at a glance, one feature beside its season, what it costs, and Evidently's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from bidwright_ui.charts import Chart, chart, series
from bidwright_ui.page import Page, View, plain
from ml.core.errors import NoData
from ml.core.units import from_micros, parse_day

if TYPE_CHECKING:
    from ml.ledger.reports import DriftReport
    from ml.platform import Platform

SHOWN = 200
HEAT_DAYS = 28
FEATURE_DAYS = 60

_STEPS: Final = (0.5, 0.8, 1.0, 2.0)
"""Distance over limit from which a day of a feature is drawn a step darker; from 1 on it exceeds its limit."""


def drift(platform: Platform) -> View:
    """Features by days as a heat map, and what the last check says of causes and cost."""
    from ml.ledger import reports as ledger

    found = ledger.latest(platform.db, platform.market, HEAT_DAYS)
    newest = found[0] if found else None
    return {
        "heat": heat_map(found),
        "latest": None if newest is None else _head(newest) | {"numbers": _said(newest)},
        "reports": [_head(one) for one in found],
        "currency": platform.settings.currency,
    }


def _head(found: DriftReport) -> dict[str, Any]:
    """A report without its numbers, which are large."""
    told: dict[str, Any] = plain(replace(found, numbers={}))
    return told


def heat_map(found: Sequence[DriftReport]) -> dict[str, Any]:
    """Distance over limit per feature and day.

    Args:
        found: the reports, newest first.

    Returns:
        `days` ascending, and `rows` (`name`, `subject`, `cells`: per day None where the feature was not compared, else
        `ratio`, `step` 0 to 4 and `exceeds`), the features that came nearest to their limit in the last days first.
    """
    ordered = list(reversed(found))
    cells: dict[str, dict[str, dict[str, Any]]] = {}
    subjects: dict[str, str] = {}
    for report in ordered:
        for column in _columns(report):
            ratio = column.get("ratio")
            subjects[column["name"]] = str(column.get("subject", ""))
            if ratio is not None:
                cells.setdefault(column["name"], {})[report.day.isoformat()] = {
                    "ratio": round(float(ratio), 3),
                    "step": sum(ratio >= step for step in _STEPS),
                    "exceeds": bool(column.get("exceeds")),
                }
    days = [report.day.isoformat() for report in ordered]

    def height(name: str) -> float:
        return max((cells[name][day]["ratio"] for day in days[-7:] if day in cells[name]), default=0.0)

    names = sorted(cells, key=lambda name: (-height(name), name))
    rows = [
        {"name": name, "subject": subjects[name], "cells": [cells[name].get(day) for day in days]} for name in names
    ]
    return {"days": days, "rows": rows}


def feature(platform: Platform, name: str) -> View:
    """One feature: its distance by day, what it is now and was before, its distribution beside its season, what it costs."""
    from ml.ledger import reports as ledger

    found = list(reversed(ledger.latest(platform.db, platform.market, FEATURE_DAYS)))
    rows = [
        (report.day.isoformat(), column) for report in found for column in _columns(report) if column["name"] == name
    ]
    if not rows:
        raise NoData(
            f"no check of the last {FEATURE_DAYS} knows a feature {name!r}", next="choose one from the heat map"
        )
    days, columns = [day for day, _ in rows], [column for _, column in rows]
    newest = columns[-1]
    shape = newest.get("shape")
    return {
        "name": name,
        "day": days[-1],
        "now": plain(newest),
        "charts": [_distance(days, columns), _level(days, columns, newest, platform.settings.currency)],
        "distribution": _shape(name, shape) if isinstance(shape, Mapping) else None,
        "impact": _money_first(newest.get("impact")),
        "currency": platform.settings.currency,
    }


def _distance(days: Sequence[str], columns: Sequence[Mapping[str, Any]]) -> Chart:
    exceeds = [place for place, column in enumerate(columns) if column.get("exceeds")]
    return chart(
        "Distance over its limit",
        series("distance / limit", [column.get("ratio") for column in columns]),
        x=days,
        lines=[(1.0, "limit")],
        zero=True,
        marked=exceeds[0] if exceeds else None,
    )


def _level(
    days: Sequence[str], columns: Sequence[Mapping[str, Any]], newest: Mapping[str, Any], currency: str
) -> Chart:
    money = str(newest["name"]).endswith("_micros")

    def side(key: str) -> list[float | None]:
        values = [column.get(key) for column in columns]
        return [from_micros(round(value)) if money and value is not None else value for value in values]

    what = "Mean" if newest.get("numeric") else f"Share of {newest.get('category') or 'the category that moved most'}"
    return chart(
        f"{what}, now and before",
        series("now", side("now")),
        series("before", side("before"), style="dashed"),
        x=days,
        unit=currency if money else "",
    )


def _shape(name: str, shape: Mapping[str, Any]) -> Chart:
    """The distribution that a check kept: shares of rows per bin or category, of the day and of its reference."""
    at = [value if isinstance(value, str) else f"{value:.4g}" for value in shape["at"]]
    percent = [[None if share is None else share * 100 for share in shape[side]] for side in ("now", "reference")]
    return chart(
        "Distribution now against its season",
        series("now", percent[0], style="bars"),
        series("its season", percent[1], style="bars"),
        x=at,
        kind="category",
        label=name,
        unit="% of rows",
        said="shares of rows per bin, of the window that moved most and of the reference that is nearest to it",
    )


def reports(platform: Platform, *, limit: int = SHOWN) -> View:
    """The drift verdicts of the last days."""
    from ml.ledger import reports as ledger

    return {"reports": [_head(one) for one in ledger.latest(platform.db, platform.market, limit)]}


def report(platform: Platform, day: str) -> View:
    """The drift verdict of one day with its reasons and numbers."""
    found = _report(platform, day)
    return {
        "report": plain(found),
        "said": _said(found),
        "columns": sorted(_columns(found), key=lambda column: -(column.get("ratio") or 0.0)),
        "currency": platform.settings.currency,
    }


def report_html(platform: Platform, day: str) -> bytes:
    """The HTML report of a day's drift check, as it was kept in the blob store."""
    found = _report(platform, day)
    if not found.report_key:
        raise NoData(f"the drift check of {day} left no HTML report", next="its reasons say why")
    return platform.blobs.get(found.report_key)


def _report(platform: Platform, day: str) -> DriftReport:
    from ml.ledger import reports as ledger

    found = ledger.get(platform.db, platform.market, parse_day(day))
    if found is None:
        raise NoData(f"{day} has not been checked for drift", next="choose a day from the list")
    return found


def _columns(found: DriftReport) -> list[dict[str, Any]]:
    """The compared columns of a report; one that is half written has none."""
    columns = found.numbers.get("columns")
    if not isinstance(columns, Sequence) or isinstance(columns, str):
        return []
    return [dict(column) for column in columns if isinstance(column, Mapping) and column.get("name")]


def _said(found: DriftReport) -> dict[str, Any]:
    """What a check concluded: its parts, likely causes, what moved in the market, and what the shifts cost."""
    numbers = found.numbers
    costs = {column["name"]: cost for column in _columns(found) if (cost := _money_first(column.get("impact")))}
    watchers = [one for one in numbers.get("watchers") or [] if isinstance(one, Mapping)]
    told: dict[str, Any] = plain(
        {
            "parts": numbers.get("parts") or {},
            "confirmed": numbers.get("confirmed") or [],
            "diagnosis": numbers.get("diagnosis") or [],
            "moved": [one for one in watchers if one.get("verdict") != "PASS"],
            "watched": len(watchers),
            "cost": _money_first(numbers.get("impact")),
            "impact": costs,
            "reports": numbers.get("reports") or {},
        }
    )
    return told


def _money_first(impact: Any) -> dict[str, Any] | None:
    """A cost (`monitoring.impact`) where anything of it is known."""
    if not isinstance(impact, Mapping):
        return None
    told = {str(name): value for name, value in impact.items()}
    return told if any(value not in (None, [], "") for value in told.values()) else None


PAGES: Final = {
    "/drift": Page(
        "drift",
        drift,
        "drift",
        f"Features by days of the last {HEAT_DAYS} drift checks, and what the last one concludes.",
        {
            "heat": "`days` ascending and `rows` per feature; a cell is null where the feature was not compared.",
            "latest": "The last check; its `numbers` are parts, causes, cost and what moved. Null before the first.",
            "reports": "The verdict and the reasons of each check without its numbers, newest first.",
            "currency": "Of the amounts.",
        },
    ),
    "/drift/{name}": Page(
        "feature",
        feature,
        "drift",
        "One feature over the last checks.",
        {
            "name": "Of the feature.",
            "day": "Of the last check that compared it.",
            "now": "What that check found.",
            "charts": "Distance over limit and level by day, as series.",
            "distribution": "Shares of rows per bin, of the day and of its season; null where the check kept none.",
            "impact": "What its shift costs, null where it is not known.",
            "currency": "Of the amounts.",
        },
    ),
    "/reports": Page(
        "reports",
        reports,
        "drift",
        f"The drift verdicts of the last {SHOWN} checked days.",
        {"reports": "One object per checked market day without its numbers, newest first."},
    ),
    "/reports/{day}": Page(
        "report",
        report,
        "drift",
        "The drift verdict of one day.",
        {
            "report": "Verdict, reasons, numbers and the key of the HTML report.",
            "said": "What the check concluded: parts, causes, cost and what moved.",
            "columns": "The compared features, the nearest to its limit first.",
            "currency": "Of the amounts.",
        },
    ),
}
