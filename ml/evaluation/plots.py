"""Plots of a model's quality, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml.evaluation.metrics import calibration_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_INCHES = (5.2, 4.0)
_DOTS_PER_INCH = 110
_OURS, _REFERENCE = "#1f5fa8", "#9aa3ad"
_SHOWN_FEATURES = 20


def calibration_plot(labels: npt.ArrayLike, probabilities: npt.ArrayLike, *, title: str, bins: int = 10) -> bytes:
    """Predicted against observed share in bins of equal numbers of rows; PNG. Labels 0 or 1, shape (rows,) each."""
    table = calibration_table(labels, probabilities, bins=bins)

    def draw(axes: Axes) -> None:
        predicted, realised = [b.predicted for b in table], [b.realised for b in table]
        top = max([*predicted, *realised, 1e-9]) * 1.05
        axes.plot([0, top], [0, top], color=_REFERENCE, linewidth=1, label="calibrated")
        axes.plot(predicted, realised, color=_OURS, marker="o", markersize=4, linewidth=1.2, label="model")
        axes.set_xlabel("predicted share")
        axes.set_ylabel("observed share")
        axes.legend(frameon=False)

    return _png(draw, title)


def gain_plot(labels: npt.ArrayLike, scores: npt.ArrayLike, *, title: str) -> bytes:
    """Cumulative gain: the share of all positives among the rows with the highest scores; PNG."""
    y, s = np.asarray(labels, dtype=float), np.asarray(scores, dtype=float)
    order = np.argsort(-s, kind="stable")
    found = np.concatenate([[0.0], np.cumsum(y[order])]) / max(float(y.sum()), 1.0)
    looked_at = np.linspace(0.0, 1.0, len(found))

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=_REFERENCE, linewidth=1, label="by chance")
        axes.plot(looked_at, found, color=_OURS, linewidth=1.4, label="model")
        axes.set_xlabel("share of rows, highest score first")
        axes.set_ylabel("share of positives found")
        axes.legend(frameon=False, loc="lower right")

    return _png(draw, title)


def importance_plot(shares: Mapping[str, float], *, title: str) -> bytes:
    """The features with the largest shares of the gain, largest on top; PNG."""
    largest = sorted(shares.items(), key=lambda item: item[1])[-_SHOWN_FEATURES:]

    def draw(axes: Axes) -> None:
        axes.barh([name for name, _ in largest], [share for _, share in largest], color=_OURS)
        axes.set_xlabel("share of the gain")
        axes.tick_params(axis="y", labelsize=7)

    return _png(draw, title)


def money_plot(ours: Mapping[str, Mapping[str, Any]], theirs: Mapping[str, Mapping[str, Any]], *, title: str) -> bytes:
    """Predicted over realised worth of each label, with its interval, the baseline's beside it, and the cost; PNG.

    Args:
        ours, theirs: rows of `ml.evaluation.money.worth_report` by label, of the model and of its baseline.
        title: above the plot.
    """
    names = [name for name, row in ours.items() if row["net_value_ratio"] is not None]

    def draw(axes: Axes) -> None:
        axes.axhline(1.0, color=_REFERENCE, linewidth=1)
        for rows, shift, colour, who in ((ours, -0.12, _OURS, "model"), (theirs, 0.12, _REFERENCE, "baseline")):
            known = [(place, rows[name]) for place, name in enumerate(names) if name in rows]
            known = [(place, row) for place, row in known if row["net_value_ratio"] is not None]
            mid = [row["net_value_ratio"] for _, row in known]
            # A label of one block has no interval: its dot stands alone.
            reach = [
                [0.0 if row[end] is None else abs(row[end] - row["net_value_ratio"]) for _, row in known]
                for end in ("low", "high")
            ]
            x = [place + shift for place, _ in known]
            axes.errorbar(x, mid, yerr=reach, fmt="o", color=colour, markersize=4, capsize=2, linewidth=1, label=who)
        ticks = [f"{name}\n{ours[name]['rows']:,} rows\n-{ours[name]['cost'] or 0:,.0f}" for name in names]
        axes.set_xticks(range(len(names)), ticks, fontsize=7)
        axes.set_ylabel("predicted / realised worth")
        axes.set_xlabel("below: rows, and profit lost, currency units", fontsize=8)
        axes.legend(frameon=False)

    return _png(draw, title)


def _png(draw: Any, title: str) -> bytes:
    """Draw on a figure of its own, without the global state of pyplot: safe in threads, nothing to close."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    draw(axes)
    axes.set_title(title, fontsize=10)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    buffer = io.BytesIO()
    # Without the "Software" entry the bytes depend on the numbers alone, not on the library's version text.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
