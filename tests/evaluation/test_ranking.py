"""Ranking metrics on lists whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.core.errors import UsageError
from ml.evaluation.ranking import list_log_losses, list_starts, reciprocal_ranks, softmax

LISTS = ["a", "a", "a", "b", "b", "c"]
CLICKED = [0, 0, 1, 1, 0, 1]


def test_the_reciprocal_rank_is_of_the_clicked_offer_in_its_own_list() -> None:
    assert reciprocal_ranks(CLICKED, [3, 2, 1, 9, 1, 0], LISTS).tolist() == [1 / 3, 1.0, 1.0]


def test_ties_gain_nothing_and_lose_nothing() -> None:
    assert reciprocal_ranks(CLICKED, [0] * 6, LISTS).tolist() == [0.5, 1 / 1.5, 1.0]


@given(st.lists(st.floats(-50, 50), min_size=6, max_size=6), st.floats(0.1, 10), st.floats(-10, 10))
def test_a_rank_only_depends_on_the_order_and_the_softmax_sums_to_one(
    scores: list[float], scale: float, shift: float
) -> None:
    rounded = np.round(scores, 3)
    np.testing.assert_array_equal(
        reciprocal_ranks(CLICKED, rounded, LISTS), reciprocal_ranks(CLICKED, np.sinh(rounded / 10), LISTS)
    )
    starts = list_starts(LISTS)
    p = softmax(np.asarray(scores) * scale, starts)
    np.testing.assert_allclose(np.add.reduceat(p, starts), 1.0)
    np.testing.assert_allclose(softmax(np.asarray(scores) * scale + shift, starts), p, rtol=1e-9)


def test_the_log_loss_of_a_uniform_guess_is_the_logarithm_of_the_lists_length() -> None:
    p = softmax(np.zeros(6), list_starts(LISTS))
    np.testing.assert_allclose(list_log_losses(CLICKED, p, LISTS), np.log([3, 2, 1]))


def test_what_is_no_list_is_refused() -> None:
    with pytest.raises(UsageError, match="do not stand together"):
        reciprocal_ranks([1, 1, 0], [1, 2, 3], ["a", "b", "a"])
    with pytest.raises(UsageError, match="exactly one click"):
        reciprocal_ranks([1, 1], [1, 2], ["a", "a"])
    with pytest.raises(UsageError, match="not finite"):
        reciprocal_ranks([1, 0], [np.nan, 2], ["a", "a"])
    with pytest.raises(UsageError, match="differ in length"):
        reciprocal_ranks([1], [1, 2], ["a", "a"])
    with pytest.raises(UsageError, match="differ in length"):
        reciprocal_ranks([], [], [])
    with pytest.raises(UsageError, match="sum to 1"):
        list_log_losses([1, 0], [0.5, 0.4], ["a", "a"])
