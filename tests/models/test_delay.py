"""Completion factors: what share of a click's bookings is known at its age."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from ml.models.conversion import known_share
from ml.models.delay import HORIZON_DAYS, Completion
from ml.models.numbers import Bools, Floats, Ints


def clicks(rows: int = 200_000, *, window: int = 14) -> tuple[Ints, Ints, Bools, Floats]:
    """Clicks of the last `window` days, 10 % of which book: 60 % on their day, the rest over the days to come."""
    rng = np.random.default_rng(4)
    delay = np.where(rng.random(rows) < 0.6, 0, 1 + rng.geometric(0.4, rows)).clip(max=HORIZON_DAYS)
    age = rng.integers(1, window + 1, rows)
    books = rng.random(rows) < 0.1
    return age, delay, books & (delay <= age), delay.astype(float)


def test_it_finds_the_curve_behind_what_is_cut_off() -> None:
    age, delay, booked, true_delay = clicks()
    factors = Completion.fit(age, delay, booked).factors
    truth = np.array([(true_delay <= day).mean() for day in range(HORIZON_DAYS + 1)])
    np.testing.assert_allclose(factors[:14], truth[:14], atol=0.02)


def test_corrected_for_it_young_clicks_convert_as_old_ones_do() -> None:
    age, delay, booked, _ = clicks(window=7)
    factor = Completion.fit(age, delay, booked).at(age)
    naive, corrected = booked.mean(), booked.sum() / factor.sum()
    assert naive < 0.095
    assert corrected == pytest.approx(0.1, rel=0.03)


def test_it_never_falls_and_ends_at_one() -> None:
    age, delay, booked, _ = clicks(rows=2_000)
    factors = Completion.fit(age, delay, booked).factors
    assert (np.diff(factors) >= 0).all()
    assert factors[-1] == 1.0
    assert Completion.fit(age, delay, booked).at(np.array([10_000])).tolist() == [1.0]


def test_without_a_booking_nothing_is_corrected() -> None:
    nobody = np.zeros(100, dtype=bool)
    ages = np.arange(100) % 9
    assert Completion.fit(ages, ages, nobody).at(ages).tolist() == [1.0] * 100


def test_clicks_of_which_some_bookings_are_still_to_come_are_judged_by_the_share_that_is_known() -> None:
    """Without the share a right probability would look too high on them."""
    as_of = datetime(2026, 3, 1, tzinfo=UTC)
    age, delay, booked, true_delay = clicks(window=40)
    clicked = pd.Timestamp(as_of) - pd.to_timedelta(age, unit="D")
    known = pd.Series(clicked + pd.to_timedelta(delay, unit="D")).where(booked)
    rows = pd.DataFrame({"click_known_at": clicked, "booking_known_at": known})
    young = (age >= 3) & (age <= 4)
    share = known_share(rows[young], learned_from=rows, as_of=as_of)
    truth = (true_delay[young] <= age[young]).mean()
    assert truth < 0.95
    assert share.mean() == pytest.approx(truth, abs=0.01)
