"""How the market answers to bids: the best share of a click's worth is found, and nothing is believed that was not seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.core.errors import UsageError
from ml.models.response import RATIOS, Response


def market(
    n: int = 60_000, *, low: float = 0.1, high: float = 2.0, first_price: bool = False, seed: int = 3
) -> pd.DataFrame:
    """Auctions against one rival whose bid over worth is log-normal around 0.6: win, pay its bid (or ours)."""
    rng = np.random.default_rng(seed)
    worth = np.exp(rng.normal(np.log(400_000), 0.5, n))
    ratio = np.exp(rng.uniform(np.log(low), np.log(high), n))
    rival = np.exp(rng.normal(np.log(0.6), 0.5, n))
    won = ratio > rival
    clicked = won & (rng.random(n) < 0.1)
    price = np.where(first_price, ratio, rival) * worth
    return pd.DataFrame(
        {
            "kind": "google mobile 0",
            "price_kind": "google 0",
            "bid_micros": np.rint(ratio * worth),
            "worth_micros": worth,
            "p_click": np.where(won, 0.1, 0.0),
            "clicked": clicked,
            "cpc_micros": pd.array(np.where(clicked, price, np.nan), dtype="Float64"),
        }
    )


def profit(share: float, *, first_price: bool) -> float:
    """What the market of `market` pays per auction and unit of worth."""
    rival = np.exp(np.random.default_rng(9).normal(np.log(0.6), 0.5, 400_000))
    won = share > rival
    return float((won * (1 - np.where(first_price, share, rival))).mean())


@pytest.mark.parametrize("first_price", [False, True])
def test_the_best_share_of_the_worth_earns_what_the_best_possible_earns(first_price: bool) -> None:
    response = Response.fit(market(first_price=first_price))
    best = max(profit(share, first_price=first_price) for share in np.linspace(0.1, 1.5, 57))
    found = float(response.best()[0])
    assert profit(found, first_price=first_price) >= 0.95 * best, found
    assert (found < 0.9) == first_price


def test_curves_never_fall_and_no_click_costs_more_than_its_bid() -> None:
    response = Response.fit(market(3_000))
    assert (np.diff(response.clicks, axis=1) >= -1e-12).all()
    assert (np.diff(response.cost, axis=1) >= -1e-12).all()
    assert (response.cost <= response.clicks * RATIOS * (1 + 1e-9)).all()


def test_bids_beyond_what_was_tried_are_never_thought_better() -> None:
    seen = Response.fit(market(low=0.45, high=0.75))
    low, high = seen.reach[0]
    assert low < float(seen.best()[0]) <= high * 1.05


def test_a_kind_with_too_few_clicks_has_no_curve() -> None:
    rows = pd.concat([market(60_000), market(500).assign(kind="google tablet 0")])
    response = Response.fit(rows)
    assert response.kinds == ("google mobile 0",)
    assert response.codes(pd.Series(["google tablet 0", "google mobile 0"])).tolist() == [-1, 0]


def test_without_any_click_there_is_no_curve_at_all() -> None:
    nothing = market(500).assign(clicked=False, p_click=0.0)
    assert Response.fit(nothing).kinds == ()


def test_the_same_auctions_in_another_order_give_the_same_curves() -> None:
    rows = market(5_000)
    shuffled = Response.fit(rows.sample(frac=1.0, random_state=1))
    assert shuffled.clicks == pytest.approx(Response.fit(rows).clicks)


def test_an_auction_with_a_number_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="not finite"):
        Response.fit(market(500).assign(worth_micros=np.nan))
    with pytest.raises(UsageError, match="price_kind"):
        Response.fit(market(500).drop(columns="price_kind"))
