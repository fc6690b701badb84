"""Completion factors: what share of a click's bookings is known at its age."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from benchmarks.conversion_delay import AS_OF, click_log
from ml.models.conversion import ConversionBaseline, completion_of, known_share
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
    factors = Completion.fit(age, delay, booked).at(np.arange(HORIZON_DAYS + 1))
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
    factors = Completion.fit(age, delay, booked).pooled
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


def two_cells(rows: int = 300_000) -> tuple[Floats, Floats, Bools, list[str], dict[str, Floats]]:
    """Clicks of two months in two cells, one of which books on the day and the other over ten days."""
    rng = np.random.default_rng(11)
    slow = rng.random(rows) < 0.2
    delay = np.minimum(rng.exponential(np.where(slow, 6.0, 0.3)), HORIZON_DAYS)
    age = rng.uniform(0, 60, rows)
    booked = (rng.random(rows) < 0.05) & (delay <= age)
    cell = np.where(slow, "slow", "fast").tolist()
    return age, delay, booked, cell, {"slow": delay[slow], "fast": delay[~slow]}


def test_each_cell_has_the_curve_of_its_own_bookings() -> None:
    age, delay, booked, cell, truth = two_cells()
    found = Completion.fit(age, delay, booked, cell=cell)
    for name, delays in truth.items():
        for days in (0.5, 2.0, 5.0, 12.0):
            assert found.at([days], [name])[0] == pytest.approx((delays <= days).mean(), abs=0.03)


def test_a_cell_of_few_bookings_is_near_the_pool_and_one_never_seen_is_the_pool() -> None:
    age, delay, booked, cell, _ = two_cells(rows=40_000)
    rare = np.flatnonzero(booked & (delay > 3))[:2]
    for row in rare:
        cell[row] = "rare"
    found = Completion.fit(age, delay, booked, cell=cell)
    pooled, slow, rare_one = (found.at([1.0], [name])[0] for name in ("new", "slow", "rare"))
    assert pooled == found.at([1.0])[0]
    assert slow < rare_one < pooled


def test_the_part_of_a_day_that_a_young_click_has_had_counts() -> None:
    """By whole days, clicks of one day and a half would count as if they had had two."""
    rng = np.random.default_rng(12)
    age, delay = rng.uniform(0, 3, 400_000), rng.exponential(1.0, 400_000)
    booked = (rng.random(len(age)) < 0.05) & (delay <= age)
    factor = Completion.fit(age, delay, booked).at(age)
    full = -np.expm1(-3.0)  # nothing older than three days says how much is still to come after it
    assert booked.sum() / factor.sum() == pytest.approx(0.05 * full, rel=0.03)


def test_learned_on_older_clicks_the_last_three_days_convert_as_they_will() -> None:
    """The guarantee that `benchmarks/conversion_delay.py` measures, in small."""
    log = click_log(np.random.default_rng(4), per_day=4_000)
    rows = log[log["age"] < 3]
    share = known_share(rows, learned_from=log, as_of=AS_OF)
    p = rows["booked"].sum() / share.sum()
    truth = rows["follows"].mean()
    assert rows["booked"].mean() < 0.85 * truth
    assert p == pytest.approx(truth, rel=0.06)


def test_a_model_of_the_last_days_predicts_what_follows_with_the_curve_of_older_clicks() -> None:
    log = click_log(np.random.default_rng(5), per_day=4_000)
    rows = log[log["age"] < 4]
    corrected = ConversionBaseline.prepare(rows, as_of=AS_OF, completion=completion_of(log, as_of=AS_OF))
    naive = ConversionBaseline.prepare(rows, as_of=AS_OF, completion=Completion.none())
    day_old = rows[rows["age"] >= 1]
    truth = day_old["follows"].mean()
    means = [
        ConversionBaseline.fit_prepared(prepared, seed=1).predict(day_old)["p_book"].mean()
        for prepared in (corrected, naive)
    ]
    assert means[0] == pytest.approx(truth, rel=0.06)
    assert means[1] < 0.93 * truth
