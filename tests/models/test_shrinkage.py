"""Shrinkage of sparse hotels: what little is known of each is used, and no more than that."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmarks.sparse_hotels import one_seed
from ml.core.errors import CorruptArtefact, UsageError
from ml.models.shrinkage import (
    FILE,
    HIGHEST,
    LOWEST,
    Multipliers,
    fit_strength,
    strength_of,
)

HOTELS = 60
LEVELS = (
    [f"h{n:02d}" for n in range(HOTELS)],
    [f"k{n // 5:02d}" for n in range(HOTELS)],
    [f"c{n // 15}" for n in range(HOTELS)],
    [f"n{n // 30}" for n in range(HOTELS)],
)


def market(seed: int = 1, *, each: float = 20.0, deviation: float = 0.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.exp(rng.normal(0, deviation, HOTELS))
    expected = each * rng.pareto(1.5, HOTELS) + 0.01
    return rng.poisson(expected * truth).astype(float), expected, truth


@pytest.mark.ml_test_score("model3")
def test_the_strength_found_is_the_one_that_made_the_counts() -> None:
    rng = np.random.default_rng(3)
    expected = rng.gamma(1.0, 10.0, 4_000)
    effect = rng.gamma(4.5, 1 / 4.5, 4_000)
    assert fit_strength(rng.poisson(expected * effect).astype(float), expected) == pytest.approx(4.5, rel=0.1)


def test_counts_that_differ_by_chance_alone_are_left_at_their_parent() -> None:
    rng = np.random.default_rng(4)
    expected = np.full(2_000, 5.0)
    assert fit_strength(rng.poisson(expected).astype(float), expected) > 100


def test_a_strength_is_what_a_log_normal_effect_amounts_to() -> None:
    effect = np.exp(np.random.default_rng(5).normal(0, 0.45, 400_000))
    assert 1 / strength_of(0.45) == pytest.approx(effect.var() / effect.mean() ** 2, rel=0.02)


def test_shrunk_multipliers_are_nearer_to_the_truth_than_raw_ratios_and_than_none() -> None:
    bookings, expected, truth = market()
    said = Multipliers.fit(LEVELS, bookings, expected).of(LEVELS, shade=None)
    scale = bookings.sum() / expected.sum()
    error = {
        name: float(np.mean((np.log(m) - np.log(truth)) ** 2))
        for name, m in (("ours", said), ("raw", (bookings + 1e-3) / expected), ("none", np.full(HOTELS, scale)))
    }
    assert error["ours"] < error["raw"]
    assert error["ours"] < error["none"]


def test_a_hotel_with_many_bookings_has_its_own_ratio_and_one_with_none_its_clusters() -> None:
    bookings, expected, _ = market()
    bookings[0], expected[0] = 3_000.0, 2_000.0
    bookings[1], expected[1] = 0.0, 0.0
    found = Multipliers.fit(LEVELS, bookings, expected)
    said = found.of(LEVELS, shade=None)
    assert said[0] == pytest.approx(1.5, rel=0.01)
    new = [["new"], *([level[1]] for level in LEVELS[1:])]
    assert said[1] == pytest.approx(found.of(new, shade=None)[0])


def test_a_hotel_in_a_place_never_seen_is_average_and_less_certain_than_any() -> None:
    found = Multipliers.fit(LEVELS, *market()[:2])
    mean, shape = found.posterior([["new"]] * 4)
    assert mean.tolist() == [1.0]
    assert shape[0] < found.posterior(LEVELS)[1].min()
    assert 1 / shape[0] == pytest.approx(sum(1 / a for a in found.strengths) + 1 / found.total)


@pytest.mark.ml_test_score("model7")
def test_one_giant_does_not_speak_for_the_small_ones() -> None:
    bookings, expected = np.full(HOTELS, 10.0), np.full(HOTELS, 10.0)
    bookings[0], expected[0] = 100_000.0, 50_000.0
    said = Multipliers.fit(LEVELS, bookings, expected).of(LEVELS, shade=None)
    assert said[0] == pytest.approx(2.0, rel=0.05)
    assert said[30:] == pytest.approx(np.ones(30), rel=0.1)


def test_a_careful_multiplier_is_never_above_the_mean_and_farther_below_it_the_less_is_known() -> None:
    expected = np.arange(HOTELS) * 4.0
    bookings = expected * np.where(np.arange(HOTELS) % 2, 0.5, 1.5)
    levels = [LEVELS[0], ["all"] * HOTELS]
    found = Multipliers.fit(levels, bookings, expected)
    share = found.of(levels, shade=0.9) / found.of(levels, shade=None)
    assert (share <= 1 + 1e-12).all()
    assert share[0] < 1
    assert share[-1] == pytest.approx(1.0)


def test_sampled_multipliers_scatter_around_the_mean_and_less_the_more_is_known() -> None:
    bookings, expected, _ = market()
    found = Multipliers.fit(LEVELS, bookings, expected)
    rng = np.random.default_rng(2)
    drawn = np.array([found.sample(LEVELS, rng=rng) for _ in range(400)])
    many, few = int(np.argmax(expected)), int(np.argmin(expected))
    assert drawn[:, many].mean() == pytest.approx(found.of(LEVELS, shade=None)[many], rel=0.05)
    assert drawn[:, many].std() < drawn[:, few].std()
    assert ((drawn >= LOWEST) & (drawn <= HIGHEST)).all()


def test_the_order_of_the_rows_and_their_division_change_nothing() -> None:
    bookings, expected, _ = market()
    order = np.random.default_rng(0).permutation(HOTELS)
    twice = np.concatenate([order, order])
    whole = Multipliers.fit(LEVELS, bookings, expected)
    parts = Multipliers.fit([[level[n] for n in twice] for level in LEVELS], bookings[twice] / 2, expected[twice] / 2)
    assert parts.artefacts() == whole.artefacts()


@settings(max_examples=40, deadline=None)
@given(
    bookings=arrays(float, HOTELS, elements=st.integers(0, 50).map(float)),
    expected=arrays(float, HOTELS, elements=st.floats(0.01, 50)),
    shade=st.floats(0.2, 1.5),
)
def test_every_multiplier_lies_within_its_limits_whatever_came(
    bookings: np.ndarray, expected: np.ndarray, shade: float
) -> None:
    found = Multipliers.fit(LEVELS, bookings, expected)
    for said in (found.of(LEVELS, shade=shade), found.of(LEVELS, shade=None)):
        assert ((said >= LOWEST) & (said <= HIGHEST)).all()


def test_it_reads_back_from_its_artefact() -> None:
    found = Multipliers.fit(LEVELS, *market()[:2])
    again = Multipliers.load(found.artefacts())
    np.testing.assert_allclose(again.of(LEVELS, shade=0.7), found.of(LEVELS, shade=0.7), rtol=1e-10)
    assert again.artefacts() == found.artefacts()


@pytest.mark.parametrize("junk", [b"", b"{}", b'{"keys": [["a"]], "parents": [], "shapes": [], "means": []}', b"[1]"])
def test_an_artefact_of_another_form_is_refused(junk: bytes) -> None:
    with pytest.raises(CorruptArtefact, match="multipliers"):
        Multipliers.load({FILE: junk})


def test_bad_counts_are_refused_in_one_sentence() -> None:
    bookings, expected, _ = market()
    with pytest.raises(UsageError, match="differ in length"):
        Multipliers.fit(LEVELS, bookings[1:], expected)
    with pytest.raises(UsageError, match="negative or not finite"):
        Multipliers.fit(LEVELS, np.where(bookings > 3, np.nan, bookings), expected)
    with pytest.raises(UsageError, match="negative or not finite"):
        Multipliers.fit(LEVELS, bookings, -expected)
    with pytest.raises(UsageError, match="no booking is expected"):
        Multipliers.fit(LEVELS, bookings, 0 * expected)
    with pytest.raises(UsageError, match="'h00' lies in two"):
        Multipliers.fit([["h00", "h00"], ["a", "b"]], np.ones(2), np.ones(2))


def test_on_a_drawn_market_it_earns_more_than_raw_ratios_and_than_no_hotel_effect() -> None:
    """Three of the markets of `benchmarks/sparse_hotels.py`, on which the full margins are measured."""
    found = [one_seed(seed) for seed in (100, 101, 102)]
    for market_found in found:
        assert market_found["careful"] > market_found["raw"] + 10
        assert market_found["careful"] > market_found["none"] + 2
    assert np.mean([market_found["careful_over"] for market_found in found]) < 0.01
