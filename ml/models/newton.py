"""Weighted logistic regression by Newton's method: soft labels and known offsets, which sklearn's has not."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import cast

import numpy as np

from ml.models.numbers import Floats, sigmoid

_STEPS = 50
_GAIN = 1e-12
_HALVINGS = 20


def fit_logit(
    design: Floats,
    labels: Floats,
    *,
    weights: Floats | None = None,
    offset: Floats | None = None,
    penalty: Floats | float = 0.0,
    start: Floats | None = None,
) -> Floats:
    """Coefficients b that minimise `sum w * cross-entropy(y, sigmoid(offset + X b)) + sum penalty / 2 * b**2`.

    Args:
        design: X, shape (n, k); put a column of ones in it for an intercept.
        labels: y, shape (n,), within 0 and 1.
        weights: w, shape (n,), at least 0; none means 1.
        offset: shape (n,), log-odds that hold already; none means 0.
        penalty: ridge penalty per coefficient, shape (k,) or one number.
        start: coefficients to begin at, shape (k,); none means 0.

    Returns:
        Shape (k,). Iteratively reweighted least squares with step halving; stops when a step would gain less than
        1e-12 of the loss, or after 50 steps.
    """
    with _one_thread():
        return _minimise(design, labels, weights=weights, offset=offset, penalty=penalty, start=start)


def _minimise(
    design: Floats,
    labels: Floats,
    *,
    weights: Floats | None,
    offset: Floats | None,
    penalty: Floats | float,
    start: Floats | None,
) -> Floats:
    rows, size = design.shape
    w = np.ones(rows) if weights is None else weights
    base = np.zeros(rows) if offset is None else offset
    ridge = np.broadcast_to(np.asarray(penalty, dtype=np.float64), (size,))
    b = np.zeros(size) if start is None else start.copy()
    loss = _loss(design, labels, w, base, ridge, b)
    for _ in range(_STEPS):
        p = sigmoid(base + design @ b)
        gradient = design.T @ (w * (p - labels)) + ridge * b
        scaled = design * np.sqrt(w * p * (1 - p))[:, None]
        step = _solve(scaled.T @ scaled + np.diag(ridge), gradient)
        if float(gradient @ step) < _GAIN * max(loss, 1.0):
            return b - step
        for _ in range(_HALVINGS):
            tried = _loss(design, labels, w, base, ridge, b - step)
            if tried <= loss + abs(loss) * 1e-14:
                break
            step = step / 2
        else:
            break
        b, loss = b - step, tried
    return b


def _one_thread() -> AbstractContextManager[object]:
    """Linear algebra on one thread: its sums then come out the same on any number of cores."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    return cast("AbstractContextManager[object]", threadpool_limits(limits=1, user_api="blas"))


def _loss(design: Floats, labels: Floats, w: Floats, base: Floats, ridge: Floats, b: Floats) -> float:
    margin = base + design @ b
    return float(np.sum(w * (np.logaddexp(0.0, margin) - labels * margin)) + 0.5 * np.sum(ridge * b * b))


def _solve(curvature: Floats, gradient: Floats) -> Floats:
    """The Newton step; a jitter on the diagonal where two columns say the same."""
    jitter = 1e-12 * max(float(np.trace(curvature)) / len(curvature), 1e-12)
    return np.asarray(np.linalg.solve(curvature + jitter * np.eye(len(curvature)), gradient), dtype=np.float64)
