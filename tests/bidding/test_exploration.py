"""What is tried is chosen at random, logged, bounded and priced."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.bidding.exploration import (
    MAX_FACTOR,
    ExplorationPolicy,
    explore,
    jitter,
    thompson_hotels,
    thompson_landscape,
)
from ml.bidding.shading import second_price_bids
from ml.core.errors import UsageError
from tests.bidding.landscapes import landscape

POLICY = ExplorationPolicy(seed=7)
KEYS = [f"google|DE|h{n}|mobile" for n in range(20_000)]


def test_the_share_of_cells_asked_for_is_jittered_with_mean_one() -> None:
    factor, _, picked = jitter(KEYS, "2026-W10", POLICY)
    assert picked.mean() == pytest.approx(0.075, abs=0.006)
    assert (factor[~picked] == 1).all()
    assert factor[picked].mean() == pytest.approx(1.0, abs=0.015)
    assert np.log(factor[picked]).std() == pytest.approx(0.15, abs=0.01)


def test_the_same_seed_and_period_move_a_cell_by_the_same_factor_whatever_else_there_is() -> None:
    whole = jitter(KEYS, "2026-W10", POLICY)
    part = jitter(KEYS[500:900], "2026-W10", POLICY)
    for one, other in zip(whole, part, strict=True):
        assert (one[500:900] == other).all()
    assert (jitter(KEYS, "2026-W11", POLICY)[2] != whole[2]).any()
    assert (jitter(KEYS, "2026-W10", ExplorationPolicy(seed=8))[2] != whole[2]).any()


def test_the_logged_density_is_that_of_the_factor_drawn() -> None:
    policy = ExplorationPolicy(seed=3, cell_share=0.1, log_sd=0.2)
    factor, density, picked = jitter(KEYS * 1, "p", policy)
    inside = picked & (factor < MAX_FACTOR) & (factor > 1 / MAX_FACTOR)
    logs = np.log(factor[inside])
    by_hand = np.exp(-((logs + 0.02) ** 2) / 0.08) / (0.2 * np.sqrt(2 * np.pi) * factor[inside])
    assert density[inside] == pytest.approx(by_hand)
    # Weighing by 1 / density turns a mean over draws into an integral over factors: over [0.8, 1.25] that is 0.45.
    window = inside & (factor > 0.8) & (factor < 1.25)
    assert (1 / density[window]).sum() / picked.sum() == pytest.approx(0.45, abs=0.02)


@given(seed=st.integers(0, 1_000), share=st.floats(0, 0.1), sd=st.floats(0.01, 0.5), cap=st.floats(0, 0.03))
@settings(max_examples=25, deadline=None)
def test_the_spend_moved_never_exceeds_its_bound_and_its_cost_is_told(
    seed: int, share: float, sd: float, cap: float
) -> None:
    of = landscape(cells=300, levels=15, seed=seed)
    policy = ExplorationPolicy(seed=seed, cell_share=share, log_sd=sd, max_spend_share=cap)
    bids = second_price_bids(of)
    hotels = [f"h{n // 5}" for n in range(300)]
    draws = thompson_hotels(hotels, np.zeros(300), np.ones(300), "p", policy)
    found = explore(bids, KEYS[:300], of, policy, period="p", draws=draws)
    before, after = of.at(bids)[1], of.at(found.bids_micros)[1]
    assert np.abs(after - before).sum() <= cap * before.sum() * (1 + 1e-9)
    assert found.spend_share <= cap * (1 + 1e-9)
    assert found.cost_micros == pytest.approx(of.profit_at(bids).sum() - of.profit_at(found.bids_micros).sum())
    # Bids on the best levels of every cell can only lose by being moved.
    assert found.cost_micros >= -1e-6 * abs(of.profit_at(bids).sum())
    assert ((found.factor >= 1 / MAX_FACTOR - 1e-12) & (found.factor <= MAX_FACTOR + 1e-12)).all()
    assert (found.density[~found.jittered] == 1).all()


def test_a_cell_without_a_bid_is_not_explored() -> None:
    of = landscape(cells=300)
    found = explore(np.zeros(300), KEYS[:300], of, POLICY, period="p")
    assert (found.bids_micros == 0).all()
    assert found.spend_share == 0


def test_a_hotel_that_was_booked_often_is_tried_less_than_one_that_never_was() -> None:
    hotels = [f"h{n}" for n in range(4_000)]
    never = thompson_hotels(hotels, np.zeros(4_000), np.full(4_000, 0.1), "p", POLICY)
    often = thompson_hotels(hotels, np.full(4_000, 140.0), np.full(4_000, 130.0), "p", POLICY)
    assert np.log(often).std() == pytest.approx(0.083, abs=0.01)
    assert np.log(never).std() > 3 * np.log(often).std()
    assert often.mean() == pytest.approx(1.0, abs=0.01)
    shared = thompson_hotels(["a", "a", "b"], np.zeros(3), np.zeros(3), "p", POLICY)
    assert shared[0] == shared[1] != shared[2]


def test_a_draw_of_the_landscape_is_a_landscape_and_a_certain_one_is_itself() -> None:
    of = landscape(cells=200, levels=20)
    drawn = thompson_landscape(of, np.full(200, 0.3), KEYS[:200], "p", POLICY)
    assert (np.diff(drawn.clicks, axis=1) >= 0).all()
    assert (np.diff(drawn.cost_micros, axis=1) >= -1e-9).all()
    assert (drawn.clicks != of.clicks).any()
    same = thompson_landscape(of, np.zeros(200), KEYS[:200], "p", POLICY)
    assert same.clicks == pytest.approx(of.clicks)
    assert same.cost_micros == pytest.approx(of.cost_micros)


@pytest.mark.parametrize(
    "wrong", [{"cell_share": 0.2}, {"log_sd": -0.1}, {"max_spend_share": 0.05}, {"prior": 0.0}], ids=str
)
def test_exploration_beyond_its_limits_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"the exploration's {next(iter(wrong))}"):
        ExplorationPolicy(seed=1, **wrong)


def test_bookings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="bookings"):
        thompson_hotels(["a"], np.array([-1.0]), np.array([1.0]), "p", POLICY)
