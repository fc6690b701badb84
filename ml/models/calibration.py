"""Calibration: a monotone map from a model's probability to one that comes true as often as it says.

Chosen by held-out log loss among the identity, Platt (`logit q = a logit p + b`), beta
(`logit q = a ln p - b ln(1 - p) + c`, Kull et al. 2017) and isotonic regression; kept as JSON parameters and
applied with numpy alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ml.core.errors import CorruptArtefact
from ml.models.newton import fit_logit
from ml.models.numbers import SMALLEST, Bools, Floats, Ints, logit, sigmoid, to_json_floats

MIN_ROWS = 500
"""Fewer rows than this calibrate nothing: the identity."""

MIN_ISOTONIC_POSITIVES = 1_000
"""Isotonic regression has as many parameters as it likes; with fewer positives it learns noise."""

_RIDGE = 1.0
_STANDARD_ERRORS = 5.0
_MAX_KNOTS = 200


class Calibration(Protocol):
    """A fitted map from probability to probability, non-decreasing."""

    def apply(self, p: Floats) -> Floats:
        """Calibrated probabilities, same shape as `p`, within 0 and 1."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Parameters, with the `method` they belong to."""
        ...


@dataclass(frozen=True)
class Identity:
    """Leaves a probability as it is."""

    def apply(self, p: Floats) -> Floats:
        """The same probabilities."""
        return np.asarray(p, dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Only the method's name."""
        return {"method": "identity"}


@dataclass(frozen=True)
class Platt:
    """A straight line in log-odds."""

    slope: float
    intercept: float

    def apply(self, p: Floats) -> Floats:
        """`sigmoid(slope * logit p + intercept)`."""
        return sigmoid(self.slope * logit(p) + self.intercept)

    def to_json(self) -> dict[str, Any]:
        """Slope (at least 0) and intercept, in log-odds."""
        return {"method": "platt", "slope": self.slope, "intercept": self.intercept}


@dataclass(frozen=True)
class Beta:
    """The ratio of two beta densities: a line with separate slopes at both ends."""

    a: float
    b: float
    c: float

    def apply(self, p: Floats) -> Floats:
        """`sigmoid(a ln p - b ln(1 - p) + c)`."""
        inside = np.clip(p, SMALLEST, 1 - SMALLEST)
        return sigmoid(self.a * np.log(inside) - self.b * np.log1p(-inside) + self.c)

    def to_json(self) -> dict[str, Any]:
        """`a` and `b` (at least 0) and `c`."""
        return {"method": "beta", "a": self.a, "b": self.b, "c": self.c}


@dataclass(frozen=True)
class Isotonic:
    """A non-decreasing broken line through `x` (ascending) and `y`, each of shape (knots,)."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def apply(self, p: Floats) -> Floats:
        """Linear between knots, flat outside."""
        return np.asarray(np.interp(p, self.x, self.y), dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """The knots."""
        return {"method": "isotonic", "x": list(self.x), "y": list(self.y)}


def fit_platt(p: Floats, y: Floats, w: Floats) -> Calibration:
    """Platt's line by weighted maximum likelihood; the identity where it would turn the order round."""
    slope, intercept = to_json_floats(_regress(np.column_stack([logit(p), np.ones(len(p))]), y, w, prior=(1.0, 0.0)))
    return Platt(slope, intercept) if slope > 0 else Identity()


def fit_beta(p: Floats, y: Floats, w: Floats) -> Calibration:
    """Beta calibration by weighted maximum likelihood; Platt's line where a slope would be negative."""
    inside = np.clip(p, SMALLEST, 1 - SMALLEST)
    design = np.column_stack([np.log(inside), -np.log1p(-inside), np.ones(len(p))])
    a, b, c = to_json_floats(_regress(design, y, w, prior=(1.0, 1.0, 0.0)))
    return Beta(a, b, c) if a >= 0 and b >= 0 and a + b > 0 else fit_platt(p, y, w)


def fit_isotonic(p: Floats, y: Floats, w: Floats) -> Calibration:
    """Isotonic regression (pool adjacent violators), each pool one knot at its mean, at most 200 knots."""
    from scipy.optimize import isotonic_regression

    order = np.argsort(p, kind="stable")
    pools = isotonic_regression(y[order], weights=w[order])
    starts = np.asarray(pools.blocks, dtype=np.int64)
    weight = np.add.reduceat(w[order], starts[:-1])
    x = np.add.reduceat(w[order] * p[order], starts[:-1]) / weight
    level = np.asarray(pools.x, dtype=np.float64)[starts[:-1]]
    if len(x) > _MAX_KNOTS:
        keep = np.unique(np.linspace(0, len(x) - 1, _MAX_KNOTS).round().astype(int))
        x, level = x[keep], level[keep]
    edge = np.clip(level, SMALLEST, 1 - SMALLEST)
    return Isotonic(tuple(to_json_floats(x)), tuple(to_json_floats(edge)))


FITTERS: Mapping[str, Callable[[Floats, Floats, Floats], Calibration]] = {
    "platt": fit_platt,
    "beta": fit_beta,
    "isotonic": fit_isotonic,
}


def choose(p: Floats, y: Floats, w: Floats, *, blocks: Ints, held_out: Bools) -> Calibration:
    """The method with the least log loss on rows that it was not fitted to, then fitted to all rows.

    A method has to beat the identity by five standard errors of its gain over blocks. Rows of one day are alike (a
    group books fifty rooms at once), and days of one season are: on the real bookings a gain of three standard
    errors over days was gone in the weeks after, and took predicted / realised net value from 1.00 to 0.98.

    Args:
        p: predicted probabilities, shape (n,), from a model that did not train on these rows.
        y: labels, shape (n,), within 0 and 1.
        w: weights, shape (n,), above 0.
        blocks: the day of each row, as a number, shape (n,).
        held_out: shape (n,); the rows that choose, best the latest ones.

    Returns:
        The identity when there are fewer than `MIN_ROWS` rows on either side, or when nothing beats it.
    """
    fit = ~held_out
    if min(int(fit.sum()), int(held_out.sum())) < MIN_ROWS:
        return Identity()
    plain = cross_entropy(p[held_out], y[held_out])
    best, most = "", 0.0
    for name, fitter in FITTERS.items():
        if name == "isotonic" and min(y[fit].sum(), (1 - y[fit]).sum()) < MIN_ISOTONIC_POSITIVES:
            continue
        loss = cross_entropy(fitter(p[fit], y[fit], w[fit]).apply(p[held_out]), y[held_out])
        gain, error = _mean_and_error(plain - loss, w[held_out], blocks[held_out])
        if gain > max(most, _STANDARD_ERRORS * error):
            best, most = name, gain
    return FITTERS[best](p, y, w) if best else Identity()


def cross_entropy(p: Floats, y: Floats) -> Floats:
    """Loss of each row in nats, shape (n,), for labels within 0 and 1."""
    inside = np.clip(p, SMALLEST, 1 - SMALLEST)
    return np.asarray(-(y * np.log(inside) + (1 - y) * np.log1p(-inside)), dtype=np.float64)


def _mean_and_error(values: Floats, w: Floats, blocks: Ints) -> tuple[float, float]:
    """Weighted mean, and its standard error over blocks (the linearised ratio estimator); infinite for one block."""
    _, place = np.unique(blocks, return_inverse=True)
    mean = float(np.average(values, weights=w))
    residual = np.bincount(place, w * (values - mean))
    count = len(residual)
    if count < 2:
        return mean, float("inf")
    return mean, float(np.sqrt(count / (count - 1) * np.sum(residual**2)) / w.sum())


def from_json(value: Mapping[str, Any]) -> Calibration:
    """Read back `to_json`.

    Raises:
        CorruptArtefact: an unknown method, a parameter that is missing, not finite or not monotone.
    """
    try:
        fitted = _construct(value)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptArtefact("a calibration is not of the expected form", next="train the version again") from error
    probe = fitted.apply(np.linspace(0.0, 1.0, 101))
    if not np.isfinite(probe).all() or (np.diff(probe) < -1e-12).any() or probe[0] < 0 or probe[-1] > 1:
        raise CorruptArtefact(
            "a calibration is not a non-decreasing map of probabilities", next="train the version again"
        )
    return fitted


def _construct(value: Mapping[str, Any]) -> Calibration:
    match value["method"]:
        case "identity":
            return Identity()
        case "platt":
            return Platt(float(value["slope"]), float(value["intercept"]))
        case "beta":
            return Beta(float(value["a"]), float(value["b"]), float(value["c"]))
        case "isotonic":
            x, y = tuple(map(float, value["x"])), tuple(map(float, value["y"]))
            if not x or len(x) != len(y) or list(x) != sorted(x):
                raise ValueError("knots")
            return Isotonic(x, y)
    raise ValueError("method")


def _regress(design: Floats, y: Floats, w: Floats, *, prior: tuple[float, ...]) -> Floats:
    """Coefficients near `prior` (a weak ridge around the identity): `prior` enters as the offset."""
    start = np.asarray(prior, dtype=np.float64)
    scaled = w / w.mean()
    return start + fit_logit(design, y, weights=scaled, offset=design @ start, penalty=_RIDGE)
