from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from ml.core.errors import UsageError
from ml.core.verdict import Verdict
from ml.evaluation.interval import not_worse
from ml.evaluation.paired import Interval, paired_bootstrap, ratio_bootstrap

MARGIN = 0.005


def simulate(pairs: int, *, days: int, mean: float, seed: int = 11) -> Counter[Verdict]:
    """Verdicts of `not_worse` on simulated pairs of models whose true difference of loss is `mean`.

    About 40 rows a day; half of the variance of a day's mean is shared by its rows and has heavy tails
    (Student's t with 4 degrees of freedom, scaled to standard deviation 0.008).
    """
    rng = np.random.default_rng(seed)
    verdicts: Counter[Verdict] = Counter()
    for pair in range(pairs):
        rows = rng.poisson(40, days) + 1
        day_effect = rng.standard_t(4, days) / math.sqrt(2) * 0.008
        day = np.repeat(np.arange(days), rows)
        loss_b = rng.gamma(2, 0.25, len(day))
        loss_a = loss_b + mean + day_effect[day] + rng.normal(0, 0.05, len(day))
        found = paired_bootstrap(loss_a, loss_b, day, seed=pair, n=500)
        verdicts[not_worse(found, margin=MARGIN, min_blocks=7, min_rows=100)] += 1
    return verdicts


@pytest.mark.parametrize("days", [7, 14])
def test_a_model_worse_by_the_margin_is_passed_about_5_percent_of_the_time(days: int) -> None:
    """The type I error of `not_worse`; 8 % is 5 % with three standard errors of 1,000 pairs, and a bit."""
    verdicts = simulate(1000, days=days, mean=MARGIN)
    assert 0.025 < verdicts[Verdict.PASS] / 1000 < 0.08
    assert verdicts[Verdict.FAIL] / 1000 < 0.085


def test_a_candidate_as_good_as_the_champion_is_passed_or_held_but_hardly_ever_failed() -> None:
    verdicts = simulate(600, days=14, mean=0.0)
    assert verdicts[Verdict.FAIL] <= 6
    assert verdicts[Verdict.PASS] > 200


def test_more_days_turn_hold_into_pass_for_a_candidate_as_good_as_the_champion() -> None:
    assert simulate(300, days=56, mean=0.0)[Verdict.PASS] > 270


def test_a_clearly_worse_candidate_is_refused_with_high_probability_and_never_passed() -> None:
    verdicts = simulate(400, days=28, mean=3 * MARGIN)
    assert verdicts[Verdict.FAIL] > 380
    assert verdicts[Verdict.PASS] == 0


def test_the_interval_holds_the_true_ratio_as_often_as_its_level_says() -> None:
    """Coverage of predicted over realised, 14 days of gamma distributed values, level 0.90."""
    rng = np.random.default_rng(5)
    day = np.repeat(np.arange(14), 40)
    hits = 0
    for turn in range(600):
        expected = rng.gamma(2, 50, len(day))
        realised = expected * rng.gamma(1, 1, len(day)) * (rng.gamma(40, 1 / 40, 14)[day])
        found = ratio_bootstrap(1.1 * expected, realised, day, seed=turn, n=800)
        hits += found.low <= 1.1 <= found.high
    assert 0.86 < hits / 600 < 0.94


def test_rows_of_one_day_count_as_one_draw() -> None:
    """Copying every row widens nothing and narrows nothing, while single rows as blocks would pretend to know more."""
    rng = np.random.default_rng(2)
    day = np.repeat(np.arange(20), 50)
    loss = rng.normal(0, 0.1, 20)[day] + rng.normal(0, 0.05, 1000)
    by_day = paired_bootstrap(loss, np.zeros(1000), day, seed=1)
    copied = paired_bootstrap(np.tile(loss, 3), np.zeros(3000), np.tile(day, 3), seed=1)
    by_row = paired_bootstrap(loss, np.zeros(1000), np.arange(1000), seed=1)
    assert (copied.low, copied.high) == pytest.approx((by_day.low, by_day.high))
    assert by_day.high - by_day.low > 3 * (by_row.high - by_row.low)


def test_bounds_equal_a_plain_bootstrap_of_the_rows_at_the_widened_level() -> None:
    """The sums per block give what drawing whole days row by row gives."""
    rng = np.random.default_rng(9)
    day = rng.integers(0, 30, 600)
    a, b = rng.gamma(1, 1, 600), rng.gamma(1, 1, 600)
    found = paired_bootstrap(a, b, day, seed=3, n=4000)
    groups = [np.flatnonzero(day == d) for d in range(30)]
    slow = []
    for _ in range(4000):
        rows = np.concatenate([groups[d] for d in rng.integers(0, 30, 30)])
        slow.append((a[rows] - b[rows]).mean())
    low, high = np.quantile(slow, [0.0417, 0.9583])  # normal share of t(29) at 5 %, widened by sqrt(30/29)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.012)
    assert found.mid == pytest.approx((a - b).mean())


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    rng = np.random.default_rng(6)
    a, b, day = rng.random(300), rng.random(300), rng.integers(0, 10, 300)
    assert paired_bootstrap(a, b, day, seed=1) == paired_bootstrap(a, b, day, seed=1)
    assert paired_bootstrap(a, b, day, seed=1) != paired_bootstrap(a, b, day, seed=2)


def test_blocks_may_be_days_as_numpy_knows_them() -> None:
    day = np.array(["2025-01-06", "2025-01-07", "2025-01-06"], dtype="datetime64[D]")
    found = paired_bootstrap([1.0, 2.0, 3.0], [0.0, 0.0, 0.0], day, seed=1)
    assert (found.blocks, found.rows, found.mid) == (2, 3, 2.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_makes_the_whole_interval_nan(bad: float) -> None:
    found = paired_bootstrap([1.0, bad], [0.0, 1.0], [1, 2], seed=1)
    assert math.isnan(found.low) and math.isnan(found.mid) and math.isnan(found.high)
    assert (found.blocks, found.rows) == (2, 2)


def test_one_block_gives_an_estimate_without_bounds() -> None:
    found = paired_bootstrap([1.0, 3.0], [0.0, 0.0], [1, 1], seed=1)
    assert found == Interval(-math.inf, 2.0, math.inf, blocks=1, rows=2)


def test_no_rows_give_no_number() -> None:
    found = paired_bootstrap([], [], [], seed=1)
    assert math.isnan(found.mid)
    assert not found.finite


def test_a_ratio_to_nothing_realised_has_no_bounds() -> None:
    found = ratio_bootstrap([1.0, 1.0], [0.0, 1.0], [1, 2], seed=1)
    assert found.mid == 2.0
    assert math.isnan(found.low) and math.isnan(found.high)


def test_wrong_calls_are_refused() -> None:
    with pytest.raises(UsageError, match="different lengths"):
        paired_bootstrap([1.0], [1.0, 2.0], [1], seed=1)
    with pytest.raises(UsageError, match="level"):
        paired_bootstrap([1.0], [1.0], [1], seed=1, level=1.0)
