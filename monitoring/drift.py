"""Evidently on a seeded sample: the report that people read, and a second opinion on each column.

The only module that knows Evidently, which takes seconds to import: it is imported inside the call. Its
usage telemetry (which also writes an id below the user's configuration folder) is switched off by
`DO_NOT_TRACK` and `EVIDENTLY_DISABLE_TELEMETRY`, read when it is imported and before anything is sent.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from monitoring.distances import JENSEN_SHANNON, WASSERSTEIN
from monitoring.findings import Finding, first_line, held
from monitoring.subject import labels, numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE = 5_000
"""Rows per side; the time goes into plots, and a distance is exact enough."""

THRESHOLD = 0.1
"""Evidently's own threshold of both distances."""

TELEMETRY_OFF = {"DO_NOT_TRACK": "1", "EVIDENTLY_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True)
class ColumnDrift:
    """Evidently's opinion of one column."""

    column: str
    method: str
    score: float
    threshold: float

    @property
    def drifted(self) -> bool:
        """Whether the distance is at or beyond its threshold."""
        return self.score >= self.threshold


@dataclass(frozen=True)
class DriftResult:
    """Every column's opinion, the HTML report, and a HOLD finding when Evidently could not answer."""

    columns: Mapping[str, ColumnDrift]
    html: bytes | None
    finding: Finding | None = None


def warm_up() -> None:
    """Import Evidently now, for whoever forks processes that will need it."""
    os.environ.update(TELEMETRY_OFF)
    with warnings.catch_warnings():
        # Evidently 0.7.23 and its plots use names that numpy and pandas have deprecated.
        warnings.simplefilter("ignore")
        import evidently  # noqa: F401
        import evidently.presets  # noqa: F401


def distances(
    current: pd.DataFrame,
    reference: pd.DataFrame,
    columns: Sequence[str],
    categorical: Sequence[str],
    *,
    thresholds: Mapping[str, float] | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
    days: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    subject: str = "",
) -> DriftResult:
    """Evidently's distance of each column, and its report.

    Evidently drops nulls and infinities before it compares; the completeness guards come first for that reason.

    Args:
        current: recent rows.
        reference: rows of the days before.
        columns: the columns to compare.
        categorical: those of them that are compared by share; the rest are numbers.
        thresholds: threshold per column where it is not 0.1.
        sample: at most so many rows a side, drawn by `seed`, of each day its share.
        seed: makes the draw repeatable.
        days: the day of each row, of `current` and of `reference`, in any numbering; None: all rows are of one day.
        subject: what the rows are, for the finding.

    Returns:
        The opinions; any exception becomes a HOLD finding with its first line, never "no drift".
    """
    limits = {name: (thresholds or {}).get(name, THRESHOLD) for name in columns}
    kinds = {name: JENSEN_SHANNON if name in set(categorical) else WASSERSTEIN for name in columns}
    try:
        sides = [
            _prepare(frame, kinds, sample, seed + side, days[side] if days else None)
            for side, frame in enumerate((current, reference))
        ]
        scores, html = _evaluate(sides[0], sides[1], kinds, limits)
        return DriftResult({c: ColumnDrift(c, kinds[c], scores[c], limits[c]) for c in columns}, html)
    except Exception as error:  # noqa: BLE001  (a broken check must hold, whatever broke it)
        reason = f"{subject or 'rows'}: drift could not be computed ({first_line(error)})"
        return DriftResult({}, None, held("drift_error", subject, reason))


def _prepare(
    frame: pd.DataFrame, kinds: Mapping[str, str], sample: int, seed: int, days: NDArray[np.int64] | None
) -> pd.DataFrame:
    rows = frame
    if len(frame) > sample:
        strata = np.zeros(len(frame), dtype=np.int64) if days is None else days
        rows = frame.iloc[stratified(strata, sample, seed)]
    clean = {
        name: labels(rows[name]) if kind == JENSEN_SHANNON else _finite(rows[name]) for name, kind in kinds.items()
    }
    return pd.DataFrame(clean).reset_index(drop=True)


def stratified(strata: NDArray[np.int64], size: int, seed: int) -> NDArray[np.int64]:
    """Positions of `size` rows, ascending, of each stratum its share: a systematic draw over the rows in order of stratum.

    Args:
        strata: the stratum of each row, shape (rows,), with `size` rows or more.
        size: rows to draw.
        seed: makes the draw repeatable.

    >>> stratified(np.array([0] * 30 + [1] * 10), 4, seed=7).tolist()
    [9, 17, 23, 39]
    """
    rng = np.random.default_rng(seed)
    # Rows of a stratum in an order of chance, so that no order within a day shows in the draw.
    order = np.lexsort((rng.random(len(strata)), strata))
    places = ((rng.random() + np.arange(size)) * len(strata) / size).astype(np.int64)
    return np.sort(order[places])


def _finite(column: pd.Series) -> NDArray[np.float64]:
    values = numbers(column)
    return np.where(np.isfinite(values), values, np.nan)


def _evaluate(
    current: pd.DataFrame, reference: pd.DataFrame, kinds: Mapping[str, str], limits: Mapping[str, float]
) -> tuple[dict[str, float], bytes]:
    os.environ.update(TELEMETRY_OFF)
    with warnings.catch_warnings():
        # Evidently 0.7.23 and its plots use names that numpy and pandas have deprecated.
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        definition = DataDefinition(
            numerical_columns=[name for name, kind in kinds.items() if kind == WASSERSTEIN],
            categorical_columns=[name for name, kind in kinds.items() if kind == JENSEN_SHANNON],
        )
        preset = DataDriftPreset(
            columns=list(kinds),
            num_method=WASSERSTEIN,
            cat_method=JENSEN_SHANNON,
            per_column_threshold=dict(limits),
            # One drifted column is drift: Evidently's own half of all columns hides the one that matters.
            drift_share=1.0 / max(len(kinds), 1),
        )
        snapshot = Report([preset]).run(
            Dataset.from_pandas(current, definition), Dataset.from_pandas(reference, definition)
        )
        return _scores(json.loads(snapshot.json()), kinds), snapshot.get_html_str(as_iframe=False).encode()


def _scores(report: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, float]:
    found = {m["config"].get("column"): m["value"] for m in report["metrics"] if "column" in m["config"]}
    return {name: float(found[name]) for name in kinds}
