"""Reference statistics: how a model's columns and predictions were distributed when it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ml.models.encoding import Encoder, as_numbers
from ml.models.numbers import Floats, to_json_floats

BINS = 10
MAX_CATEGORIES = 50


def reference(
    encoder: Encoder, frame: pd.DataFrame, predictions: Mapping[str, Floats], *, importance: Mapping[str, float]
) -> dict[str, Any]:
    """Statistics of a model's columns and of its predictions.

    Returns:
        `rows`; `features`: per column its `kind`, `null_share`, `importance` (share of the gain, 0 to 1), and
        either `edges`, `shares`, `mean`, `deviation` of a number or `shares` of the 50 most frequent values of
        a category; `predictions`: the same of each output.
    """
    features = {
        column.name: {
            "kind": column.kind,
            "importance": float(importance.get(column.name, 0.0)),
            **(
                number_statistics(as_numbers(frame[column.name]))
                if column.kind == "number"
                else category_statistics(frame[column.name])
            ),
        }
        for column in encoder.columns
    }
    return {
        "rows": len(frame),
        "features": features,
        "predictions": {name: {"kind": "number", **number_statistics(values)} for name, values in predictions.items()},
    }


def number_statistics(values: Floats) -> dict[str, Any]:
    """Decile edges (inner, at most 9, ascending), the share of rows between them, mean, deviation, null share.

    Values that are not finite count as null. Shares are of the rows that are not null.
    """
    seen = values[np.isfinite(values)]
    null_share = 1.0 - len(seen) / len(values) if len(values) else 1.0
    if not len(seen):
        return {"null_share": null_share, "edges": [], "shares": [], "mean": None, "deviation": None}
    edges = np.unique(np.quantile(seen, np.linspace(0, 1, BINS + 1)[1:-1]))
    counts = np.bincount(np.searchsorted(edges, seen, side="right"), minlength=len(edges) + 1)
    mean, deviation = to_json_floats([seen.mean(), seen.std()])
    return {
        "null_share": round(null_share, 6),
        "edges": to_json_floats(edges),
        "shares": to_json_floats(counts / len(seen)),
        "mean": mean,
        "deviation": deviation,
    }


def category_statistics(values: pd.Series[Any]) -> dict[str, Any]:
    """Share of each of the 50 most frequent values among the rows that are not null, and the null share."""
    seen = values.dropna().astype(str)
    counts = seen.value_counts()
    top = sorted(counts.index, key=lambda name: (-int(counts[name]), name))[:MAX_CATEGORIES]
    null_share = 1.0 - len(seen) / len(values) if len(values) else 1.0
    return {
        "null_share": round(null_share, 6),
        "shares": {name: to_json_floats([counts[name] / len(seen)])[0] for name in top},
    }
