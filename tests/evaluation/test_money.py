"""An error of calibration has a price, and an error upwards has the higher one."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.core.errors import UsageError
from ml.evaluation.money import (
    FACTORS,
    PROFIT,
    PROFIT_SHARE,
    SPEND,
    asymmetry,
    money_by_field,
    profit_kept,
    spend_moved,
    total_cost,
)


def test_the_curves_run_through_the_measured_points() -> None:
    np.testing.assert_allclose(profit_kept(FACTORS), PROFIT)
    np.testing.assert_allclose(spend_moved(FACTORS), SPEND)


@given(st.floats(0.0, 20.0))
def test_no_error_earns_more_than_the_truth(factor: float) -> None:
    assert float(profit_kept(factor)) <= 1.0
    assert float(spend_moved(factor)) >= 0.0


@given(st.floats(0.0, 5.0), st.floats(0.0, 5.0))
def test_a_higher_value_always_spends_more(one: float, two: float) -> None:
    low, high = min(one, two), max(one, two)
    assert float(spend_moved(low)) <= float(spend_moved(high)) + 1e-12


@pytest.mark.parametrize("row", asymmetry(), ids=lambda row: str(row["error"]))
def test_promising_too_much_costs_at_least_as_much_as_promising_too_little(row: dict[str, float]) -> None:
    # At 20 to 30 % the prototype measured both sides within a point of each other.
    assert row["over_lost"] > row["under_lost"] - 0.015
    assert row["over_spend"] > 1 > row["under_spend"]


def test_small_errors_upwards_cost_more_and_large_ones_far_more() -> None:
    table = {row["error"]: row for row in asymmetry()}
    assert table[0.10]["over_lost"] > 1.4 * table[0.10]["under_lost"]
    assert float(1 - profit_kept(2.0)) > 4 * float(1 - profit_kept(0.5))


@pytest.mark.parametrize("error", [0.0, 1.0, -0.1, math.nan])
def test_an_error_that_is_no_share_is_refused(error: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        asymmetry([error])


def test_errors_of_fields_do_not_cancel_in_the_cost() -> None:
    realised = np.full(200, 100.0)
    field = np.repeat(["near", "far"], 100)
    predicted = np.where(field == "near", 150.0, 50.0)
    blocks = np.tile(np.arange(10), 20)
    near_and_far = money_by_field(predicted, realised, field, blocks, seed=1)
    together = money_by_field(predicted, realised, np.full(200, "all"), blocks, seed=1)
    assert [row.name for row in near_and_far] == ["far", "near"]
    assert total_cost(together)["total"] == 0.0
    found = total_cost(near_and_far)
    assert found["over"] == pytest.approx(0.29 * PROFIT_SHARE * 10_000, abs=0.01)
    assert found["under"] == pytest.approx(0.25 * PROFIT_SHARE * 10_000, abs=0.01)
    assert found["total"] == pytest.approx(found["over"] + found["under"], abs=0.011)


def test_a_field_that_realised_nothing_has_no_cost_and_says_so() -> None:
    (row,) = money_by_field([10.0, 20.0], [0.0, 0.0], ["x", "x"], [1, 2], seed=1)
    assert math.isnan(row.cost)
    plain = json.loads(json.dumps(row.as_json(), allow_nan=False))
    assert plain["cost"] is None
    assert plain["net_value_ratio"] is None
    assert total_cost([row]) == {"over": 0.0, "under": 0.0, "total": 0.0}


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(UsageError, match="length"):
        money_by_field([1.0], [1.0, 2.0], ["x"], [1], seed=1)


def test_the_same_seed_gives_the_same_interval() -> None:
    rng = np.random.default_rng(3)
    arguments = (rng.random(500), rng.random(500), np.full(500, "a"), rng.integers(0, 12, 500))
    assert money_by_field(*arguments, seed=4) == money_by_field(*arguments, seed=4)
