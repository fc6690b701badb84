"""Calibration maps are monotone probabilities, chosen by what they do on rows they were not fitted to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.core.errors import CorruptArtefact
from ml.models.calibration import (
    FITTERS,
    Beta,
    Identity,
    Isotonic,
    Platt,
    choose,
    cross_entropy,
    from_json,
)
from ml.models.numbers import Floats, Ints, logit, sigmoid

ROWS = 20_000


def sample(distort: Any, *, rows: int = ROWS) -> tuple[Floats, Floats, Ints]:
    """Probabilities, labels drawn from `distort` of them, and a day for each row."""
    rng = np.random.default_rng(11)
    p = sigmoid(rng.normal(-0.5, 1.2, rows))
    return p, (rng.random(rows) < distort(p)).astype(float), np.arange(rows) * 60 // rows


def chosen(distort: Any, **given: Any) -> Any:
    p, y, day = sample(distort, **given)
    return choose(p, y, np.ones_like(p), blocks=day, held_out=day >= 30)


@pytest.mark.parametrize("name", FITTERS)
def test_each_method_mends_a_model_that_is_too_sure(name: str) -> None:
    p, y, _ = sample(lambda p: sigmoid(0.5 * logit(p) + 0.4))
    fitted = FITTERS[name](p, y, np.ones_like(p))
    assert cross_entropy(fitted.apply(p), y).mean() < cross_entropy(p, y).mean() - 0.01
    assert fitted.apply(p).mean() == pytest.approx(y.mean(), abs=2e-3)


def test_platt_finds_the_line() -> None:
    p, y, _ = sample(lambda p: sigmoid(0.5 * logit(p) + 0.4))
    fitted = FITTERS["platt"](p, y, np.ones_like(p))
    assert isinstance(fitted, Platt)
    assert (fitted.slope, fitted.intercept) == pytest.approx((0.5, 0.4), abs=0.06)


def test_a_calibrated_model_is_left_alone() -> None:
    assert chosen(lambda p: p) == Identity()


def test_a_distorted_model_is_mended() -> None:
    assert chosen(lambda p: sigmoid(0.5 * logit(p) + 0.4)) != Identity()


def test_one_odd_day_changes_nothing() -> None:
    """A group that cancels on one day of the choice is no reason to move every other probability."""
    p, y, day = sample(lambda p: p)
    y = np.where((day == 45) | (day == 12), 1.0, y)
    assert choose(p, y, np.ones_like(p), blocks=day, held_out=day >= 30) == Identity()


def test_too_few_rows_calibrate_nothing() -> None:
    assert chosen(np.sqrt, rows=600) == Identity()


def test_weights_count() -> None:
    p, y, _ = sample(lambda p: p)
    heavy = FITTERS["platt"](p, y, np.where(y == 1, 3.0, 1.0))
    assert heavy.apply(p).mean() > p.mean() + 0.1


MAPS = [
    Identity(),
    Platt(0.7, -0.2),
    Beta(0.8, 1.3, 0.1),
    Isotonic((0.1, 0.4, 0.9), (0.2, 0.2, 0.7)),
]


@pytest.mark.parametrize("fitted", MAPS)
def test_it_reads_back_from_json(fitted: Any) -> None:
    assert from_json(fitted.to_json()) == fitted


@pytest.mark.parametrize("fitted", MAPS)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_it_maps_probabilities_to_probabilities_in_their_order(fitted: Any, values: list[float]) -> None:
    mapped = fitted.apply(np.sort(np.array(values)))
    assert ((mapped >= 0) & (mapped <= 1)).all()
    assert (np.diff(mapped) >= -1e-12).all()


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"method": "pickle"},
        {"method": "platt", "slope": 1.0},
        {"method": "platt", "slope": -1.0, "intercept": 0.0},
        {"method": "platt", "slope": float("nan"), "intercept": 0.0},
        {"method": "beta", "a": -1.0, "b": 0.0, "c": 0.0},
        {"method": "isotonic", "x": [0.5, 0.1], "y": [0.1, 0.2]},
        {"method": "isotonic", "x": [0.1, 0.5], "y": [0.9, 0.2]},
        {"method": "isotonic", "x": [], "y": []},
        {"method": "isotonic", "x": [0.1], "y": [7.0]},
    ],
)
def test_a_calibration_that_is_none_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(CorruptArtefact):
        from_json(value)
