"""The delayed feedback model: whether a click books and how late, fitted together (Chapelle, KDD 2014).

The second way to learn from clicks that may still book; the first are the completion factors of `ml.models.delay`.
With `p(x)` the logistic probability that a click ever books and a Weibull delay of scale `1 / rate(z)` and shape `k`
(1 is the exponential of the paper), a click booked at delay d has the likelihood `p f(d)`, and one of age e without
a booking `1 - p F(e)`. It needs no matured cohort, but a delay of the form that it assumes: where the true delay is
a mixture of hours and weeks, one Weibull is biased (`python -m benchmarks.conversion_delay`), so that it is kept as a
check on the factors and not used for bids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml.core.errors import NoData
from ml.models.numbers import Bools, Floats, sigmoid

Delay = Literal["exponential", "weibull"]

RIDGE = 1.0
_SHORTEST_DAYS = 1.0 / 1440.0
_MAX_RATE = 15.0
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class DelayedFeedback:
    """Fitted coefficients.

    Attributes:
        booking: log-odds of ever booking per column of x, shape (k,).
        rate: logarithm of the rate of booking per day, per column of z, shape (m,).
        shape: of the Weibull; below 1 where most bookings come early and some very late.
        horizon: days within which a booking is counted.
    """

    booking: Floats
    rate: Floats
    shape: float
    horizon: float

    @classmethod
    def fit(
        cls, x: Floats, z: Floats, *, age: Floats, delay: Floats, booked: Bools, horizon: float, law: Delay
    ) -> DelayedFeedback:
        """Ridge-penalised maximum likelihood by L-BFGS, from the base rate; deterministic.

        Args:
            x: what booking depends on, shape (n, k), a column of ones first.
            z: what the delay depends on, shape (n, m), a column of ones first.
            age: days since the click, shape (n,), above 0.
            delay: days to its booking, shape (n,); only read where `booked`.
            booked: whether a booking is known, shape (n,).
            horizon: days within which a booking is counted; ages beyond it count as it.
            law: of the delay.

        Raises:
            NoData: no booking is known, or every click has booked.
        """
        if not booked.any() or booked.all():
            raise NoData("delays need clicks that booked and clicks that did not", next="take more clicks")
        from scipy.optimize import minimize

        problem = _Problem(
            x, z, np.clip(age, _SHORTEST_DAYS, horizon), np.clip(delay, _SHORTEST_DAYS, horizon), booked, law
        )
        start = np.zeros(x.shape[1] + z.shape[1] + 1)
        start[0] = np.log(booked.mean() / (1 - booked.mean()))
        start[x.shape[1]] = -np.log(problem.delay[booked].mean())
        found = minimize(
            problem.loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "ftol": _TOLERANCE, "gtol": 1e-7}
        )
        b, g, log_shape = problem.parts(found.x)
        return cls(b, g, float(np.exp(log_shape)), horizon)

    def probability(self, x: Floats, z: Floats) -> Floats:
        """Probability of a booking within the horizon, shape (n,)."""
        return sigmoid(x @ self.booking) * self.known(z, np.full(len(z), self.horizon))

    def known(self, z: Floats, age: Floats) -> Floats:
        """Of the bookings that ever follow, the share known at an age in days, shape (n,)."""
        with np.errstate(over="ignore"):
            hazard = (np.exp(np.clip(z @ self.rate, -_MAX_RATE, _MAX_RATE)) * age) ** self.shape
        return np.asarray(-np.expm1(-hazard), dtype=np.float64)


@dataclass(frozen=True)
class _Problem:
    """Negative log likelihood and its gradient."""

    x: Floats
    z: Floats
    age: Floats
    delay: Floats
    booked: Bools
    law: Delay

    def parts(self, theta: Floats) -> tuple[Floats, Floats, float]:
        """Coefficients of booking and of the rate, and the logarithm of the shape."""
        k, m = self.x.shape[1], self.z.shape[1]
        return theta[:k], theta[k : k + m], 0.0 if self.law == "exponential" else float(theta[-1])

    def loss(self, theta: Floats) -> tuple[float, Floats]:
        """Per click, so that the tolerance means the same at any size."""
        b, g, log_shape = self.parts(theta)
        shape, rows = np.exp(log_shape), len(self.age)
        p = sigmoid(self.x @ b)
        log_rate = np.clip(self.z @ g, -_MAX_RATE, _MAX_RATE)
        when = np.where(self.booked, self.delay, self.age)
        log_time = log_rate + np.log(when)
        hazard = np.exp(np.minimum(shape * log_time, 700.0))
        share = -np.expm1(-hazard)
        open_ = np.maximum(1.0 - p * share, 1e-300)
        log_p = -np.logaddexp(0.0, -(self.x @ b))
        ended = log_p + log_shape + shape * log_time - np.log(when) - hazard
        loss = -float(np.where(self.booked, ended, np.log(open_)).sum())
        # Derivatives of each term by the log-odds of booking, by the log rate, and by the log shape.
        lean = np.where(self.booked, 1.0 - p, -p * (1.0 - p) * share / open_)
        density = np.where(hazard < 700.0, hazard * np.exp(-hazard), 0.0)
        by_log_hazard = np.where(self.booked, 1.0 - hazard, -p * density / open_)
        by_rate = shape * by_log_hazard
        by_shape = np.where(self.booked, 1.0, 0.0) + by_log_hazard * shape * log_time
        gradient = -np.concatenate([self.x.T @ lean, self.z.T @ by_rate, [by_shape.sum()]])
        if self.law == "exponential":
            gradient[-1] = 0.0
        penalty = np.full(len(theta), RIDGE)
        penalty[[0, len(b), -1]] = 0.0
        return (loss + 0.5 * float((penalty * theta**2).sum())) / rows, (gradient + penalty * theta) / rows
