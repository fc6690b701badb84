"""Open bookings are neither stays nor absent: taken as what they are, the share of cancellations is not biased."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from ml.models.maturity import TENTHS, Ages, Hazards, Knowledge, clock
from tests.models.conftest import AS_OF, as_known, make_bookings


@pytest.fixture(scope="module")
def everything() -> pd.DataFrame:
    return make_bookings(20_000, seed=1)


@pytest.fixture(scope="module")
def known(everything: pd.DataFrame) -> pd.DataFrame:
    return as_known(everything, AS_OF)


def recent(rows: pd.DataFrame, days: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return (rows["booked_at"] >= AS_OF - timedelta(days=days)).to_numpy()


@pytest.mark.parametrize("days", [30, 60, 120])
def test_labels_of_young_bookings_are_not_biased(known: pd.DataFrame, days: int) -> None:
    young = recent(known, days)
    truth = known["p_true"].to_numpy()[young].mean()
    label = Knowledge.of(known, as_of=AS_OF).label[young].mean()
    settled = known[young & (known["outcome"] != "open").to_numpy()]
    assert label == pytest.approx(truth, abs=0.03)
    assert (settled["outcome"] == "cancelled").mean() > truth + 0.05  # cancellations become known before stays
    assert (known["outcome"] == "cancelled").to_numpy()[young].mean() < truth - 0.05  # open is not stayed


def test_a_known_cancellation_is_one_and_a_stay_is_zero(known: pd.DataFrame) -> None:
    labels = Knowledge.of(known, as_of=AS_OF)
    outcome = known["outcome"].to_numpy()
    assert (labels.label[outcome == "cancelled"] == 1).all()
    assert (labels.label[outcome == "stayed"] == 0).all()
    to_come = (outcome == "open") & (known["check_in"] > AS_OF).to_numpy()
    assert ((labels.label[to_come] > 0) & (labels.label[to_come] < 1)).all()


def test_expectation_keeps_what_is_certain_and_moves_what_is_open(known: pd.DataFrame) -> None:
    labels = Knowledge.of(known, as_of=AS_OF)
    low, high = (labels.expected(np.full(len(known), p)) for p in (0.2, 0.8))
    outcome = known["outcome"].to_numpy()
    assert (low[outcome == "cancelled"] == 1).all()
    assert (high[outcome == "stayed"] == 0).all()
    waiting = (outcome == "open") & (labels.shown < 0.99)
    assert (low[waiting] < high[waiting]).all()
    assert (high[waiting] <= 0.8 + 1e-9).all()  # having waited makes a cancellation less likely


def test_what_became_known_later_changes_nothing(everything: pd.DataFrame) -> None:
    """Rows that carry the future give the same labels as rows that do not."""
    past = everything[everything["booked_at"] < AS_OF].reset_index(drop=True)
    one, two = Knowledge.of(past, as_of=AS_OF), Knowledge.of(as_known(everything, AS_OF), as_of=AS_OF)
    np.testing.assert_array_equal(one.label, two.label)
    np.testing.assert_array_equal(one.shown, two.shown)


def test_hazards_find_the_share_of_each_lead_time(everything: pd.DataFrame, known: pd.DataFrame) -> None:
    ages = Ages.of(known, as_of=AS_OF)
    total = Hazards.fit(ages).total(ages.cell)
    for low, high in ((2, 8), (8, 31), (31, 91), (91, 181)):
        there = ((known["lead_days"] >= low) & (known["lead_days"] < high)).to_numpy()
        assert total[there].mean() == pytest.approx(known["p_true"].to_numpy()[there].mean(), abs=0.05)


def test_the_clock_runs_from_booking_to_arrival() -> None:
    ages = np.array([0, 1, 6, 11, 400])
    assert clock(ages, np.full(5, 10)).tolist() == [0.0, 1.0, 1.0 + TENTHS / 2, 1.0 + TENTHS, 1.0 + TENTHS]
    assert clock(np.array([0, 1]), np.array([0, 0])).tolist() == [0.0, 1.0 + TENTHS]


def test_recent_rows_weigh_more(known: pd.DataFrame) -> None:
    labels = Knowledge.of(known, as_of=AS_OF)
    assert labels.weight[labels.age == labels.age.min()][0] > labels.weight[labels.age == labels.age.max()][0] > 0
