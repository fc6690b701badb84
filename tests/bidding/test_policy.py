"""A bid is worth its value, and no wrong model moves it far in a day."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.bidding.policy import BidPolicy

POLICY = BidPolicy(target_cost_share=0.06, max_bid_micros=5_000_000, max_change=0.3)
NEW = np.array([np.nan])


def bid(value: float, p_book: float, previous: float = float("nan")) -> int:
    wanted = POLICY.share_of_worth(np.array([value]), np.array([p_book]))
    return int(POLICY.limit(wanted, np.array([previous]))[0])


def test_a_bid_is_value_times_conversion_times_cost_share() -> None:
    assert bid(240_000_000, 0.03) == 432_000  # 240.00 a booking, 3 bookings in 100 clicks, 6 % of it


def test_no_bid_exceeds_the_cap_however_high_the_value() -> None:
    assert bid(9e12, 1.0) == POLICY.max_bid_micros
    assert bid(9e12, 1.0, previous=4_900_000) == POLICY.max_bid_micros


@given(
    value=st.floats(0, 1e10),
    p_book=st.floats(0, 1),
    previous=st.integers(1, POLICY.max_bid_micros),
)
def test_a_bid_never_moves_further_than_the_policy_allows(value: float, p_book: float, previous: int) -> None:
    moved = bid(value, p_book, previous)
    assert previous * 0.7 - 1 <= moved <= previous * 1.3 + 1
    assert 0 <= moved <= POLICY.max_bid_micros


def test_a_cell_that_was_paused_is_bid_on_again_once_it_may() -> None:
    assert bid(240_000_000, 0.03, previous=0) == 432_000


@given(st.lists(st.floats(0, 1e9), min_size=2, max_size=20), st.floats(0, 1))
def test_a_bid_never_falls_when_the_value_rises(values: list[float], p_book: float) -> None:
    ordered = np.sort(np.array(values))
    wanted = POLICY.share_of_worth(ordered, np.full(len(ordered), p_book))
    bids = POLICY.limit(wanted, np.full(len(ordered), np.nan))
    assert (np.diff(bids) >= 0).all()


@pytest.mark.parametrize(
    ("value", "p_book"), [(np.nan, 0.1), (np.inf, 0.1), (-1.0, 0.1), (1.0, np.nan), (1.0, -0.1), (1.0, 1.1)]
)
def test_a_value_that_cannot_be_is_never_bid_on(value: float, p_book: float) -> None:
    with pytest.raises(ValueError, match="cell"):
        POLICY.share_of_worth(np.array([value]), np.array([p_book]))


@pytest.mark.parametrize("wanted", [np.nan, np.inf, -1.0])
def test_a_bid_that_is_no_amount_of_money_is_never_published(wanted: float) -> None:
    with pytest.raises(ValueError, match="amount of money"):
        POLICY.limit(np.array([wanted]), NEW)


def test_another_limit_is_another_policy() -> None:
    assert POLICY.digest() != BidPolicy(0.06, 5_000_000, 0.2).digest()
    assert POLICY.digest() == BidPolicy(0.06, 5_000_000, 0.3).digest()
