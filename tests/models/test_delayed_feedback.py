"""The delayed feedback likelihood finds what made the clicks, where its law of delay holds."""

from __future__ import annotations

import numpy as np
import pytest

from ml.core.errors import NoData
from ml.models.delayed_feedback import Delay, DelayedFeedback, _Problem


def clicks(rows: int = 200_000, *, shape: float = 1.0) -> tuple[np.ndarray, ...]:
    """Clicks of the last five days; those with the flag book twice as often (in odds), and three times as slowly."""
    rng = np.random.default_rng(8)
    flag = rng.random(rows) < 0.5
    x = np.column_stack([np.ones(rows), flag])
    p = 1 / (1 + np.exp(-(-2.0 + np.log(2.0) * flag)))
    delay = rng.weibull(shape, rows) * np.where(flag, 3.0, 1.0)
    age = rng.uniform(0.01, 5.0, rows)
    return x, age, delay, (rng.random(rows) < p) & (delay <= age), p


@pytest.mark.parametrize(("law", "shape"), [("exponential", 1.0), ("weibull", 1.0), ("weibull", 0.6)])
def test_it_finds_the_booking_rate_behind_what_is_still_to_come(law: Delay, shape: float) -> None:
    x, age, delay, booked, p = clicks(shape=shape)
    found = DelayedFeedback.fit(x, x, age=age, delay=delay, booked=booked, horizon=1_000.0, law=law)
    assert booked.mean() < 0.85 * p.mean()
    assert found.probability(x, x).mean() == pytest.approx(p.mean(), rel=0.05)
    assert found.shape == pytest.approx(shape, rel=0.05)
    assert np.exp(-found.rate[1]) == pytest.approx(3.0, rel=0.2)


def test_within_a_horizon_only_what_books_within_it_counts() -> None:
    x, age, delay, booked, p = clicks()
    found = DelayedFeedback.fit(x, x, age=age, delay=delay, booked=booked, horizon=1_000.0, law="exponential")
    short = DelayedFeedback(found.booking, found.rate, found.shape, horizon=1.0)
    assert short.probability(x, x).mean() == pytest.approx(
        (p * -np.expm1(-1.0 / np.where(x[:, 1], 3, 1))).mean(), rel=0.05
    )


@pytest.mark.parametrize("law", ["exponential", "weibull"])
def test_its_gradient_is_the_slope_of_its_loss(law: Delay) -> None:
    x, age, delay, booked, _ = clicks(rows=300)
    problem = _Problem(x, x, age, np.maximum(delay, 1e-3), booked, law)
    theta = np.array([-1.5, 0.3, -0.4, 0.2, 0.1])
    _, gradient = problem.loss(theta)
    for n in range(len(theta) - (law == "exponential")):
        step = np.zeros(5)
        step[n] = 1e-6
        slope = (problem.loss(theta + step)[0] - problem.loss(theta - step)[0]) / 2e-6
        assert gradient[n] == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_clicks_without_a_booking_are_refused() -> None:
    x, age, delay, booked, _ = clicks(rows=100)
    with pytest.raises(NoData, match="clicks that booked"):
        DelayedFeedback.fit(x, x, age=age, delay=delay, booked=booked & False, horizon=30.0, law="weibull")
