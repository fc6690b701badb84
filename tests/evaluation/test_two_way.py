from __future__ import annotations

import math

import numpy as np
import pytest

from ml.core.errors import UsageError
from ml.evaluation.alpha import alpha_of_look, gains
from ml.evaluation.paired import paired_bootstrap
from ml.evaluation.profit import expected_utility
from ml.evaluation.slices import discoveries, each_slice, slice_labels
from ml.evaluation.two_way import MIN_HOTELS, two_way, two_way_ratio


def rows(
    rng: np.random.Generator, *, hotels: int, days: int, per: int, hotel_sd: float, day_sd: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    hotel, day = np.repeat(np.arange(hotels), days * per), np.tile(np.repeat(np.arange(days), per), hotels)
    value = rng.normal(0, 1, len(hotel)) + rng.normal(0, hotel_sd, hotels)[hotel] + rng.normal(0, day_sd, days)[day]
    return value, day, hotel


def test_the_error_is_that_of_the_block_bootstrap_where_days_alone_are_blocks() -> None:
    rng = np.random.default_rng(3)
    value, day, _ = rows(rng, hotels=3, days=60, per=5, hotel_sd=0.0, day_sd=0.5)
    found, drawn = two_way(value, day), paired_bootstrap(value, np.zeros(len(value)), day, seed=1, n=20_000)
    interval = found.interval()
    assert interval.mid == pytest.approx(drawn.mid)
    assert (interval.low, interval.high) == (pytest.approx(drawn.low, rel=0.05), pytest.approx(drawn.high, rel=0.05))


@pytest.mark.parametrize(("hotel_sd", "day_sd"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.3), (0.3, 0.3)])
def test_a_mean_of_nothing_is_shown_below_zero_at_most_five_percent_of_the_time(hotel_sd: float, day_sd: float) -> None:
    rng = np.random.default_rng(5)
    p = [
        two_way(*rows(rng, hotels=30, days=14, per=3, hotel_sd=hotel_sd, day_sd=day_sd)).p_below() for _ in range(1_000)
    ]
    assert np.mean(np.array(p) < 0.05) < 0.075


def test_days_alone_would_show_far_too_often_what_hotels_do() -> None:
    rng = np.random.default_rng(5)
    worlds = [rows(rng, hotels=30, days=14, per=3, hotel_sd=0.5, day_sd=0.0) for _ in range(300)]
    assert np.mean([two_way(value, day).p_below() < 0.05 for value, day, _ in worlds]) > 0.2


def test_a_market_of_few_hotels_is_resampled_by_days_alone() -> None:
    rng = np.random.default_rng(5)
    value, day, hotel = rows(rng, hotels=MIN_HOTELS - 1, days=14, per=3, hotel_sd=0.5, day_sd=0.1)
    assert two_way(value, day, hotel) == two_way(value, day)
    assert two_way(value, day, hotel).hotels == 0


def test_a_number_that_is_not_finite_one_day_or_no_sum_says_nothing() -> None:
    assert not two_way([1.0, math.nan], [1, 2]).finite
    assert not two_way_ratio([1.0, 1.0], [0.0, 0.0], [1, 2]).finite
    one_day = two_way([1.0, 2.0], [1, 1])
    assert not one_day.finite
    assert one_day.p_below() == 1.0
    with pytest.raises(UsageError, match="differ in length"):
        two_way([1.0, 2.0], [1])


def test_the_looks_of_any_year_spend_no_more_than_its_alpha() -> None:
    """Whatever their spacing, and with a month saved up before the year begins."""
    rng = np.random.default_rng(1)
    for gap in (1, 7, 14, 28, 60):
        days = np.cumsum(rng.integers(1, 2 * gap, 400))
        spent = np.array([alpha_of_look(int(step)) for step in np.diff(days, prepend=days[0] - 28)])
        for start in range(0, int(days[-1]) - 365, 30):
            assert spent[(days >= start) & (days < start + 365)].sum() <= 0.05 + 1e-12


def test_several_primaries_share_the_alpha_of_a_look() -> None:
    assert gains({"value": 0.0006, "conversion": 0.0006}, 0.001) == ()
    assert gains({"value": 0.0004, "conversion": 0.0006}, 0.001) == ("value", "conversion")
    assert gains({"value": math.nan, "conversion": 0.0004}, 0.001) == ("conversion",)
    assert gains({"value": 0.0}, 0.0) == ()


def test_no_bid_earns_more_on_average_than_the_true_worth() -> None:
    """The score of worth is proper: also with what came of a click in place of what was to be expected of it."""
    rng = np.random.default_rng(2)
    worth, cost = rng.lognormal(0, 0.5, 200_000), rng.lognormal(-0.5, 0.5, 200_000)
    came = np.where(rng.random(200_000) < 0.05, worth / 0.05, 0.0)
    earned = {f: float(expected_utility(f * worth, came, cost).mean()) for f in (0.5, 0.8, 1.0, 1.25, 2.0)}
    assert max(earned, key=lambda factor: earned[factor]) == 1.0
    assert earned[2.0] < earned[1.25] < earned[1.0] > earned[0.8] > earned[0.5]


def test_a_click_that_cost_nothing_says_nothing() -> None:
    assert np.isnan(expected_utility([1.0], [1.0], [0.0])).all()


def test_false_findings_among_slices_without_a_difference_are_rare() -> None:
    rng = np.random.default_rng(4)
    assert np.mean([any(discoveries(list(rng.random(30)))) for _ in range(2_000)]) < 0.07


def test_slices_are_made_of_what_the_rows_have_and_whole_fields_are_no_slices() -> None:
    import pandas as pd

    frame = pd.DataFrame(
        {
            "device": ["mobile", "desktop", None, "mobile"] * 5,
            "market": ["de"] * 20,
            "price_micros": np.arange(20.0),
            "hotel_id": [f"h{n % 5}" for n in range(20)],
        }
    )
    labels = slice_labels(frame)
    found = [(field, label) for field, label, _ in each_slice(labels)]
    assert ("device", "none") in found and not any(field == "market" for field, _ in found)
    assert sum(field == "price_bucket" for field, _ in found) == 4
