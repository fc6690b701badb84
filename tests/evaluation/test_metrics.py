from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from ml.core.errors import UsageError
from ml.evaluation import metrics


def test_auc_is_the_share_of_pairs_in_the_right_order_ties_counting_half() -> None:
    rng = np.random.default_rng(1)
    labels, scores = rng.integers(0, 2, 200), rng.integers(0, 20, 200).astype(float)
    pairs = [
        (s > t) + 0.5 * (s == t)
        for s, y in zip(scores, labels, strict=True)
        for t, z in zip(scores, labels, strict=True)
        if y == 1 and z == 0
    ]
    assert metrics.auc(labels, scores) == pytest.approx(np.mean(pairs), abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "scores"),
    [([1, 1], [0.1, 0.2]), ([0, 0], [0.1, 0.2]), ([], []), ([0, 1], [0.1, math.nan]), ([0, 2], [0.1, 0.2])],
    ids=["no negative", "no positive", "no rows", "NaN score", "label 2"],
)
def test_auc_that_rows_do_not_determine_is_nan(labels: list[float], scores: list[float]) -> None:
    assert math.isnan(metrics.auc(labels, scores))


def test_log_loss_is_the_mean_negative_log_likelihood() -> None:
    assert metrics.log_loss([1, 0], [0.8, 0.4]) == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)


def test_a_certain_and_wrong_prediction_costs_much_but_not_infinity() -> None:
    assert metrics.log_losses([1, 0], [0.0, 1.0]) == pytest.approx([-math.log(1e-12)] * 2, rel=1e-3)


@pytest.mark.parametrize("probability", [math.nan, -0.01, 1.01, math.inf])
def test_what_is_no_probability_has_no_loss(probability: float) -> None:
    assert math.isnan(metrics.log_loss([1, 0, 1], [0.5, 0.5, probability]))


def test_a_mean_of_no_losses_is_nan() -> None:
    assert math.isnan(metrics.log_loss([], []))


def test_the_expected_value_minimises_the_value_deviance_also_where_most_values_are_zero() -> None:
    rng = np.random.default_rng(3)
    realised = np.where(rng.random(5000) < 0.4, 0.0, rng.lognormal(5, 1, 5000))
    level = realised.mean()
    losses = {f: metrics.value_deviances(realised, np.full(5000, level * f)).mean() for f in (0.7, 0.9, 1.0, 1.1, 1.5)}
    assert min(losses, key=losses.__getitem__) == 1.0


def test_value_deviance_of_a_perfect_prediction_is_zero_and_of_an_impossible_one_infinite() -> None:
    assert metrics.value_deviances([0.0, 5.0], [0.0, 5.0]).tolist() == [0.0, 0.0]
    assert metrics.value_deviances([5.0], [0.0]).tolist() == [math.inf]


@pytest.mark.parametrize("pair", [(-1.0, 1.0), (1.0, -1.0), (math.nan, 1.0), (1.0, math.nan), (1.0, math.inf)])
def test_value_deviance_of_no_value_is_nan(pair: tuple[float, float]) -> None:
    assert math.isnan(metrics.value_deviances([pair[0]], [pair[1]])[0])


def test_net_value_ratio_without_realised_value_is_nan() -> None:
    assert math.isnan(metrics.net_value_ratio([1.0], [0.0]))


def test_calibration_table_has_bins_of_equal_size_in_the_order_of_the_predictions() -> None:
    rng = np.random.default_rng(4)
    predicted = rng.random(1003)
    realised = (rng.random(1003) < predicted).astype(float)
    table = metrics.calibration_table(realised, predicted, bins=10)
    assert [part.rows for part in table] == [101] * 3 + [100] * 7
    assert all(a.high <= b.low for a, b in itertools.pairwise(table))
    assert sum(p.rows * p.realised for p in table) == pytest.approx(realised.sum())
    assert metrics.calibration_error(table) < 0.06


def test_calibration_error_is_the_distance_between_promise_and_outcome() -> None:
    table = metrics.calibration_table([0, 0, 1, 1], [0.1, 0.1, 0.7, 0.7], bins=2)
    assert metrics.calibration_error(table) == pytest.approx((0.1 + 0.3) / 2)
    assert table[0].as_json() == {"low": 0.1, "high": 0.1, "rows": 2, "predicted": 0.1, "realised": 0.0}


def test_calibration_of_no_rows_is_nan_and_of_nan_is_refused() -> None:
    assert math.isnan(metrics.calibration_error(metrics.calibration_table([], [])))
    with pytest.raises(UsageError):
        metrics.calibration_table([1.0], [math.nan])


def test_unequal_lengths_are_refused_not_broadcast() -> None:
    with pytest.raises(UsageError, match="1 outcomes cannot be compared with 2"):
        metrics.log_losses([1], [0.5, 0.5])
