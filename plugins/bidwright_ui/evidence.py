"""What a decision rests on, laid out for the eye: gates, gains, slices and calibration of candidate and champion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from bidwright_ui.charts import Chart, chart, series
from bidwright_ui.intervals import common_span, line

ERRORS: Final = 2.0
"""Intervals of slices reach so many standard errors to each side: about 95 %."""

WORST: Final = 8
"""Slices shown of each model, those with the greatest loss first."""

_WIDEST: Final = 3.0
"""A ratio beyond it is drawn at the edge, so that a small slice does not squeeze the others."""

_ORDER: Final = {"FAIL": 0, "HOLD": 1, "PASS": 2}


def gates(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The gates of a decision, those that do not pass first, each with its `line` (`intervals.line`)."""
    ordered = sorted(found, key=lambda gate: _ORDER.get(str(gate.get("verdict")), 0))
    return [
        {**gate, "line": line(gate.get("number"), interval=gate.get("interval"), limits=[gate.get("threshold")])}
        for gate in ordered
    ]


def gains(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Loss of the candidate against the champion and the baseline, per model, relative to theirs; negative is better.

    Each row has `model`, `loss`, `against`, `mid`, `low` and `high` as shares, and its `line`; all on one scale.
    """
    rows = []
    for model, one in _models(found, "gains_on_champion", "not_worse_than_champion"):
        for loss in one.get("losses", []):
            for against in ("champion", "baseline"):
                rows += _relative(model, loss, against)
    return _drawn(rows, 0.0)


def _relative(model: str, loss: Mapping[str, Any], against: str) -> list[dict[str, Any]]:
    interval, scale = loss.get(f"over_{against}"), loss.get(against)
    if not isinstance(interval, Mapping) or not scale:
        return []
    shares = {name: interval[name] / abs(scale) for name in ("mid", "low", "high") if interval.get(name) is not None}
    return [{"model": model, "loss": loss.get("name", ""), "against": against, **shares}] if "mid" in shares else []


def slices(found: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Per model the slices in which the candidate loses most against the champion, as shares of the champion's loss."""
    shown = {}
    for model, one in _models(found, "slices"):
        rows = []
        for cut in one.get("slices", []):
            difference, scale = cut.get("difference") or {}, cut.get("champion")
            if not scale or difference.get("mid") is None:
                continue
            mid, error = difference["mid"] / abs(scale), ERRORS * (difference.get("error") or 0.0) / abs(scale)
            rows.append(
                {
                    "slice": f"{cut['field']} {cut['label']}",
                    "rows": cut.get("rows"),
                    "mid": mid,
                    "low": mid - error,
                    "high": mid + error,
                }
            )
        if rows:
            shown[model] = _drawn(sorted(rows, key=lambda row: -row["mid"])[:WORST], 0.0)
    return shown


def reliability(candidate: Sequence[Mapping[str, Any]], champion: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Promised over realised money by label of each field, candidate and champion (`ml.evaluation.worth.money_of`).

    Each was measured on the holdout of its own training, so the two lie on different days.
    """
    before = {one["model"]: one for one in champion if one["by"] == "model"}
    drawn = []
    for one in candidate:
        if one["by"] != "model":
            continue
        for field, labels in one["fields"].items():
            names = list(labels)
            curves = [_ratios("candidate", labels, names)]
            if one["model"] in before and field in before[one["model"]]["fields"]:
                curves.append(_ratios("champion", before[one["model"]]["fields"][field], names))
            drawn.append(
                chart(
                    f"{one['model']} by {field.replace('_', ' ')}",
                    *curves,
                    x=names,
                    kind="category",
                    label=field.replace("_", " "),
                    unit="promised / realised",
                    lines=[(1.0, "as promised")],
                    said=_said(one["whole"]),
                )
            )
    return drawn


def _ratios(name: str, labels: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> dict[str, Any]:
    def column(key: str) -> list[float | None]:
        values = (labels.get(label, {}).get(key) for label in names)
        return [None if value is None else min(float(value), _WIDEST) for value in values]

    return series(name, column("net_value_ratio"), style="points", low=column("low"), high=column("high"))


def _said(whole: Mapping[str, Any]) -> str:
    if whole.get("net_value_ratio") is None:
        return "in all: not known"
    said = f"in all {whole['net_value_ratio']:.3f}"
    if whole.get("low") is not None and whole.get("high") is not None:
        said += f", {whole['low']:.3f} to {whole['high']:.3f}"
    rows = f"{whole['rows']:,}".replace(",", " ")
    return f"{said}, of {rows} rows"


def _drawn(rows: Sequence[dict[str, Any]], level: float) -> list[dict[str, Any]]:
    span = common_span(rows, level)
    return [
        row | {"line": line(row["mid"], interval=[row.get("low"), row.get("high")], limits=[level], span=span)}
        for row in rows
    ]


def _models(found: Sequence[Mapping[str, Any]], *names: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The numbers per model of the first of these gates that a decision has."""
    by_name = {gate.get("gate"): gate for gate in found}
    for name in names:
        numbers = by_name.get(name, {}).get("numbers") or {}
        if isinstance(numbers.get("models"), Mapping):
            return [(model, one) for model, one in numbers["models"].items() if isinstance(one, Mapping)]
    return []
