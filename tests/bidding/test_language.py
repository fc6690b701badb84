"""What a partner is told is in its language, close to what was asked, and the loss is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.bidding.landscape import Floats, Landscape
from ml.bidding.language import BidLanguage, Dimension, convert
from ml.bidding.project import Worth, project
from ml.bidding.shading import second_price_bids
from ml.core.errors import UsageError

DEVICES, LEADS = ("mobile", "desktop", "tablet"), ("000-001", "002-007", "008-014")
LANGUAGE = BidLanguage(
    partner="google",
    base_column="hotel_id",
    scope_column=None,
    dimensions=(
        Dimension("device", tuple((d,) for d in DEVICES), 0.1, 10.0),
        Dimension("lead_bucket", (("000-001",), ("002-007", "008-014")), 0.1, 10.0),
    ),
    base_low_micros=10_000,
    base_high_micros=5_000_000,
    base_step_micros=10_000,
    max_amount_micros=5_000_000,
)


def cells(hotels: int = 8) -> pd.DataFrame:
    rows = product([f"h{n}" for n in range(hotels)], DEVICES, LEADS)
    return pd.DataFrame(rows, columns=["hotel_id", "device", "lead_bucket"])


def worth(of: pd.DataFrame, *, noise: float, seed: int) -> tuple[Worth, Floats]:
    """A market whose best bids are a product of hotel, device and lead time, but for some noise."""
    rng = np.random.default_rng(seed)
    size = len(of)
    hotel = dict(zip(of["hotel_id"].unique(), rng.normal(0, 0.4, of["hotel_id"].nunique()), strict=True))
    logs = 13 + of["hotel_id"].map(hotel) + of["device"].map(dict(zip(DEVICES, (-0.3, 0.3, 0.0), strict=True)))
    value = np.exp(logs.to_numpy() + rng.normal(0, noise, size))
    bids = np.geomspace(10_000, 4_500_000, 160)
    half = np.exp(12.5)
    volume = rng.lognormal(0, 0.5, (size, 1))
    clicks = volume * bids / (bids + half)
    cost = volume * half * (np.log1p(bids / half) - bids / (bids + half))
    found = Landscape(bids, clicks, cost, value)
    return Worth(found, np.ones(size)), second_price_bids(found)


def test_bids_that_are_a_product_are_said_exactly_but_for_the_steps() -> None:
    of = cells()
    hotel = of["hotel_id"].str[1:].astype(int).to_numpy() * 100_000 + 300_000
    device = of["device"].map({"mobile": 0.8, "desktop": 1.25, "tablet": 1.0}).to_numpy()
    lead = np.where(of["lead_bucket"] == "000-001", 1.5, 1.0)
    asked = hotel * device * lead
    found = project(LANGUAGE, of, asked, weights=np.ones(len(of)))
    assert found.amount_micros == pytest.approx(asked, rel=0.03)
    assert found.log_error < 0.015
    assert found.loss_basis == "log error"
    assert 0 <= found.language_loss < 0.001


def test_base_and_multipliers_put_together_by_hand_are_the_bids_it_reports() -> None:
    of = cells()
    market, asked = worth(of, noise=0.3, seed=1)
    found = project(LANGUAGE, of, asked, weights=np.ones(len(of)), worth=market)
    base = found.base.set_index("hotel_id")["amount_micros"]
    said = of["hotel_id"].map(base).astype(float)
    for dimension in LANGUAGE.dimensions:
        rows = found.multipliers[found.multipliers["dimension"] == dimension.column]
        by_value = {
            value: m for group, m in zip(rows["group"], rows["multiplier"], strict=True) for value in group.split("|")
        }
        said = said * of[dimension.column].map(by_value)
    assert said.to_numpy() == pytest.approx(found.amount_micros, rel=1e-6)


@given(
    seed=st.integers(0, 10_000),
    noise=st.floats(0, 1.5),
    low=st.sampled_from([0.1, 0.5, 0.9]),
    high=st.sampled_from([1.1, 2.0, 10.0]),
    step=st.sampled_from([0.01, 0.05, 0.1]),
    with_market=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_every_base_and_multiplier_is_within_its_limits_and_on_its_step(
    seed: int, noise: float, low: float, high: float, step: float, with_market: bool
) -> None:
    of = cells(4)
    market, asked = worth(of, noise=noise, seed=seed)
    language = replace(
        LANGUAGE, dimensions=tuple(replace(d, low=low, high=high, step=step) for d in LANGUAGE.dimensions)
    )
    found = project(language, of, asked, weights=np.ones(len(of)), worth=market if with_market else None)
    multiplier = found.multipliers["multiplier"].to_numpy()
    assert ((multiplier >= low - 1e-9) & (multiplier <= high + 1e-9)).all()
    steps = multiplier / step
    assert np.abs(steps - np.rint(steps)).max() < 1e-6
    base = found.base["amount_micros"].to_numpy()
    assert ((base == 0) | ((base >= 10_000) & (base <= 5_000_000))).all()
    assert (base % 10_000 == 0).all()
    assert (found.amount_micros <= language.max_amount_micros).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_search_on_profit_never_loses_more_than_matching_logs(seed: int) -> None:
    of = cells(12)
    market, asked = worth(of, noise=0.4, seed=seed)
    weights = market.landscape.at(asked)[0]
    matched = project(LANGUAGE, of, asked, weights=weights)
    searched = project(LANGUAGE, of, asked, weights=weights, worth=market)
    lost = 1 - market.of(matched.amount_micros).sum() / market.of(asked).sum()
    assert searched.language_loss <= lost + 1e-9
    assert searched.loss_basis == "expected profit"


def test_the_language_loss_is_the_share_of_profit_lost_against_the_bids_asked_for() -> None:
    of = cells(12)
    market, asked = worth(of, noise=0.3, seed=9)
    found = project(LANGUAGE, of, asked, weights=np.ones(len(of)), worth=market)
    profits = [float(market.landscape.profit_at(bids).sum()) for bids in (found.amount_micros, asked)]
    assert found.language_loss == pytest.approx(1 - profits[0] / profits[1])
    assert 0 <= found.language_loss < 0.03


def test_a_finer_language_loses_less() -> None:
    of = cells(12)
    market, asked = worth(of, noise=0.1, seed=2)
    weights = np.ones(len(of))
    only_base = project(replace(LANGUAGE, dimensions=()), of, asked, weights=weights, worth=market)
    whole = project(LANGUAGE, of, asked, weights=weights, worth=market)
    assert whole.language_loss < only_base.language_loss
    assert only_base.multipliers.empty


def test_the_price_of_a_budget_keeps_the_search_from_pushing_bids_up_again() -> None:
    of = cells(12)
    market, _ = worth(of, noise=0.1, seed=3)
    held = second_price_bids(replace(market.landscape, cost_micros=market.landscape.cost_micros * 1.5))
    weights = np.ones(len(of))
    priced = project(LANGUAGE, of, held, weights=weights, worth=replace(market, cost_weight=1.5))
    free = project(LANGUAGE, of, held, weights=weights, worth=market)
    spend = [float(market.landscape.at(bids)[1].sum()) for bids in (held, priced.amount_micros, free.amount_micros)]
    assert spend[1] == pytest.approx(spend[0], rel=0.05)
    assert spend[2] > 1.2 * spend[0]


def test_multipliers_of_a_scope_are_those_of_its_own_cells() -> None:
    of = cells(2)
    own = np.where(of["hotel_id"] == "h0", 2.0, 0.5)
    asked = 400_000 * np.where(of["device"] == "mobile", own, 1.0)
    per_hotel = project(replace(LANGUAGE, scope_column="hotel_id"), of, asked, weights=np.ones(len(of)))
    assert per_hotel.amount_micros == pytest.approx(asked, rel=0.04)
    assert set(per_hotel.multipliers["scope"]) == {"h0", "h1"}


def test_a_group_that_the_partner_gives_no_multiplier_stays_at_one() -> None:
    of = cells()
    fixed = replace(LANGUAGE, dimensions=(LANGUAGE.dimensions[0], replace(LANGUAGE.dimensions[1], fixed=0)))
    asked = 400_000 * np.where(of["lead_bucket"] == "000-001", 1.0, 2.0)
    market, _ = worth(of, noise=0.2, seed=4)
    for known in (None, market):
        found = project(fixed, of, asked, weights=np.ones(len(of)), worth=known)
        first = found.multipliers[found.multipliers["group"] == "000-001"]
        assert (first["multiplier"] == 1).all()
    assert project(fixed, of, asked, weights=np.ones(len(of))).log_error < 0.02


def test_a_hotel_without_bids_is_said_as_no_bid() -> None:
    of = cells(3)
    asked = np.where(of["hotel_id"] == "h1", 0.0, 500_000.0)
    base = project(LANGUAGE, of, asked, weights=np.ones(len(of))).base.set_index("hotel_id")["amount_micros"]
    assert base["h1"] == 0
    assert base["h0"] == 500_000


def test_a_bid_above_what_the_partner_takes_is_one_sentence() -> None:
    of = cells(1)
    asked = np.full(len(of), 5_500_000.0)
    with pytest.raises(UsageError, match=r"google takes at most 5 \(per night\), below the bid of 9 of 9 cells.* 5.5"):
        project(LANGUAGE, of, asked, weights=np.ones(len(of)), unit="per night")
    with pytest.raises(UsageError, match="google takes no bid below"):
        project(LANGUAGE, of, asked * 0 + 1.0, weights=np.ones(len(of)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_a_bid_that_is_no_amount_is_never_said(bad: float) -> None:
    of = cells(1)
    with pytest.raises(ValueError, match="not finite or is negative"):
        project(LANGUAGE, of, np.full(len(of), bad), weights=np.ones(len(of)))


def test_a_value_that_the_language_has_no_word_for_is_one_sentence() -> None:
    of = cells(1)
    of.loc[0, "device"] = "tv"
    with pytest.raises(UsageError, match="the bid language of google has no device 'tv'"):
        project(LANGUAGE, of, np.full(len(of), 1e6), weights=np.ones(len(of)))
    with pytest.raises(UsageError, match="google reads 'device', which the cells do not have"):
        project(LANGUAGE, of.drop(columns="device"), np.full(len(of), 1e6), weights=np.ones(len(of)))


@pytest.mark.parametrize("rates", [{}, {("EUR", "SEK"): float("nan")}, {("EUR", "SEK"): 0.0}])
def test_no_bid_is_made_in_a_currency_without_a_rate(rates: dict[tuple[str, str], float]) -> None:
    with pytest.raises(UsageError, match=r"rate.* from EUR to SEK"):
        convert(np.ones(1), currency="EUR", to="SEK", rates=rates)


def test_money_is_converted_by_the_rate_and_left_alone_in_its_own_currency() -> None:
    assert convert(np.array([2.0]), currency="EUR", to="SEK", rates={("EUR", "SEK"): 11.5})[0] == 23
    assert convert(np.array([2.0]), currency="EUR", to="EUR", rates={})[0] == 2
