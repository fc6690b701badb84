"""Whatever a model asks for, no bid passes the guards that breaks one of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.bidding.guards import (
    AbsoluteCap,
    Blackout,
    CellChange,
    PortfolioChange,
    SpendVelocity,
    ValueCap,
    broken_feeds,
    guard,
    standard,
)
from ml.core.verdict import Verdict
from tests.bidding.landscapes import landscape


def table(bids: list[float], previous: list[float] | None = None, upper: list[float] | None = None) -> pd.DataFrame:
    size = len(bids)
    return pd.DataFrame(
        {
            "hotel_id": [f"h{n}" for n in range(size)],
            "bid_micros": pd.Series(bids, dtype="int64" if all(np.isfinite(bids)) else float),
            "previous_micros": previous if previous is not None else [np.nan] * size,
            "upper_value_micros": upper if upper is not None else [1e9] * size,
            "weight": 1.0,
        }
    )


def bids(found: pd.DataFrame) -> list[int]:
    return [int(bid) for bid in found["bid_micros"]]


def test_bids_that_keep_every_rule_pass_untouched() -> None:
    given_table = table([100, 200], previous=[100, 200])
    found = guard(given_table, standard(max_bid_micros=1_000))
    assert found.verdict is Verdict.PASS
    assert found.reasons == ()
    pd.testing.assert_frame_equal(found.table, given_table)


def test_a_cap_holds_and_says_how_much_it_changed() -> None:
    found = guard(table([100] * 99 + [10_000]), [AbsoluteCap(500)])
    assert bids(found.table)[-1] == 500
    assert found.verdict is Verdict.HOLD
    assert found.reasons == ("the cap of 0.00 moved 1 of 100 bids, 50.3% of the expected spend",)
    assert guard(table([1_000] * 99 + [1_001]), [AbsoluteCap(1_000)]).verdict is Verdict.PASS


def test_no_bid_exceeds_the_upper_bound_of_its_value_and_an_unknown_value_is_not_bid_on() -> None:
    found = guard(table([100, 100, 100], upper=[50, 200, np.nan]), [ValueCap()])
    assert bids(found.table) == [50, 100, 0]


def test_a_cell_moves_by_at_most_its_limits_and_a_new_cell_is_free() -> None:
    found = guard(table([200, 10, 77, 300], previous=[100, 100, np.nan, 0]), [CellChange(up=0.3, down=0.5)])
    assert bids(found.table) == [130, 50, 77, 300]


@pytest.mark.parametrize("with_landscape", [False, True])
def test_the_whole_portfolio_rises_by_at_most_its_limit_and_falls_are_kept(with_landscape: bool) -> None:
    of = landscape(cells=20, levels=30)
    previous = np.full(20, 300_000.0)
    asked = np.where(np.arange(20) < 15, 600_000, 200_000)
    rows = table([float(a) for a in asked], previous=previous.tolist())
    found = guard(rows, [PortfolioChange(up=0.10, landscape=of if with_landscape else None)])
    after = found.table["bid_micros"].to_numpy(dtype=float)

    def cost(amount: np.ndarray) -> float:
        return float(of.at(amount)[1].sum()) if with_landscape else float(amount.sum())

    assert cost(after) <= 1.1 * cost(previous)
    assert cost(after) == pytest.approx(1.1 * cost(previous), rel=0.01)
    assert (after[15:] == 200_000).all()
    assert found.verdict is Verdict.HOLD
    assert "more than 10%" in found.reasons[0]


def test_a_first_publication_has_no_portfolio_to_rise_from() -> None:
    assert guard(table([100, 200]), [PortfolioChange()]).verdict is Verdict.PASS


def test_a_hotel_with_a_broken_feed_is_not_bid_on_even_where_its_bid_may_not_fall_so_far() -> None:
    rows = table([100, 100], previous=[100, 100])
    found = guard(rows, standard(max_bid_micros=1_000, broken=frozenset({"h0"})))
    assert bids(found.table) == [0, 100]
    assert guard(rows, [Blackout(frozenset())]).verdict is Verdict.PASS


def test_spend_that_runs_away_stops_the_publication() -> None:
    rows = table([100])
    assert guard(rows, [SpendVelocity(250, 100)]).verdict is Verdict.PASS
    found = guard(rows, standard(max_bid_micros=1_000, velocity=SpendVelocity(251_000_000, 100_000_000)))
    assert found.verdict is Verdict.FAIL
    assert "the last hour spent 251.00, more than 2.5 times the 100.00 expected" in found.reasons[0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_a_bid_that_is_no_amount_fails(bad: float) -> None:
    found = guard(table([100, bad]), standard(max_bid_micros=1_000))
    assert found.verdict is Verdict.FAIL
    assert found.reasons == ("1 of 2 bids are not amounts of money",)
    assert guard(table([100]).iloc[:0], []).verdict is Verdict.FAIL


@given(
    asked=st.lists(st.integers(0, 10**8), min_size=1, max_size=12),
    seed=st.integers(0, 1_000),
    cap=st.integers(1, 10**7),
)
@settings(max_examples=60, deadline=None)
def test_after_all_guards_every_limit_holds_whatever_was_asked(asked: list[int], seed: int, cap: int) -> None:
    rng = np.random.default_rng(seed)
    size = len(asked)
    previous = np.where(rng.random(size) < 0.3, np.nan, rng.integers(1, 10**7, size).astype(float))
    upper = rng.integers(0, 10**7, size).astype(float)
    dark = frozenset(f"h{n}" for n in range(size) if rng.random() < 0.2)
    rows = table([float(a) for a in asked], previous=previous.tolist(), upper=upper.tolist())
    found = guard(rows, standard(max_bid_micros=cap, broken=dark))
    after = found.table["bid_micros"].to_numpy(dtype=float)
    assert (after <= cap).all()
    assert (after <= upper).all()
    assert (after[found.table["hotel_id"].isin(dark)] == 0).all()
    known = ~np.isnan(previous)
    assert (after[known] <= previous[known] * 1.3 + 1).all()
    if known.any():
        new_and_old = np.nan_to_num(previous)
        assert after.sum() <= max(1.1 * new_and_old.sum() + size, 0)
    assert (rows["bid_micros"].to_numpy() == asked).all(), "the table given is left as it was"


def test_a_feed_is_broken_when_prices_differ_or_are_stale() -> None:
    prices = pd.DataFrame(
        {
            "hotel_id": ["ok"] * 10 + ["low"] * 10 + ["old"] * 2 + ["gone"],
            "shown_micros": [100.0] * 23,
            "landing_micros": [109.0] * 10 + [118.0] * 3 + [100.0] * 7 + [100.0] * 2 + [np.nan],
            "age_hours": [1.0] * 20 + [30.0, 25.0] + [1.0],
        }
    )
    assert broken_feeds(prices) == {"low", "old", "gone"}
    assert broken_feeds(prices.iloc[:0]) == frozenset()
