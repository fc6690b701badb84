from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from ml.evaluation.metrics import log_loss, net_value_ratio
from ml.promotion.evidence import BidChange
from ml.promotion.measure import (
    Outcomes,
    Predictions,
    TrainingRows,
    count_future_rows,
    measure_bid_change,
    measure_model,
    weighted_quantile,
)

TRAINING = TrainingRows(inputs=("x",), rows=1000, certain=800, corrected=200)


def world(rows: int = 1400) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Probability, label, block and value of each row."""
    rng = np.random.default_rng(8)
    p = rng.beta(2, 4, rows)
    return p, (rng.random(rows) < p).astype(float), np.arange(rows) % 14, rng.lognormal(5, 0.5, rows)


def test_a_value_model_is_measured_in_probability_and_in_money() -> None:
    p, label, block, value = world()
    realised = value * (1 - label)
    found = measure_model(
        "value",
        TRAINING,
        Outcomes(label=label, block=block, value=realised),
        candidate=Predictions(p, value * (1 - p)),
        baseline=Predictions(np.full(1400, 0.33), value * 0.67),
        champion=None,
        seed=1,
    )
    log, money = found.losses
    assert (log.name, money.name) == ("log_loss", "net_value_deviance")
    assert log.candidate == pytest.approx(log_loss(label, p))
    assert log.over_baseline is not None and log.over_baseline.high < 0
    assert log.over_baseline.mid == pytest.approx(log.candidate - (log.baseline or math.nan))
    assert (log.champion, log.over_champion, found.champion_auc) == (None, None, None)
    assert found.calibration is not None
    assert found.calibration.mid == pytest.approx(net_value_ratio(value * (1 - p), realised))
    assert (found.evaluation_rows, found.positives, found.baseline_auc) == (1400, int(label.sum()), 0.5)
    assert (found.inputs, found.training_rows, found.certain_rows, found.corrected_rows) == (("x",), 1000, 800, 200)


def test_a_model_of_probabilities_is_calibrated_in_events() -> None:
    p, label, block, _ = world()
    found = measure_model(
        "click",
        TRAINING,
        Outcomes(label=label, block=block),
        candidate=Predictions(1.2 * p),
        baseline=Predictions(p),
        champion=Predictions(p),
        seed=1,
    )
    assert len(found.losses) == 1
    assert found.losses[0].over_champion == found.losses[0].over_baseline
    assert found.calibration is not None
    assert found.calibration.mid == pytest.approx(1.2 * p.sum() / label.sum())


def test_one_nan_prediction_spoils_every_number_that_it_enters() -> None:
    p, label, block, _ = world()
    bad = p.copy()
    bad[3] = math.nan
    found = measure_model(
        "click",
        TRAINING,
        Outcomes(label, block),
        candidate=Predictions(bad),
        baseline=Predictions(p),
        champion=None,
        seed=1,
    )
    assert found.auc is not None and math.isnan(found.auc)
    assert found.losses[0].candidate is not None and math.isnan(found.losses[0].candidate)
    assert found.losses[0].over_baseline is not None and not found.losses[0].over_baseline.finite
    assert found.calibration is not None and not found.calibration.finite


def table(amounts: list[int], *, volumes: list[float] | None = None, hotels: str = "abcdef") -> pd.DataFrame:
    count = len(amounts)
    return pd.DataFrame({"hotel": list(hotels[:count]), "bid": amounts, "clicks": volumes or [1.0] * count})


def change(old: pd.DataFrame, new: pd.DataFrame) -> BidChange:
    return measure_bid_change("google", old, new, keys=["hotel"], amount="bid", volume="clicks")


def test_the_change_of_bids_is_weighted_by_volume() -> None:
    old = table([100, 100, 100])
    new = table([110, 100, 300], volumes=[50.0, 45.0, 5.0])
    found = change(old, new)
    assert (found.cells, found.matched_share) == (3, 1.0)
    assert found.median_change == pytest.approx(0.1)
    assert found.p99_change == pytest.approx(2.0)
    assert found.spend_change == pytest.approx((50 * 110 + 45 * 100 + 5 * 300) / 10_000 - 1)


def test_cells_that_were_not_published_before_or_at_nothing_count_as_unmatched() -> None:
    found = change(table([100, 0]), table([100, 50, 70], volumes=[6.0, 3.0, 1.0]))
    assert (found.cells, found.matched_share, found.spend_change) == (1, 0.6, 0.0)


def test_a_bid_that_goes_to_nothing_is_a_change_of_one() -> None:
    assert change(table([100]), table([0])).p99_change == 1.0


def test_tables_without_common_volume_have_no_change_rather_than_none_at_all() -> None:
    assert change(table([100]), table([100], hotels="z")) == BidChange("google", cells=0, matched_share=0.0)
    assert change(table([100]), table([100], volumes=[0.0])).matched_share is None


def test_a_cell_that_stands_twice_in_a_table_is_a_mistake_and_not_counted_twice() -> None:
    with pytest.raises(pd.errors.MergeError):
        change(table([100, 100], hotels="aa"), table([100]))


def test_a_weighted_quantile_is_the_quantile_of_the_repeated_values() -> None:
    rng = np.random.default_rng(5)
    values, weights = rng.random(50), rng.integers(1, 6, 50)
    repeated = np.repeat(values, weights)
    for share in (0.1, 0.5, 0.9, 0.99, 1.0):
        assert weighted_quantile(values, weights, share) == np.quantile(repeated, share, method="inverted_cdf")
    assert math.isnan(weighted_quantile([1.0, math.nan], [1.0, 1.0], 0.5))


def test_a_feature_known_after_the_decision_is_counted_once_a_row() -> None:
    decided = np.array(["2025-01-06T10:00", "2025-01-06T10:00", "2025-01-06T10:00"], dtype="datetime64[us]")
    late = np.datetime64("2025-01-06T10:00:00.000001", "us")
    known = np.array([[decided[0], decided[0]], [late, late], [np.datetime64("NaT"), decided[0]]])
    assert count_future_rows(known, decided) == 1
    assert count_future_rows(known[:, 0], decided) == 1
    assert count_future_rows(known[:0], decided[:0]) == 0
