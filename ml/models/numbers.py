"""Array types and the two functions that map a probability to log-odds and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Times = npt.NDArray[np.datetime64]
"""Instants, `datetime64[us]`, UTC; NaT where missing."""

SMALLEST = 1e-7
"""A probability nearer than this to 0 or 1 is taken as this near, so that its log-odds stay finite."""

_SIGNIFICANT_DIGITS = 12


def logit(p: Floats) -> Floats:
    """Log-odds of probabilities, clipped away from 0 and 1 by `SMALLEST`; any shape."""
    inside = np.minimum(np.maximum(p, SMALLEST), 1 - SMALLEST)
    return np.asarray(np.log(inside) - np.log1p(-inside), dtype=np.float64)


def sigmoid(margin: Floats) -> Floats:
    """Probabilities of log-odds, without overflow; any shape.

    >>> sigmoid(np.array([0.0, -1000.0])).tolist()
    [0.5, 0.0]
    """
    small = np.exp(-np.abs(margin))
    return np.asarray(np.where(margin >= 0, 1.0, small) / (1.0 + small), dtype=np.float64)


def to_json_floats(values: npt.ArrayLike) -> list[Any]:
    """Numbers for a JSON artefact, to 12 significant digits: more is noise of the linear algebra library."""
    rounded: list[Any] = [
        float(f"{value:.{_SIGNIFICANT_DIGITS}g}") for value in np.asarray(values, dtype=float).ravel()
    ]
    return rounded
