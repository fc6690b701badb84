"""The baseline: a line in log-odds that is kept as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.core.errors import CorruptArtefact
from ml.models.boosted import Examples
from ml.models.encoding import Column, Encoder
from ml.models.logistic import Logistic, Scale
from ml.models.numbers import sigmoid

COLUMNS = (
    Column("lead", "days", ""),
    Column("kind", "kinds", "", "category"),
    Column("agent", "agents", "", "ranked"),
)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    rows = 4_000
    lead = rng.gamma(1.0, 50.0, rows)
    kind = rng.choice(["a", "b"], rows)
    p = sigmoid(-2 + 0.6 * np.log1p(lead) + np.where(kind == "b", -1.0, 0.0))
    lead[rng.random(rows) < 0.1] = np.nan
    agent = rng.integers(0, 60, rows).astype(str)
    return pd.DataFrame({"lead": lead, "kind": kind, "agent": agent, "label": (rng.random(rows) < p).astype(float)})


@pytest.fixture(scope="module")
def model(frame: pd.DataFrame) -> Logistic:
    encoder = Encoder.fit(COLUMNS, frame)
    return Logistic.fit(encoder, Examples(encoder.matrix(frame), frame["label"].to_numpy(), np.ones(len(frame))))


def test_its_mean_is_the_mean_label(model: Logistic, frame: pd.DataFrame) -> None:
    assert model.probability(frame).mean() == pytest.approx(frame["label"].mean(), abs=1e-4)


def test_it_learns_the_effects(model: Logistic) -> None:
    probe = pd.DataFrame({"lead": [5.0, 200.0, 200.0], "kind": ["a", "a", "b"], "agent": ["1", "1", "1"]})
    short, long, other = model.probability(probe)
    assert long > short + 0.2
    assert other < long - 0.1


def test_what_is_missing_or_unknown_still_has_a_probability(model: Logistic) -> None:
    probe = pd.DataFrame({"lead": [None, np.inf], "kind": ["zzz", None], "agent": [None, "none"]})
    assert ((model.probability(probe) > 0) & (model.probability(probe) < 1)).all()


def test_it_reads_back_from_json(model: Logistic, frame: pd.DataFrame) -> None:
    again = Logistic.from_json(model.to_json())
    np.testing.assert_array_equal(again.probability(frame), model.probability(frame))


def test_a_tail_beyond_training_does_not_run_away(model: Logistic) -> None:
    probe = pd.DataFrame({"lead": [1e3, 1e9], "kind": ["a", "a"], "agent": ["1", "1"]})
    first, second = model.probability(probe)
    assert first == second


@pytest.mark.parametrize("change", ["lose", "add", "nan", "scale"])
def test_coefficients_that_do_not_fit_are_refused(model: Logistic, change: str) -> None:
    value: dict[str, Any] = model.to_json()
    coefficients = value["coefficients"]
    value["coefficients"] = {
        "lose": coefficients[:-1],
        "add": [*coefficients, 1.0],
        "nan": [float("nan"), *coefficients[1:]],
        "scale": coefficients,
    }[change]
    if change == "scale":
        value["scales"] = {}
    with pytest.raises(CorruptArtefact):
        Logistic.from_json(value)


def test_counts_and_money_are_taken_in_logarithms_and_years_are_not() -> None:
    rng = np.random.default_rng(0)
    assert Scale.fit(np.exp(rng.normal(4, 1, 1_000))).logged
    assert not Scale.fit(rng.integers(0, 7, 1_000).astype(float)).logged
    assert not Scale.fit(rng.normal(size=1_000)).logged
