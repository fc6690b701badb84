"""Open bookings count as what they are: the likelihood, its gradient, and what an open booking will still come to."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.core.errors import CorruptArtefact
from ml.models.maturity import Knowledge, still_cancels
from ml.models.numbers import Floats, sigmoid
from ml.models.survival import Timing, log_likelihood, objective
from ml.models.value import ValueModel
from tests.models.conftest import AS_OF, as_known, make_bookings


@pytest.fixture(scope="module")
def everything() -> pd.DataFrame:
    return make_bookings(12_000, seed=5)


@pytest.fixture(scope="module")
def known(everything: pd.DataFrame) -> Knowledge:
    return Knowledge.of(as_known(everything, AS_OF), as_of=AS_OF)


@pytest.fixture(scope="module")
def model(everything: pd.DataFrame) -> ValueModel:
    return ValueModel.fit(as_known(everything, AS_OF), as_of=AS_OF, seed=7)


def test_the_gradient_is_that_of_the_likelihood(known: Knowledge) -> None:
    rng = np.random.default_rng(1)
    margin = rng.normal(-0.5, 1.0, len(known.age))
    weights = rng.uniform(0.5, 1.0, len(margin))
    gradient, curvature = objective(known, weights)(margin, None)
    step = 1e-5

    def loss(at: Floats) -> Floats:
        return -weights * log_likelihood(sigmoid(at), known)

    numeric = (loss(margin + step) - loss(margin - step)) / (2 * step)
    np.testing.assert_allclose(gradient, numeric, atol=1e-6)
    assert (curvature > 0).all()
    assert (~known.settled).sum() > 500


def test_an_open_booking_that_has_shown_nothing_teaches_nothing(known: Knowledge) -> None:
    fresh = Knowledge(**{**known.__dict__, "shown": np.where(known.settled, 1.0, 0.0)})
    gradient, _ = objective(fresh, known.weight)(np.zeros(len(known.age)), None)
    np.testing.assert_array_equal(gradient[~known.settled], 0.0)
    assert (gradient[known.settled] != 0).all()


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_waiting_makes_a_cancellation_less_likely(p: float) -> None:
    shown = np.linspace(0.0, 1.0, 11)
    still = still_cancels(np.full(11, p), shown)
    assert still[0] == p
    assert still[-1] == 0.0
    assert (np.diff(still) <= 0).all()
    assert ((still >= 0) & (still <= 1)).all()


def test_open_bookings_end_cancelled_as_often_as_it_says(everything: pd.DataFrame, model: ValueModel) -> None:
    past = as_known(everything, AS_OF)
    waiting = ((past["outcome"] == "open") & (past["check_in"] > AS_OF)).to_numpy()
    truth = everything[everything["booked_at"] < AS_OF].reset_index(drop=True)
    ends = (truth["outcome"] == "cancelled").to_numpy()[waiting]
    said = model.open_p_cancel(past[waiting], as_of=AS_OF).to_numpy()
    at_booking = model.predict(past[waiting])["p_cancel"].to_numpy()
    assert waiting.sum() > 400
    assert said.mean() == pytest.approx(ends.mean(), abs=0.04)
    assert at_booking.mean() > ends.mean() + 0.05  # what was known at booking is too dark once it has waited
    assert (said <= at_booking + 1e-12).all()


def test_an_open_booking_ages_to_certainty(everything: pd.DataFrame, model: ValueModel) -> None:
    rows = as_known(everything, AS_OF).tail(50)
    over = rows["check_in"].max().to_pydatetime() + timedelta(days=2)
    assert model.open_p_cancel(rows, as_of=over).to_numpy() == pytest.approx(0.0, abs=1e-9)
    pd.testing.assert_index_equal(model.open_p_cancel(rows, as_of=AS_OF).index, rows.index)


def test_timing_tells_the_share_shown_as_training_saw_it(everything: pd.DataFrame, known: Knowledge) -> None:
    past = as_known(everything, AS_OF).sort_values(["booked_at", "booking_id"], ignore_index=True)
    fresh = Knowledge.of(past, as_of=AS_OF)
    shown = Timing.of(fresh).shown(past, fresh.age)
    np.testing.assert_allclose(shown[~fresh.settled], fresh.shown[~fresh.settled], atol=1e-9)


def test_timing_reads_back(known: Knowledge) -> None:
    timing = Timing.of(known)
    again = Timing.from_json(json.loads(json.dumps(timing.to_json())))
    assert again.segments == timing.segments
    np.testing.assert_array_equal(again.hazards.cumulative, timing.hazards.cumulative)


@pytest.mark.parametrize(
    "change",
    [
        lambda curves: curves[:-1],
        lambda curves: [row[::-1] for row in curves],
        lambda curves: [[1.0 + point for point in row] for row in curves],
        lambda curves: [[float("nan") for _ in row] for row in curves],
        lambda curves: str(len(curves)),
    ],
)
def test_timing_that_is_none_is_refused(known: Knowledge, change: Any) -> None:
    value = Timing.of(known).to_json()
    with pytest.raises(CorruptArtefact):
        Timing.from_json({**value, "cumulative": change(value["cumulative"])})
