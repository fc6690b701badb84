"""A field that needs a map of its own gets one, the others stay as they are, and money weighs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ml.core.errors import CorruptArtefact
from ml.models.calibration import Identity, Platt
from ml.models.field_calibration import FieldCalibration, field_of, value_weights
from ml.models.numbers import Floats, Ints, logit, sigmoid

STARTS = (10.0, 30.0)


def sample() -> tuple[Floats, Floats, Floats, Ints]:
    """Lead times, probabilities, labels that are wrong in the middle field alone, and a day for each row."""
    rng = np.random.default_rng(2)
    lead = rng.uniform(0, 60, 30_000)
    p = sigmoid(rng.normal(-0.5, 1.2, len(lead)))
    middle = (lead >= 10) & (lead < 30)
    y = (rng.random(len(lead)) < np.where(middle, sigmoid(logit(p) + 1.0), p)).astype(float)
    return lead, p, y, np.arange(len(lead)) * 60 // len(lead)


def test_only_the_field_that_is_wrong_is_mended() -> None:
    lead, p, y, day = sample()
    found = FieldCalibration.choose("lead_days", STARTS, lead, p, y, np.ones_like(p), blocks=day, held_out=day >= 30)
    near, middle, far = found.maps
    assert near == far == Identity()
    assert middle != Identity()
    mended = found.apply(p, lead)
    inside = (lead >= 10) & (lead < 30)
    assert mended[inside].mean() == pytest.approx(y[inside].mean(), abs=0.01)
    np.testing.assert_array_equal(mended[~inside], p[~inside])


def test_a_missing_value_keeps_its_probability() -> None:
    fitted = FieldCalibration("lead_days", (10.0,), (Platt(1.0, 1.0), Platt(1.0, -1.0)))
    p = np.full(3, 0.5)
    said = fitted.apply(p, np.array([5.0, 50.0, np.nan]))
    assert said[0] > 0.5 > said[1]
    assert said[2] == 0.5
    assert field_of(np.array([9.9, 10.0, np.nan]), (10.0,)).tolist() == [0, 1, -1]


def test_dear_bookings_weigh_more_and_worthless_ones_a_little() -> None:
    found = value_weights(np.ones(5), np.array([100.0, 300.0, 0.0, -5.0, np.nan]))
    assert found[1] == pytest.approx(3 * found[0])
    assert (found > 0).all()
    assert found[2] == found[3] == found[4] < found[0] / 10


def test_it_reads_back() -> None:
    fitted = FieldCalibration("lead_days", (10.0, 30.0), (Platt(0.9, 0.1), Identity(), Identity()))
    assert FieldCalibration.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"column": "x", "starts": [1.0], "maps": [{"method": "identity"}]},
        {"column": "x", "starts": [2.0, 1.0], "maps": [{"method": "identity"}] * 3},
        {"column": "x", "starts": [], "maps": [{"method": "pickle"}]},
        {"column": "x", "starts": ["near"], "maps": []},
    ],
)
def test_a_calibration_by_field_that_is_none_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(CorruptArtefact):
        FieldCalibration.from_json(value)
