from __future__ import annotations

import math

import numpy as np
import pytest

from ml.evaluation.metrics import auc
from ml.promotion.measure_paired import auc_difference, difference, measure_fields, measure_profit, measure_slices, wape


def world(rows: int = 6_000) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Probability, label, day and hotel of each row."""
    rng = np.random.default_rng(8)
    p = rng.beta(2, 4, rows)
    return p, (rng.random(rows) < p).astype(float), np.arange(rows) % 14, (np.arange(rows) // 14) % 40


def test_the_difference_of_auc_has_the_error_that_resampling_gives_it() -> None:
    p, label, day, hotel = world()
    rng = np.random.default_rng(1)
    worse = p + rng.normal(0, 0.15, len(p))
    found = auc_difference(label, p, worse, day, hotel)
    assert found.mid == pytest.approx(auc(label, p) - auc(label, worse))
    draws = [rng.integers(0, len(p), len(p)) for _ in range(300)]
    spread = np.std([auc(label[d], p[d]) - auc(label[d], worse[d]) for d in draws])
    assert found.error == pytest.approx(spread, rel=0.4)
    assert auc_difference(label, p, p, day, hotel).mid == 0.0
    assert not auc_difference(np.ones(10), p[:10], p[:10], day[:10], None).finite


def test_slices_add_up_to_the_whole_and_count_their_support() -> None:
    p, label, day, hotel = world()
    ours, theirs = np.abs(label - p), np.abs(label - p) + 0.01 * (day % 2)
    labels = {"parity": np.where(day % 2, "odd", "even").astype(object), "all": np.full(len(p), "x", dtype=object)}
    found = measure_slices(ours, theirs, label, labels, day, hotel)
    assert [(one.field, one.label) for one in found] == [("parity", "even"), ("parity", "odd")]
    assert sum(one.rows for one in found) == len(p) and sum(one.positives for one in found) == int(label.sum())
    assert found[0].difference.mid == pytest.approx(0.0) and found[1].difference.mid == pytest.approx(-0.01)
    whole = difference(ours, theirs, day, hotel).mid
    assert whole == pytest.approx(sum(one.difference.mid * one.rows for one in found) / len(p))


def test_errors_that_cancel_in_the_sum_are_seen_in_the_fields() -> None:
    p, label, day, _ = world()
    odd = np.arange(len(p)) % 2 == 1
    said = p * np.where(odd, 1.3, 0.7)
    half = {"half": np.where(odd, "a", "b").astype(object)}
    high, low = measure_fields(said, label, said, half, day, None)
    assert (high.ratio.mid, low.ratio.mid) == (pytest.approx(1.3, rel=0.05), pytest.approx(0.7, rel=0.05))
    assert said.sum() / label.sum() == pytest.approx(1.0, rel=0.05)


def test_a_worth_that_is_three_times_too_high_loses_profit_on_the_same_clicks() -> None:
    rng = np.random.default_rng(3)
    _, _, day, hotel = world()
    worth = rng.lognormal(13, 0.5, len(day))
    came = np.where(rng.random(len(day)) < 0.05, worth / 0.05, 0.0)
    costs = np.where(np.arange(len(day)) % 10, worth * rng.lognormal(-0.5, 0.3, len(day)), 0.0)
    found = measure_profit(3.0 * worth, worth, came, costs, bookings=int((came > 0).sum()), days=day, hotels=hotel)
    assert found.clicks == int((costs > 0).sum())
    assert found.candidate is not None and found.champion is not None and found.difference is not None
    assert found.difference.mid == pytest.approx(found.candidate / found.champion - 1)
    assert found.difference.p_below() < 0.01
    same = measure_profit(worth, worth, came, costs, bookings=1, days=day, hotels=hotel)
    assert same.difference is not None and (same.difference.mid, same.difference.error) == (0.0, 0.0)


def test_a_prediction_that_is_no_number_spoils_what_it_enters() -> None:
    p, label, day, hotel = world(280)
    bad = p.copy()
    bad[3] = math.nan
    assert not difference(bad, p, day, hotel).finite
    assert not auc_difference(label, bad, p, day, hotel).finite
    assert math.isnan(wape(label, bad)) and math.isnan(wape(np.zeros(3), np.ones(3)))
